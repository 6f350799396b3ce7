"""Rows of ordered items: filtered by words; the selection stays with its item."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from forge_tui.tui import word_filter

Item = TypeVar("Item")


class KeyedRows(Generic[Item]):
    """A `RowSource` of items with keys. If the selected item leaves, its row stays selected."""

    def __init__(
        self,
        key: Callable[[Item], Hashable],
        words: Callable[[Item], str] = lambda _: "",
        name: Callable[[Item], str] = lambda _: "",
    ) -> None:
        """`words`: the text of an item for the filter, in lower case; `name`: the part of it whose letters count."""
        self.row = -1
        self.items: tuple[Item, ...] = ()
        """All items, shown or not."""
        self.shown: tuple[Item, ...] = ()
        """The items that pass the filter."""
        self.filter_text = ""
        self.by_letters = False
        """Whether a word of the filter was found by its letters only."""
        self._key, self._words, self._name = key, words, name

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
        """Show only items that match `text` (`word_filter.find`); empty shows all."""
        self.filter_text = text
        self._arrange()

    def _arrange(self) -> None:
        selected = self.selected
        if self.filter_text:
            found = word_filter.find(self.filter_text, self.items, self._has, self._name)
            self.shown, self.by_letters = tuple(self.items[place] for place in found.places), found.by_letters
        else:
            self.shown, self.by_letters = self.items, False
        row = None if selected is None else self.row_of(self._key(selected))
        self.row = min(max(self.row, 0), len(self.shown) - 1) if row is None else row

    def _has(self, item: Item, word: str) -> bool:
        return word in self._words(item)
