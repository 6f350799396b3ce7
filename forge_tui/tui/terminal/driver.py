"""Textual's Linux driver with fixes for stalls, hang-ups, stops from outside, and the terminal's size.

Each change describes the behaviour of Textual 8.2.8.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import selectors
import signal
import threading
from codecs import getincrementaldecoder
from collections.abc import Callable
from typing import Any

from textual._xterm_parser import XTermParser
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.events import Resize
from textual.geometry import Size

from forge_tui.safe_io.printing import printable
from forge_tui.tui.terminal.device import (
    POP_TITLE,
    PUSH_TITLE,
    TerminalDevice,
    attributes,
    in_foreground,
    not_stopped_by_job_control,
    set_attributes,
)
from forge_tui.tui.terminal.guard import Guard
from forge_tui.tui.terminal.input_parser import InputParser
from forge_tui.tui.terminal.sgr import shorten


class _WakingEvent(threading.Event):
    """An event that also ends a `select`, once its thread has started."""

    def __init__(self) -> None:
        super().__init__()
        self.read_end, self._write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def set(self) -> None:
        super().set()
        with contextlib.suppress(OSError):
            os.write(self._write_end, b".")

    def clear(self) -> None:
        with contextlib.suppress(OSError):
            os.read(self.read_end, 1024)
        super().clear()

    def __del__(self) -> None:
        for end in (self.read_end, self._write_end):
            with contextlib.suppress(OSError):
                os.close(end)


class TerminalDriver(LinuxDriver):
    """Drives one terminal under a `Guard`."""

    def __init__(
        self,
        app: App[Any],
        *,
        device: TerminalDevice,
        guard: Guard,
        debug: bool = False,
        mouse: bool = True,
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size or device.size())
        self._device = device
        self._guard = guard
        self._raw: list[Any] | None = None
        self.exit_event = self._leaving = _WakingEvent()
        self._file: Any = device
        self.fileno = device.input

    @property
    def leaving(self) -> bool:
        """Whether the app was asked to leave by a signal or a hang-up."""
        return self._guard.leaving

    # Textual reads the size from standard output, which may be a file, and COLUMNS and LINES freeze it.
    def _get_terminal_size(self) -> tuple[int, int]:
        return self._device.size()

    # Textual stops and restarts inside the signal handler, where the writer's queue may be locked, and after a stop
    # from outside it starts a second input thread and a second writer. Here the guard passes both to the event loop.
    def _sigtstp_application(self, *_: object) -> None:
        """Does nothing: the guard handles the signal."""

    def _sigcont_application(self, *_: object) -> None:
        """Draw nothing until the guard has checked that the shell has returned the terminal."""
        if self._device.entered and not self._guard.leaving and not in_foreground(self.fileno):
            self._device.hold()

    def write(self, data: str) -> None:
        """Write to the terminal, in fewer bytes; nothing while another job has it."""
        if self._device.entered:
            super().write(shorten(data))

    def start_application_mode(self) -> None:
        """Take the terminal, unless the app was asked to leave while it was suspended."""
        if self._device.entered or not self._guard.comes_back():
            return
        self._device.entered = True
        # Blocked until our handler is installed.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH})
        try:
            super().start_application_mode()  # type: ignore[no-untyped-call]
            self._tell_resizes_to(asyncio.get_running_loop())
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        self._raw = attributes(self.fileno)

    # Textual reads the size in the signal handler. If the next signal interrupts it there, the newer size is reported
    # first and the older one last, and the app keeps an outdated size.
    def _tell_resizes_to(self, loop: asyncio.AbstractEventLoop) -> None:
        def tell() -> None:
            if not self._in_band_window_resize:
                size = Size(*self._device.size())
                self._app.post_message(Resize(size, size))

        signal.signal(signal.SIGWINCH, lambda *_: loop.call_soon_threadsafe(tell))

    def stop_application_mode(self) -> None:
        """Restore the terminal, also from the background, where setting its modes would stop this process."""
        if not self._device.entered:
            return
        if not in_foreground(self.fileno):
            self.attrs_before = None
        with not_stopped_by_job_control():
            if self._mouse_pixels:
                self.write("\x1b[?1016l")
                self._mouse_pixels = False
            if self._device.title_pushed:
                self.write(POP_TITLE)
                self._device.title_pushed = False
            super().stop_application_mode()

    def disable_input(self) -> None:
        """Stop reading."""
        if self._device.entered:
            with not_stopped_by_job_control():
                super().disable_input()

    def close(self) -> None:
        """Wait until all output is written."""
        super().close()
        if not self._device.abandoned:
            self._device.entered = False

    def take_back(self) -> None:
        """Set all modes again, after a stop from outside during which the shell had the terminal."""
        if not self._device.entered or self.leaving or not in_foreground(self.fileno):
            return
        if self._raw is not None:
            set_attributes(self.fileno, self._raw)
        self.write("\x1b[?1049h\x1b[?25l\x1b[?1004h\x1b[?2004h\x1b[?7l\x1b[0m")
        self._enable_mouse_support()

    def set_mouse(self, on: bool) -> None:
        """Use the mouse, or leave it to the terminal for selecting text."""
        if on == self._mouse:
            return
        if on:
            self._mouse = True
            self._enable_mouse_support()
        else:
            self._disable_mouse_support()
            self._mouse = False

    def set_title(self, text: str) -> None:
        """Set the terminal's title; the earlier one comes back when the screens close."""
        if not self._device.title_pushed:
            self._device.title_pushed = True
            self.write(PUSH_TITLE)
        self.write(f"\x1b]2;{printable(text)}\x07")

    # Textual continues reading at the end of the input: a whole core until it is killed.
    def run_input_thread(self) -> None:
        """Read keys and mouse until the app or the input ends, without polling."""
        with selectors.SelectSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            selector.register(self._leaving.read_end, selectors.EVENT_READ)
            parser = InputParser(XTermParser(self._debug))
            decode = getincrementaldecoder("utf-8")(errors="replace").decode
            while not self.exit_event.is_set():
                ready = any(key.fd == self.fileno for key, _ in selector.select(parser.seconds_left))
                if not self._read_events(ready, parser, decode):
                    self._guard.hang_up()
                    return
            last = any(key.fd == self.fileno for key, _ in selector.select(0))
            self._read_events(last, parser, decode)

    def _read_events(self, ready: bool, parser: InputParser, decode: Callable[[bytes], str]) -> bool:
        """Pass on input, if `ready`, and sequences that have timed out; False at the end of the input."""
        if ready:
            try:
                data = os.read(self.fileno, 4096)
            except OSError:
                return False
            # A terminal in line mode returns nothing for Ctrl+D: not the end, unless it hung up.
            if not data and not os.isatty(self.fileno):
                return False
            for event in parser.feed(decode(data)):
                self.process_message(event)
        for event in parser.tick():
            self.process_message(event)
        return True
