"""The process's terminal, written so that a stalled or vanished terminal cannot block for ever."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import sys
import termios
import threading
import time
from collections.abc import Iterator
from typing import Any

_POLL_MILLISECONDS = 100
_RESTORE_SECONDS = 0.3

# A string terminator first: an incomplete sequence must not swallow the following. The keyboard protocol is popped on
# the alternate screen, which has its own stack. DEC 1049 must be sent only once: on the normal screen it would move
# the cursor to where it was when the UI started.
LEAVE = (
    "\x1b\\\x1b[?2026l"
    "\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l"
    "\x1b[?2004l\x1b[?1004l\x1b[?2048l\x1b[?7h\x1b[<u\x1b[0m\x1b[?1049l\x1b[?25h"
)
PUSH_TITLE = "\x1b[22;2t"
POP_TITLE = "\x1b[23;2t"


class TerminalDevice:
    """Standard input and standard error as one terminal, with its original modes.

    It replaces the file that Textual's writer thread writes to. `write` waits for a stalled terminal until `abandon`
    is called, and then drops output, so that the event loop can end.
    """

    def __init__(self) -> None:
        self.input = _fileno(sys.__stdin__, 0)
        self.output = _fileno(sys.__stderr__, 2)
        self.encoding = getattr(sys.__stderr__, "encoding", None) or "utf-8"
        self.before = attributes(self.input)
        self.entered = False
        """Whether the terminal is in the UI's modes: alternate screen, raw input, mouse."""
        self.title_pushed = False
        self._abandoned = False
        self._gone = False
        self._ours = threading.Event()
        self._ours.set()
        # Opened again: O_NONBLOCK belongs to the open file, which standard error shares with the shell.
        self._private = _open_again(self.output)

    def write(self, text: str) -> int:
        """Write all of `text`, waiting for a stalled terminal; after `abandon` or a hang-up, drop it."""
        left = memoryview(text.encode(self.encoding, errors="replace"))
        while left and not self._abandoned and not self._gone:
            if not self._ours.wait(_POLL_MILLISECONDS / 1000):
                continue
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                self._wait_for_room(_POLL_MILLISECONDS)
            except OSError:
                self._gone = True
        return len(text)

    def flush(self) -> None:
        """Does nothing: there is no buffer."""

    def fileno(self) -> int:
        """The file descriptor of standard error."""
        return self.output

    def isatty(self) -> bool:
        """Whether standard error is a terminal."""
        return os.isatty(self.output)

    @property
    def abandoned(self) -> bool:
        """Whether output was dropped, so that the UI's modes may still be set."""
        return self._abandoned or self._gone

    def abandon(self) -> None:
        """Drop all further output: a waiting `write` returns within 0.1 s. Callable from any thread."""
        self._abandoned = True

    def hold(self) -> None:
        """Make `write` wait until `release`: another job has the terminal."""
        self._ours.clear()

    def release(self) -> None:
        """End `hold`."""
        self._ours.set()

    def size(self) -> tuple[int, int]:
        """Columns and rows; 80 by 24 if unknown (a serial line, a container)."""
        for descriptor in (self.output, self.input):
            with contextlib.suppress(OSError):
                columns, rows = os.get_terminal_size(descriptor)
                if columns > 0 and rows > 0:
                    return columns, rows
        return 80, 24

    def restore(self, farewell: str = "") -> bool:
        """Restore the terminal within 0.3 s; False if there was nothing to do.

        For cases where Textual could not: pending output of a stalled terminal is discarded. `farewell` is printed on
        the normal screen. Callable from any thread.
        """
        if not self.entered:
            return False
        self.entered = False
        with not_stopped_by_job_control():
            leave = LEAVE + (POP_TITLE if self.title_pushed else "")
            self._write_without_blocking((leave + farewell.replace("\n", "\r\n")).encode(self.encoding, "replace"))
            if self.before is not None and in_foreground(self.input):
                set_attributes(self.input, self.before)
                with contextlib.suppress(termios.error):
                    termios.tcflush(self.input, termios.TCIFLUSH)
        return True

    def close(self) -> None:
        """Close the private file descriptor."""
        if self._private is not None:
            os.close(self._private)
            self._private = None

    @property
    def _descriptor(self) -> int:
        return self.output if self._private is None else self._private

    def _wait_for_room(self, milliseconds: float) -> None:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        poll.poll(milliseconds)

    def _throw_away_output(self) -> None:
        """Discard pending output and wake a waiting writer: flushing does not wake it, stopping and starting does."""
        with contextlib.suppress(termios.error):
            termios.tcflush(self.output, termios.TCOFLUSH)
            termios.tcflow(self.output, termios.TCOOFF)
            termios.tcflow(self.output, termios.TCOON)

    def _write_without_blocking(self, data: bytes) -> None:
        deadline = time.monotonic() + _RESTORE_SECONDS
        was_blocking = os.get_blocking(self._descriptor)
        os.set_blocking(self._descriptor, False)
        if self._abandoned:
            self._throw_away_output()
        try:
            while data and time.monotonic() < deadline:
                try:
                    data = data[os.write(self._descriptor, data) :]
                except BlockingIOError:
                    self._wait_for_room(20)
        except OSError:
            self._gone = True
        finally:
            os.set_blocking(self._descriptor, was_blocking)


def attributes(descriptor: int) -> list[Any] | None:
    """The terminal modes of `descriptor`; None if it is not a terminal, or one that hung up."""
    try:
        return termios.tcgetattr(descriptor)
    except termios.error:
        return None


def set_attributes(descriptor: int, modes: list[Any]) -> bool:
    """Set terminal modes at once, even with pending output; returns whether the terminal accepted them.

    From a background job this stops the whole job until the shell brings it to the foreground (SIGTTOU).
    """
    while True:
        try:
            termios.tcsetattr(descriptor, termios.TCSANOW, modes)
        except termios.error as error:
            # A handled SIGCONT interrupts the call instead of repeating it.
            if error.args[0] == errno.EINTR:
                continue
            return False
        return True


def in_foreground(descriptor: int) -> bool:
    """Whether this process belongs to the terminal's foreground job, or the terminal has no jobs."""
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return True


def wait_for_foreground(descriptor: int) -> bool:
    """Stop until the shell returns the terminal; False if it never will (hung up, or no shell left).

    True at once if this job has the terminal, or `descriptor` is not a terminal.
    """
    if in_foreground(descriptor):
        return True
    modes = attributes(descriptor)
    return modes is not None and set_attributes(descriptor, modes)


@contextlib.contextmanager
def not_stopped_by_job_control() -> Iterator[None]:
    """Allow a background job that is ending to write to the terminal without being stopped."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _fileno(stream: Any, otherwise: int) -> int:
    try:
        return int(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return otherwise


def _open_again(descriptor: int) -> int | None:
    """Open the terminal behind `descriptor` once more, non-blocking.

    By its name; or, if that cannot be opened (after `su`, or in a container), as the controlling terminal.
    """
    if not os.isatty(descriptor):
        return None
    flags = os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    with contextlib.suppress(OSError):
        return os.open(os.ttyname(descriptor), flags)
    with contextlib.suppress(OSError):
        return os.open("/dev/tty", flags)
    return None
