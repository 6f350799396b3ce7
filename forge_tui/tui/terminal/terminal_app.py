"""Runs an app on a terminal, and restores the terminal whatever ends the app."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from rich.segment import Segment
from textual.app import App
from textual.color import Color
from textual.events import Event, Key, Paste
from textual.filter import LineFilter
from textual.worker import WorkerFailed

from forge_tui.safe_io.printing import harmless, in_ascii, printable
from forge_tui.tui.terminal.device import TerminalDevice
from forge_tui.tui.terminal.driver import TerminalDriver
from forge_tui.tui.terminal.guard import Guard
from forge_tui.tui.terminal.key_order import KeyAnswered, KeyQueue
from forge_tui.tui.terminal.suspend import stop_job, suspend_problem

_ESCAPE_SEQUENCE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.)")


class TerminalApp(App[int]):
    """An app for `run_app`. Without it (in tests and in a browser) it works except for terminal features."""

    farewell: str = ""
    """Printed on the normal screen after the app has left; may be changed at any time."""

    plain_text: Callable[[], str] = str
    """Returns the text to print below the farewell."""

    crash: str = ""
    """The traceback of the error that ended the app."""

    only_ascii: bool = False
    """Whether to draw only ASCII."""

    def __init__(self) -> None:
        super().__init__()
        self._keys = KeyQueue(self, super().on_event)

    async def on_event(self, event: Event) -> None:
        """Queue keys."""
        if not isinstance(event, Key | Paste) or event.is_forwarded:
            await super().on_event(event)
        elif not self.drops(event):
            await self._keys.put(event)

    def on_key_answered(self, event: KeyAnswered) -> None:
        """Continue with the next key."""
        self._keys.answered(event.number)

    def drops(self, event: Key | Paste) -> bool:
        """Whether to drop a key or a paste, because its meaning has changed."""
        return False

    def forget_typed_ahead(self) -> None:
        """Drop the waiting keys: another screen opens without a key press."""
        self._keys.clear()

    def leave(self, signum: int) -> None:
        """Leave after a signal (SIGHUP: the terminal is gone).

        The process ends 2 s later at the latest.
        """
        self.exit(return_code=128 + signum)

    def action_suspend_process(self) -> None:
        """Suspend to the shell, or say why not."""
        if self._terminal_driver is None:
            return
        if problem := suspend_problem():
            self.notify(problem, severity="warning", markup=False)
        else:
            self._suspend()

    def action_redraw(self) -> None:
        """Draw the whole screen again."""
        self.refresh(layout=True)

    def set_mouse(self, on: bool) -> bool:
        """Use the mouse, or leave it to the terminal for selecting text. False if impossible: in a browser."""
        if self._terminal_driver is not None:
            self._terminal_driver.set_mouse(on)
        return self._terminal_driver is not None

    def set_terminal_title(self, text: str) -> None:
        """Set the title of the terminal window until the app leaves."""
        if self._terminal_driver is not None:
            self._terminal_driver.set_title(text)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's filters, and one that removes harmful characters.

        With NO_COLOR another one, because Textual's greys are colour codes too.
        """
        filters = [*super().get_line_filters(), _HARMLESS, *([_PLAIN] if self.only_ascii else [])]
        return [*filters, _COLOURLESS] if self.no_color else filters

    def _fatal_error(self) -> None:
        # Textual prints boxes with all local variables: hundreds of lines in a bug report, with any secrets in the
        # variables.
        if not self.crash and self._exception is not None:
            error = self._exception
            self.crash = "".join(traceback.format_exception(error.error if isinstance(error, WorkerFailed) else error))
        self._close_messages_no_wait()

    @property
    def _terminal_driver(self) -> TerminalDriver | None:
        return self._driver if isinstance(self._driver, TerminalDriver) else None

    def _suspend(self) -> None:
        with self.suspend():
            if self._terminal_driver is not None and not self._terminal_driver.leaving:
                stop_job()

    def _resumed(self) -> None:
        """Continue after the process was stopped from outside."""
        if self._terminal_driver is not None:
            self._terminal_driver.take_back()
            self.action_redraw()


class _Colourless(LineFilter):
    """Keeps bold, reverse and underline, and removes all colour codes, even black and white."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The segments without their colours."""
        return [
            Segment(text, None if style is None else style.without_color, control) for text, style, control in segments
        ]


class _Harmless(LineFilter):
    """The last barrier: text from names, files and exceptions should be cleaned where it is drawn."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The segments without harmful characters, which take no cell."""
        if all(control or text.isprintable() for text, _, control in segments):
            return segments
        return [
            Segment(text if control else _without_harmful(text), style, control) for text, style, control in segments
        ]


class _PlainOnly(LineFilter):
    """Converts everything to ASCII, including Textual's own borders and scrollbars."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The segments in ASCII, with the same width."""
        if all(text.isascii() for text, _, _ in segments):
            return segments
        return [Segment(text if control else in_ascii(text), style, control) for text, style, control in segments]


def _without_harmful(text: str) -> str:
    return "".join(one for one in text if printable(one) == one)


_COLOURLESS, _HARMLESS, _PLAIN = _Colourless(), _Harmless(), _PlainOnly()


def run_app(app: TerminalApp, *, mouse: bool = True) -> int:
    """Run `app` on this terminal and restore the terminal; returns the exit status.

    The status is the app's return code or result, 1 after a crash (the traceback is on standard error), 128 + n after
    signal n, 129 after a hang-up. With a stalled terminal or an app that does not respond, the process ends within 2 s
    of the signal. Call it in the main thread. `app.farewell` is printed at the end.
    """
    if os.environ.get("TEXTUAL_DRIVER"):  # in a browser: no terminal to guard
        status = _status(app, app.run(mouse=mouse))
        print(ending(app), end="", file=sys.stderr)
        return status
    device = TerminalDevice()
    guard = Guard(device)
    guard.farewell = functools.partial(ending, app)
    app.driver_class = functools.partial(TerminalDriver, device=device, guard=guard)  # type: ignore[assignment]
    try:
        with guard:
            result = None
            try:
                result = asyncio.run(_run(app, guard, mouse))
            except Exception:
                app.crash = app.crash or traceback.format_exc()
            finally:
                if not device.restore(ending(app)):
                    device.write(ending(app))
            return 128 + guard.signum if guard.leaving else _status(app, result)
    finally:
        device.close()


async def _run(app: TerminalApp, guard: Guard, mouse: bool) -> int | None:
    loop = asyncio.get_running_loop()

    def soon(callback: Any, *arguments: Any) -> None:
        # A RuntimeError means that the loop has ended: the app is leaving already.
        with contextlib.suppress(RuntimeError):
            # Through the app's own queue, where its context is set.
            loop.call_soon_threadsafe(app.call_later, callback, *arguments)

    guard.leave = functools.partial(soon, app.leave)
    guard.suspend = functools.partial(soon, app.action_suspend_process)
    guard.resumed = functools.partial(soon, app._resumed)
    if guard.leaving:  # the guard had no app to notify
        guard.leave(guard.signum)
    return await app.run_async(mouse=mouse)


def _status(app: TerminalApp, result: int | None) -> int:
    if app.crash:
        return 1
    return app.return_code or (result if isinstance(result, int) else 0)


def ending(app: TerminalApp) -> str:
    """The text for the normal screen: traceback and farewell, each with a line end."""
    texts = (app.crash, app.farewell, app.plain_text())
    return "".join(_harmless(text.rstrip("\n")) + "\n" for text in texts if text)


def _harmless(text: str) -> str:
    """`text` without escape sequences and control characters: a traceback may quote any text."""
    return harmless(_ESCAPE_SEQUENCE.sub("", text))
