"""A list of items with keys, which a filter narrows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

from textual.strip import Strip

from forge_tui.tui import word_filter
from forge_tui.tui.lists.keyed_rows import KeyedRows
from forge_tui.tui.lists.virtual_list import VirtualList
from forge_tui.tui.widgets.cells import Piece
from forge_tui.tui.widgets.glyphs import Glyphs

Item = TypeVar("Item")
Layout = TypeVar("Layout")


class KeyedList(VirtualList, Generic[Item, Layout]):
    """One line per item, under a line of titles. A subclass lays out the columns and draws; it may add styles."""

    PREFIX = "keyed-list--"
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"keyed-list--{name}" for name in ("header", "name", "number", "quiet", "failed", "cursor", "empty")
    }
    DEFAULT_CSS = """
    KeyedList {
        scrollbar-size: 0 0; overflow-x: hidden; overflow-y: scroll;
        & > .keyed-list--header { color: $foreground 60%; }
        & > .keyed-list--name { color: $foreground; }
        & > .keyed-list--number { color: $foreground; }
        & > .keyed-list--quiet { color: $foreground 60%; }
        & > .keyed-list--failed { color: $error-lighten-2; }
        & > .keyed-list--cursor { background: $primary; color: $text; text-style: bold; }
        & > .keyed-list--empty { color: $foreground; }
        &:light > .keyed-list--failed { color: $error; }
        &:ansi > .keyed-list--header { color: ansi_default; text-style: dim; }
        &:ansi > .keyed-list--quiet { color: ansi_default; text-style: dim; }
        &:ansi > .keyed-list--empty { color: ansi_default; }
        &:ansi > .keyed-list--cursor { background: ansi_default; color: ansi_default; text-style: reverse bold; }
        &:nocolor > .keyed-list--cursor {
            background: $background; color: $foreground; text-style: reverse bold;
        }
    }
    """

    def __init__(self, rows: KeyedRows[Item], *, glyphs: Glyphs, id: str | None) -> None:
        self._rows = rows
        super().__init__(rows, glyphs=glyphs, id=id)
        self._layout: Layout | None = None

    @property
    def shown(self) -> tuple[Item, ...]:
        """The items that pass the filter, from the first row to the last."""
        return self._rows.shown

    @property
    def selected(self) -> Item | None:
        """The selected item."""
        return self._rows.selected

    @property
    def filter_text(self) -> str:
        """The words of the filter."""
        return self._rows.filter_text

    @property
    def filter_summary(self) -> str:
        """The filter for a line that describes the list; empty without one."""
        return word_filter.summary(self.filter_text, self._rows.by_letters) if self.filter_text else ""

    def set_filter(self, text: str) -> None:
        """Show only items that match `text` (`word_filter.find`). Empty shows all."""
        self._rows.set_filter(text)
        self.rows_changed()
        self.post_message(self.Arranged(self))

    def set_items(self, items: tuple[Item, ...]) -> None:
        """Show these items, in this order; the selection stays with its item."""
        self._rows.show(items)
        self._layout = None
        self.rows_changed()

    # --- drawing

    @property
    def columns(self) -> Layout:
        """The columns, laid out for the width."""
        if self._layout is None:
            self._layout = self.lay_out()
        return self._layout

    @abstractmethod
    def lay_out(self) -> Layout:
        """Lay out the columns."""

    @abstractmethod
    def titles(self) -> Sequence[Piece]:
        """The titles of the columns."""

    def width_changed(self) -> None:
        """Lay out the columns for the new width."""
        self._layout = None

    def draw_title(self) -> Strip:
        """The line of titles, if there are rows."""
        return self.strip(self.titles() if len(self._rows) else [("", "empty")])
