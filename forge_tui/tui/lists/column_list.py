"""The list of a table's columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.strip import Strip

from forge_tui.tui.lists import column_cells
from forge_tui.tui.lists.column_cells import ColumnLayout, ColumnRow
from forge_tui.tui.lists.keyed_list import KeyedList
from forge_tui.tui.lists.keyed_rows import KeyedRows
from forge_tui.tui.widgets.cells import Piece
from forge_tui.tui.widgets.glyphs import UNICODE, Glyphs


class ColumnList(KeyedList[ColumnRow, ColumnLayout]):
    """One line per column of the table; its keys are the columns' positions. The filter sees name, kind and reason."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"keyed-list--target", "keyed-list--bars"}
    DEFAULT_CSS = """
    ColumnList {
        & > .keyed-list--target { color: $success; text-style: bold; }
        & > .keyed-list--bars { color: $primary-lighten-2; }
        &:light > .keyed-list--bars { color: $primary-darken-1; }
    }
    """

    def __init__(self, *, glyphs: Glyphs = UNICODE, id: str | None = None) -> None:
        rows = KeyedRows(lambda row: row.position, _words_of, lambda row: row.look.name)
        super().__init__(rows, glyphs=glyphs, id=id)
        self.no_match_text = "No column matches the filter: / changes it."

    def show(self, rows: tuple[ColumnRow, ...]) -> None:
        """Show these columns, in this order; the selection stays with its column."""
        if rows != self._rows.items:
            self.set_items(rows)

    def lay_out(self) -> ColumnLayout:
        """Lay out the columns of the list."""
        return column_cells.column_layout(self.size.width, self._rows.items)

    def titles(self) -> Sequence[Piece]:
        """The titles of the columns of the list."""
        return column_cells.titles(self.columns, self.glyphs)

    def draw_line(self, line: int) -> Strip:
        """One column."""
        pieces = column_cells.column_row(self.shown[line], self.columns, self.glyphs)
        if line == self._rows.row:
            # One style for the whole row: cell colours may lack contrast to the cursor's.
            return self.strip([(f"{self.glyphs.cursor} " + "".join(text for text, _ in pieces), "cursor")])
        return self.strip([("  ", "name"), *pieces])


def _words_of(row: ColumnRow) -> str:
    return f"{row.look.name} {row.kind} {row.look.reason}".casefold()
