"""Rows of ordered items: filtered by words; the selection stays with its item."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")


class KeyedRows(Generic[Item]):
    """A `RowSource` of items with keys. If the selected item leaves, its row stays selected."""

    def __init__(self, key: Callable[[Item], Hashable], words: Callable[[Item], str] = lambda _: "") -> None:
        """`words`: the text of an item for the filter, in lower case."""
        self.row = -1
        self.items: tuple[Item, ...] = ()
        """All items, shown or not."""
        self.shown: tuple[Item, ...] = ()
        """The items that pass the filter."""
        self.filter_text = ""
        self._key, self._words = key, words

    def __len__(self) -> int:
        return len(self.shown)

    @property
    def total(self) -> int:
        """The number of items, shown or not."""
        return len(self.items)

    def key_of(self, row: int) -> Hashable:
        """The key of the item in a row."""
        return self._key(self.shown[row])

    @property
    def selected(self) -> Item | None:
        """The selected item."""
        return self.shown[self.row] if 0 <= self.row < len(self.shown) else None

    def row_of(self, key: Hashable) -> int | None:
        """The row of an item, None if it is not shown."""
        return next((row for row, item in enumerate(self.shown) if self._key(item) == key), None)

    def show(self, items: Sequence[Item]) -> None:
        """Set the items, in this order."""
        self.items = tuple(items)
        self._arrange()

    def set_filter(self, text: str) -> None:
        """Show only items that match every word of `text`; empty shows all."""
        self.filter_text = text
        self._arrange()

    def _arrange(self) -> None:
        selected, words = self.selected, self.filter_text.casefold().split()
        self.shown = tuple(item for item in self.items if all(word in self._words(item) for word in words))
        row = None if selected is None else self.row_of(self._key(selected))
        self.row = min(max(self.row, 0), len(self.shown) - 1) if row is None else row
