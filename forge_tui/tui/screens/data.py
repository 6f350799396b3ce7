"""Data: the columns of the table that is to be trained on, what becomes of each and why; keys change that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.events import Resize

from forge_tui.errors import ForgeError
from forge_tui.protocol.table_look import TableLook
from forge_tui.tables.table import clean_name
from forge_tui.text.figures import short_path
from forge_tui.tui.form.column_kinds import LISTS, Declared, declared
from forge_tui.tui.form.fields import DATASET, TARGET
from forge_tui.tui.lists.column_cells import ColumnRow
from forge_tui.tui.lists.column_list import ColumnList
from forge_tui.tui.screens import column_actions, moving
from forge_tui.tui.screens.base import ForgeScreen
from forge_tui.tui.screens.column_actions import ColumnActions
from forge_tui.tui.screens.data_text import about_column, about_table
from forge_tui.tui.widgets import cells
from forge_tui.tui.widgets.divider import Divider
from forge_tui.tui.widgets.document import Document
from forge_tui.tui.widgets.filter_line import FilterLine

if TYPE_CHECKING:
    from forge_tui.tui.form.form_values import Form
    from forge_tui.tui.form.table_looks import TableLooks

# With fewer lines the selected column is not described below the list.
_DETAIL_FROM_HEIGHT = 20
_FILTER_HINT = "filter: name, kind, reason; !word for not (Enter keeps, empty shows all)"


class _Text(Document, can_focus=False):
    """A text that leaves the keyboard to the list."""


class DataScreen(ForgeScreen):
    """The table in a few lines, its columns as a list, and the selected one in full below it.

    It is looked at in a process of its own; a change of the settings is shown at once, and looked at again.
    """

    name_of_screen: ClassVar[str] = "data"
    over_another = True
    PARTS: ClassVar[Mapping[str, Sequence[str]]] = {
        "moving": moving.ACTIONS,
        "column_actions": column_actions.ACTIONS,
        "filter_line": ("filter",),
        "columns": ("scroll_to_selection",),
    }
    DEFAULT_CSS = """
    DataScreen #about { height: auto; max-height: 6; min-height: 1; padding: 0 1; }
    DataScreen #columns { height: 1fr; min-height: 3; }
    DataScreen #columns-divider { height: 1; }
    DataScreen #column { height: 5; padding: 0 1; }
    DataScreen.-low #about { max-height: 3; }
    DataScreen.-low #column, DataScreen.-low #columns-divider { display: none; }
    """
    columns: ColumnList
    filter_line: FilterLine
    column_actions: ColumnActions

    def __init__(
        self, looks: TableLooks, form: Callable[[], Form | None], change: Callable[[Form], None] | None
    ) -> None:
        """`form` are the settings as they are now; `change` sets changed ones, None if they are read-only."""
        super().__init__()
        self._looks, self._form, self._change = looks, form, change
        self._look: TableLook | None = None
        self._looked_with: Form | None = None
        self._error: ForgeError | None = None
        self._is_looking = True
        self.moving = moving.Moving(lambda: self.columns)

    def compose_body(self) -> ComposeResult:
        """The table, its columns, the line for the filter, the selected column."""
        glyphs = self.forge.glyphs
        self.about = _Text(only_ascii=glyphs.ascii, id="about")
        self.columns = ColumnList(glyphs=glyphs, id="columns")
        self.filter_line = FilterLine(self.columns, _FILTER_HINT, id="filter")
        self.divider = Divider(id="columns-divider")
        self.column = _Text(only_ascii=glyphs.ascii, id="column")
        change = None if self._change is None else self._changed
        self.column_actions = ColumnActions(self.forge.tell, self.columns, lambda: self._look, self._form, change)
        self.narrowings = (self.filter_line,)
        yield from (self.about, self.columns, self.filter_line, self.divider, self.column)

    def begin(self) -> None:
        """Look at the table; what is known of it from before is shown meanwhile."""
        self.columns.focus()
        self._looks.changed.append(self._looked)
        form = self._form()
        if form is not None:
            self._take(form)
            self._is_looking = True
            self._looks.want(form, anew=True)
        self._draw()

    def on_unmount(self) -> None:
        """End a look that is under way."""
        if self._looked in self._looks.changed:
            self._looks.changed.remove(self._looked)
        self._looks.stop()

    def fit(self, width: int, height: int) -> None:
        """A low terminal does not describe the selected column."""
        super().fit(width, height)
        self.set_class(height < _DETAIL_FROM_HEIGHT, "-low")

    def on_resize(self, event: Resize) -> None:
        """Draw the line between list and column for the new width."""
        super().on_resize(event)
        self.call_after_refresh(self._draw_divider)

    # --- looking

    def _changed(self, form: Form) -> None:
        """Set changed settings, and look again; they are seen at once."""
        assert self._change is not None
        self._change(form)
        self._looks.want(form)
        self._take(form)
        self._draw()

    def _looked(self) -> None:
        form = self._form()
        if form is not None and self.is_there:
            self._take(form)
            self._draw()

    def _take(self, form: Form) -> None:
        """Take what is known of the table; what was known before stays while it is looked at again."""
        found = self._looks.known(form)
        self._is_looking = found is None
        if isinstance(found, TableLook):
            self._look, self._looked_with, self._error = found, form, None
        elif found is not None:
            self._error = found

    # --- drawing

    def _draw(self) -> None:
        form = self._form()
        if form is None or not self.is_there:
            return
        name, glyphs = short_path(Path(str(form.all_values(DATASET)[0]))), self.forge.glyphs

        def short(width: int) -> str:
            return cells.middle(name, min(cells.width_of(name), max(20, width // 2)), glyphs.ellipsis)

        look, error, is_looking, read_only = self._look, self._error, self._is_looking, self._change is None
        self.about.show(lambda width: about_table(short(width), look, error, is_looking, read_only))
        self.columns.empty_text = "Looking at the table…" if is_looking else ""
        self.columns.show(self._rows(form))
        self._draw_column()
        self._draw_divider()

    def _rows(self, form: Form) -> tuple[ColumnRow, ...]:
        look, before = self._look, self._looked_with
        if look is None or before is None:
            return ()
        names = [column.name for column in look.columns]
        target = _target(form, names)
        rows = []
        both = zip(look.columns, declared(form, names), declared(before, names), strict=True)
        for position, (column, now, then) in enumerate(both):
            was_target = column.name == look.target
            rows.append(
                ColumnRow(
                    position=position,
                    look=column,
                    is_target=column.name == target,
                    declared=None if now is Declared.AUTO else str(now),
                    is_new=now is not then or (was_target and column.name != target),
                )
            )
        return tuple(rows)

    def _draw_column(self) -> None:
        row, look, glyphs = self.columns.selected, self._look, self.forge.glyphs
        setting = None
        if row is not None and row.declared is not None and not row.is_target:
            setting = LISTS[Declared(row.declared)]
        rows = 0 if look is None else look.rows
        self.column.show(lambda _width: about_column(row, rows, setting, glyphs))

    def _draw_divider(self) -> None:
        if not self.is_there:
            return
        glyphs, filtered = self.forge.glyphs, self.columns.filter_summary
        parts = [cells.clean(filtered, glyphs.ascii)] if filtered else []
        self.divider.draw(glyphs, parts, self.columns.visible_range)

    # --- messages of the list

    def on_virtual_list_selected(self) -> None:
        """Describe the newly selected column."""
        self._draw_column()

    def on_virtual_list_arranged(self) -> None:
        """Update the divider, which shows the filter."""
        self._draw_divider()

    def on_virtual_list_range_changed(self) -> None:
        """Update the divider, which shows the visible range."""
        self._draw_divider()


def _target(form: Form, names: Sequence[str]) -> str | None:
    """The column that is predicted with these settings, or None."""
    given = form.values[TARGET]
    wanted = "target" if given is None else clean_name(str(given))
    return wanted if wanted in names else None
