"""What a terminal sends, as keys: a lone Esc at once, and an escape sequence whole however late its pieces come.

Textual waits 100 ms after every Esc, and takes a sequence whose rest comes later than that for the keys it is made of:
of a cut Delete `[`, `3` and `~`, where 3 leads to another screen. tmux and slow connections cut sequences.
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
"""After this long an Esc was the key."""
CUT_SECONDS = 1.0
"""The rest of a sequence that has begun is waited for so long; then what came of it is dropped: no key is made so."""
LATE_SECONDS = 1.0
"""What follows a lone Esc within this time, and can only be the rest of a sequence, is taken for that."""


class InputParser:
    """Feeds Textual's parser, and decides how long it waits."""

    def __init__(self, parser: XTermParser, clock: Callable[[], float] = time.monotonic) -> None:
        self._parser, self._clock = parser, clock
        self._pending = ""
        self._until = 0.0
        self._lone_at = -LATE_SECONDS

    @property
    def seconds_left(self) -> float | None:
        """How soon `tick` is to be called if nothing comes until then; None: not at all."""
        return max(0.0, self._until - self._clock()) if self._pending else None

    def feed(self, text: str) -> list[Message]:
        """The keys and other messages in what came, empty at the input's end; a sequence that is not whole waits."""
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
        """What has become clear since the last input: a lone Esc, Alt with a key; nothing of a cut sequence."""
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
    """Whether this is the rest of a sequence: a person types one character at a time, and `[` means nothing here."""
    return text.startswith("[") or (text.startswith("O") and len(text) > 1)
