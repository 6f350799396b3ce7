"""Captured output as a terminal would show it: after a carriage return, text overwrites the line from its start.
Progress bars redraw one line that way hundreds of times.
"""

from __future__ import annotations

import re

_ERASED = re.compile("\x1b\\[[0-2]?K")


def rewritten(line: str) -> str:
    """One line without its end, after all its carriage returns."""
    if "\r" not in line:
        return line
    shown = ""
    for part in line.split("\r"):
        first, *others = _ERASED.split(part)
        # Erasing removes the rest of the line.
        shown = first + ("".join(others) if others else shown[len(first) :])
    return shown


class Rewriter:
    """Joins pieces of text into complete lines; `partial` is the line that is still incomplete."""

    def __init__(self) -> None:
        self._pending = ""

    @property
    def partial(self) -> str:
        """The last line, while it is incomplete."""
        return rewritten(self._pending)

    def feed(self, text: str) -> str:
        """The lines completed by `text`, each with its end."""
        *whole, pending = (self._pending + text).split("\n")
        # Of a line that is overwritten again and again, only its visible text and the cursor's place count.
        before, back, newest = pending.rpartition("\r")
        self._pending = f"{rewritten(before)}{back}{newest}"
        return "".join(f"{rewritten(line)}\n" for line in whole)
