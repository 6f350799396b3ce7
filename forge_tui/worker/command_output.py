"""A command's output: passed on to the model's log, and read line by line."""

from __future__ import annotations

import os
from collections.abc import Callable

from forge_tui.safe_io.printing import printable, shortened

READ_BYTES = 1 << 16
LONGEST_LINE = 1 << 16
"""Bytes of a line that are read; the rest of it is passed on unread."""
_LAST_BYTES = 4 << 10
# More than any pipe holds.
_LAST_PIECES = 64
_LAST_LINE = 300


class Lines:
    """Splits what comes in pieces into lines, without their ends; of a very long line only the beginning is kept."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._pending = b""

    def feed(self, data: bytes) -> None:
        """Take the lines that `data` completes."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._finish(line)
        self._keep(rest)

    def end(self) -> None:
        """Take the last line, which may lack its end."""
        if self._pending:
            self._finish(b"")

    def _finish(self, line: bytes) -> None:
        self._keep(line)
        whole, self._pending = self._pending, b""
        self._take(whole.removesuffix(b"\r"))

    def _keep(self, part: bytes) -> None:
        self._pending += part[: LONGEST_LINE - len(self._pending)]


class Pipe:
    """One pipe that a command writes into. `reading` and `writing` are its ends; `take` gets its lines, if given."""

    def __init__(self, log: int, tail: Tail, take: Callable[[bytes], None] | None = None) -> None:
        """`log`: the descriptor that output is passed on to."""
        self.reading, self.writing = os.pipe2(os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
        os.set_blocking(self.reading, False)
        self.is_at_end = False
        """Whether the command has closed it."""
        self._log, self._tail = log, tail
        self._lines = None if take is None else Lines(take)

    def close_writing(self) -> None:
        """Close this process's copy of the writing end: the command has its own."""
        os.close(self.writing)

    def pump(self) -> bool:
        """Pass on what is there, one piece of it; returns whether there was any."""
        try:
            data = os.read(self.reading, READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self.is_at_end = True
            return False
        self._tail.add(data)
        if self._lines is not None:
            self._lines.feed(data)
        left = memoryview(data)
        while left:
            left = left[os.write(self._log, left) :]
        return True

    def finish(self) -> None:
        """Take the rest, after the command has ended, and close."""
        for _ in range(_LAST_PIECES):  # what it has left behind may go on writing
            if not self.pump():
                break
        if self._lines is not None:
            self._lines.end()
        os.close(self.reading)


class Tail:
    """The end of a command's output."""

    def __init__(self) -> None:
        self._last = b""
        self.bytes = 0
        """How much there was in all."""

    def add(self, data: bytes) -> None:
        """Take a piece of it."""
        self.bytes += len(data)
        self._last = (self._last + data[-_LAST_BYTES:])[-_LAST_BYTES:]

    @property
    def text(self) -> str | None:
        """The last lines, up to 4 KiB; None if there was no output."""
        lines = self._last.decode(errors="replace").splitlines()
        if self.bytes > len(self._last) and len(lines) > 1:
            del lines[0]  # its beginning is missing
        return "\n".join(lines) if any(line.strip() for line in lines) else None

    @property
    def last_line(self) -> str | None:
        """The last line with something in it, shortened."""
        lines = [line for line in (self.text or "").splitlines() if line.strip()]
        return shortened(printable(lines[-1].strip()), _LAST_LINE) if lines else None
