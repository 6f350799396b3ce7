"""The list of a table's columns."""

from __future__ import annotations

from typing import ClassVar

from textual.strip import Strip

from forge_tui.tui.lists import column_cells
from forge_tui.tui.lists.column_cells import ColumnRow
from forge_tui.tui.lists.keyed_rows import KeyedRows
from forge_tui.tui.lists.virtual_list import VirtualList
from forge_tui.tui.widgets.glyphs import UNICODE, Glyphs

_NAMES = ("header", "name", "number", "quiet", "target", "failed", "bars", "cursor", "empty")


class ColumnList(VirtualList):
    """One line per column of the table, under a line of titles; its keys are the columns' positions."""

    PREFIX = "column-list--"
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"column-list--{name}" for name in _NAMES}
    DEFAULT_CSS = """
    ColumnList {
        scrollbar-size: 0 0; overflow-x: hidden; overflow-y: scroll;
        & > .column-list--header { color: $foreground 60%; }
        & > .column-list--name { color: $foreground; }
        & > .column-list--number { color: $foreground; }
        & > .column-list--quiet { color: $foreground 60%; }
        & > .column-list--target { color: $success; text-style: bold; }
        & > .column-list--failed { color: $error-lighten-2; }
        & > .column-list--bars { color: $primary-lighten-2; }
        & > .column-list--cursor { background: $primary; color: $text; text-style: bold; }
        & > .column-list--empty { color: $foreground; }
        &:light > .column-list--failed { color: $error; }
        &:light > .column-list--bars { color: $primary-darken-1; }
        &:ansi > .column-list--header { color: ansi_default; text-style: dim; }
        &:ansi > .column-list--quiet { color: ansi_default; text-style: dim; }
        &:ansi > .column-list--empty { color: ansi_default; }
        &:ansi > .column-list--cursor { background: ansi_default; color: ansi_default; text-style: reverse bold; }
        &:nocolor > .column-list--cursor {
            background: $background; color: $foreground; text-style: reverse bold;
        }
    }
    """

    def __init__(self, *, glyphs: Glyphs = UNICODE, id: str | None = None) -> None:
        self._rows = KeyedRows[ColumnRow](lambda row: row.position, _words_of)
        super().__init__(self._rows, glyphs=glyphs, id=id)
        self.no_match_text = "No column matches the filter: / changes it."
        self._layout: column_cells.ColumnLayout | None = None

    def show(self, rows: tuple[ColumnRow, ...]) -> None:
        """Show these columns, in this order; the selection stays with its column."""
        if rows == self._rows.items:
            return
        self._rows.show(rows)
        self._layout = None
        self.rows_changed()

    @property
    def shown(self) -> tuple[ColumnRow, ...]:
        """The columns that pass the filter, from the first row to the last."""
        return self._rows.shown

    @property
    def selected(self) -> ColumnRow | None:
        """The selected column."""
        return self._rows.selected

    @property
    def filter_text(self) -> str:
        """The words of the filter."""
        return self._rows.filter_text

    def set_filter(self, text: str) -> None:
        """Show only columns that match every word of `text` in name, kind or reason. Empty shows all."""
        self._rows.set_filter(text)
        self.rows_changed()
        self.post_message(self.Arranged(self))

    # --- drawing

    def width_changed(self) -> None:
        """Lay out the columns for the new width."""
        self._layout = None

    @property
    def _columns(self) -> column_cells.ColumnLayout:
        if self._layout is None:
            self._layout = column_cells.column_layout(self.size.width, self._rows.items)
        return self._layout

    def draw_title(self) -> Strip:
        """The line of titles, if there are rows."""
        return self.strip(column_cells.titles(self._columns, self.glyphs) if len(self._rows) else [("", "empty")])

    def draw_line(self, line: int) -> Strip:
        """One column."""
        pieces = column_cells.column_row(self._rows.shown[line], self._columns, self.glyphs)
        if line == self._rows.row:
            # One style for the whole row: cell colours may lack contrast to the cursor's.
            return self.strip([(f"{self.glyphs.cursor} " + "".join(text for text, _ in pieces), "cursor")])
        return self.strip([("  ", "name"), *pieces])


def _words_of(row: ColumnRow) -> str:
    return f"{row.look.name} {row.kind} {row.look.reason}".casefold()
