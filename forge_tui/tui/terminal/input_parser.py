"""Parses terminal input into keys: a lone Esc at once, and escape sequences complete even if they arrive in pieces.

Textual waits 100 ms after every Esc, and interprets the later rest of a sequence as keys: for a split Delete `[`, `3`
and `~`, where 3 opens another screen. tmux and slow connections split sequences.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from textual._xterm_parser import XTermParser
from textual.constants import ESCAPE_DELAY
from textual.events import Key
from textual.message import Message

ESC = "\x1b"
LONE_SECONDS = ESCAPE_DELAY if "ESCDELAY" in os.environ else 0.05
"""After this time an Esc is the key."""
CUT_SECONDS = 1.0
"""How long to wait for the rest of a sequence; then it is dropped without a key."""
LATE_SECONDS = 1.0
"""Input this soon after a lone Esc that can only be the rest of a sequence is treated as that."""


class InputParser:
    """Feeds Textual's parser, and controls how long it waits."""

    def __init__(self, parser: XTermParser, clock: Callable[[], float] = time.monotonic) -> None:
        self._parser, self._clock = parser, clock
        self._pending = ""
        self._until = 0.0
        self._lone_at = -LATE_SECONDS

    @property
    def seconds_left(self) -> float | None:
        """Seconds until `tick` must be called without input; None: never."""
        return max(0.0, self._until - self._clock()) if self._pending else None

    def feed(self, text: str) -> list[Message]:
        """The keys and other messages in `text` (empty at the end of the input); incomplete sequences wait."""
        if _is_rest(text) and self._clock() - self._lone_at < LATE_SECONDS:
            text = ESC + text
        self._lone_at = -LATE_SECONDS
        found = list(self._parser.feed(text))
        waits, self._parser._timeout_time = self._parser._timeout_time is not None, None
        begun = self._pending + text
        self._pending = begun[begun.rfind(ESC) :] if waits else ""
        self._until = self._clock() + (CUT_SECONDS if self._is_cut else LONE_SECONDS)
        return found

    def tick(self) -> list[Message]:
        """Messages that follow from the time since the last input: a lone Esc, Alt with a key."""
        if not self._pending or self._clock() < self._until:
            return []
        cut, self._pending = self._is_cut, ""
        self._parser._timeout_time = 0.0
        found = list(self._parser.tick())
        if cut:
            return []
        if any(isinstance(event, Key) and event.key == "escape" for event in found):
            self._lone_at = self._clock()
        return found

    @property
    def _is_cut(self) -> bool:
        return self._pending[:2] in (f"{ESC}[", f"{ESC}O")


def _is_rest(text: str) -> bool:
    """Whether this is the rest of a sequence: users type one character at a time, and `[` has no meaning here."""
    return text.startswith("[") or (text.startswith("O") and len(text) > 1)
