"""Captured output as a terminal would show it: a carriage return goes back to the line's start, and what follows
replaces what stood there. Progress bars draw themselves so, hundreds of times on one line.
"""

from __future__ import annotations

import re

_ERASED = re.compile("\x1b\\[[0-2]?K")


def rewritten(line: str) -> str:
    """One line without its end, as it stands after all its carriage returns."""
    if "\r" not in line:
        return line
    shown = ""
    for part in line.split("\r"):
        first, *others = _ERASED.split(part)
        # Erasing takes away what the line had to the right.
        shown = first + ("".join(others) if others else shown[len(first) :])
    return shown


class Rewriter:
    """Text that comes in pieces, as lines that are whole; `partial` is the one that is still being written."""

    def __init__(self) -> None:
        self._pending = ""

    @property
    def partial(self) -> str:
        """The last line as it stands, while it has no end."""
        return rewritten(self._pending)

    def feed(self, text: str) -> str:
        """The lines that became whole with `text`, each with its end."""
        *whole, pending = (self._pending + text).split("\n")
        # Of what is written over again and again only what it shows counts, and how far the newest part has come.
        before, back, newest = pending.rpartition("\r")
        self._pending = f"{rewritten(before)}{back}{newest}"
        return "".join(f"{rewritten(line)}\n" for line in whole)
