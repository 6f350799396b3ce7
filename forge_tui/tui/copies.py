"""Texts that a screen offers to copy: a command, a path, a traceback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Copy:
    """A text to copy: the key that chooses it, what it is, and a function that returns it, without harmful characters.

    `reads`: the function reads files, and is called in a thread; it may raise `ForgeError`. `prints`: the text is also
    printed when the app leaves, as it is then.
    """

    key: str
    what: str
    text: Callable[[], str]
    reads: bool = False
    prints: bool = False
