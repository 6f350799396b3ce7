"""The keys to move in a list, a text or a log, the same on every screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

ACTIONS = ("up", "down", "page_up", "page_down", "first", "last")


class Movable(Protocol):
    """A list, text or log."""

    def move(self, by: int) -> None:
        """Move by `by` rows or lines."""

    def page(self, direction: int) -> None:
        """Move by a page, up (-1) or down (1)."""

    def move_to(self, end: Literal["first", "last"]) -> None:
        """Move to the first or the last row or line."""


class Moving:
    """The part of a screen that runs `ACTIONS`."""

    def __init__(self, target: Callable[[], Movable]) -> None:
        """`target` returns the list, text or log to move in."""
        self._target = target

    def action_up(self) -> None:
        """One up."""
        self._target().move(-1)

    def action_down(self) -> None:
        """One down."""
        self._target().move(1)

    def action_page_up(self) -> None:
        """One page up."""
        self._target().page(-1)

    def action_page_down(self) -> None:
        """One page down."""
        self._target().page(1)

    def action_first(self) -> None:
        """To the first."""
        self._target().move_to("first")

    def action_last(self) -> None:
        """To the last."""
        self._target().move_to("last")
