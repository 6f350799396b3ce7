"""Rows of items that come in their order: filtered by words, the selection staying with its item."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")


class KeyedRows(Generic[Item]):
    """A `RowSource` of items with a key each. Where the selected item leaves, its row stays selected."""

    def __init__(self, key: Callable[[Item], Hashable], words: Callable[[Item], str] = lambda _: "") -> None:
        """`words`: what of an item the filter looks at, in lower case."""
        self.row = -1
        self.items: tuple[Item, ...] = ()
        """All items, shown or not."""
        self.shown: tuple[Item, ...] = ()
        """Those that pass the filter."""
        self.filter_text = ""
        self._key, self._words = key, words

    def __len__(self) -> int:
        return len(self.shown)

    @property
    def total(self) -> int:
        """How many items there are, shown or not."""
        return len(self.items)

    def key_of(self, row: int) -> Hashable:
        """What identifies the item in a row."""
        return self._key(self.shown[row])

    @property
    def selected(self) -> Item | None:
        """The selected item."""
        return self.shown[self.row] if 0 <= self.row < len(self.shown) else None

    def row_of(self, key: Hashable) -> int | None:
        """The row of an item, None where it is not shown."""
        return next((row for row, item in enumerate(self.shown) if self._key(item) == key), None)

    def show(self, items: Sequence[Item]) -> None:
        """Take these items, in this order."""
        self.items = tuple(items)
        self._arrange()

    def set_filter(self, text: str) -> None:
        """Show only items in whose words every word of `text` occurs; empty shows all."""
        self.filter_text = text
        self._arrange()

    def _arrange(self) -> None:
        selected, words = self.selected, self.filter_text.casefold().split()
        self.shown = tuple(item for item in self.items if all(word in self._words(item) for word in words))
        row = None if selected is None else self.row_of(self._key(selected))
        self.row = min(max(self.row, 0), len(self.shown) - 1) if row is None else row
