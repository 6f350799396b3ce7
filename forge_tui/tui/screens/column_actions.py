"""What the keys do to the selected column: they change the settings of `[data]` in the form."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from forge_tui.tui.form.column_kinds import Declared, declare, following, swept_list
from forge_tui.tui.form.fields import TARGET
from forge_tui.tui.lists.column_cells import name_text
from forge_tui.tui.lists.column_list import ColumnList

if TYPE_CHECKING:
    from forge_tui.protocol.table_look import TableLook
    from forge_tui.tui.app_interface import Tell
    from forge_tui.tui.form.form_values import Form
    from forge_tui.tui.lists.column_cells import ColumnRow

ACTIONS = ("next_kind", "previous_kind", "ignore_column", "make_target", "reset_column")
_TASK = "data.task"
_LEFT_OUT_BY_OTHERS = ("not in data.only", "data.group:", "data.validation:")
_NO_COLUMN = "no column is known yet"
_READ_ONLY = "a live run's settings cannot be changed: n makes new settings from them"


class ColumnActions:
    """The part of the data screen that runs `ACTIONS`."""

    def __init__(
        self,
        tell: Tell,
        columns: ColumnList,
        look: Callable[[], TableLook | None],
        form: Callable[[], Form | None],
        change: Callable[[Form], None] | None,
    ) -> None:
        """`change` sets a changed form; None if it is read-only."""
        self._tell, self._columns, self._look, self._form, self._change = tell, columns, look, form, change

    def action_next_kind(self) -> None:
        """Make the column the next kind; of the target, change the task."""
        self._step(1)

    def action_previous_kind(self) -> None:
        """Make the column the previous kind."""
        self._step(-1)

    def _step(self, by: int) -> None:
        row, form = self._selected()
        if row is None or form is None:
            return
        if row.is_target:
            changed = form.step(_TASK, by)
            if self._put(changed, _TASK):
                self._tell(f"task: {changed.values[_TASK]}")
            return
        self._declare(row, form, following(Declared(row.declared or Declared.AUTO), by))

    def action_ignore_column(self) -> None:
        """Ignore the column; again: use it."""
        row, form = self._selected()
        if row is None or form is None:
            return
        if row.is_target:
            self._tell("the target cannot be ignored: T on another column predicts that", "warning")
            return
        self._declare(row, form, Declared.AUTO if row.declared == Declared.IGNORED else Declared.IGNORED)

    def action_make_target(self) -> None:
        """Predict the column."""
        row, form = self._selected()
        if row is None or form is None:
            return
        name = row.look.name
        if not name:
            self._tell("a column without a name cannot be the target: name it in the file", "warning")
        elif row.is_target:
            self._tell(f"{name_text(row)} is the target already")
        elif self._put(form.put(TARGET, name), TARGET):
            self._tell(f"target: {name_text(row)}")

    def action_reset_column(self) -> None:
        """Let the column's values say what it is; of the target, remove the setting."""
        row, form = self._selected()
        if row is None or form is None:
            return
        if row.is_target:
            self._put(form.reset(TARGET).reset(_TASK), TARGET, _TASK)
        else:
            self._declare(row, form, Declared.AUTO)

    def _declare(self, row: ColumnRow, form: Form, what: Declared) -> None:
        swept = swept_list(form)
        if swept is not None:
            self._tell(f"{swept} is swept: change it in Configure", "warning")
            return
        if self._put(declare(form, row.look.name, what, self._names())):
            reason = row.look.reason
            if what is not Declared.IGNORED and not row.is_new and reason.startswith(_LEFT_OUT_BY_OTHERS):
                self._tell(f"{name_text(row)} stays left out ({reason}): change that in Configure", "warning")

    def _selected(self) -> tuple[ColumnRow | None, Form | None]:
        """The selected column and the form, if they can be changed; else None, with the reason in the status line."""
        if self._change is None:
            self._tell(_READ_ONLY, "warning")
            return None, None
        row = self._columns.selected
        if row is None:
            self._tell(self._columns.no_match_text if self._columns.filter_text else _NO_COLUMN, "warning")
        return row, self._form()

    def _put(self, form: Form, *settings: str) -> bool:
        """Set a changed form, unless one of `settings` is swept."""
        before = self._form()
        if self._change is None or before is None:
            return False
        swept = next((name for name in settings if before.swept(name) is not None), None)
        if swept is not None:
            self._tell(f"{swept} is swept: change it in Configure", "warning")
            return False
        if form is not before:
            self._change(form)
        return not form.refused

    def _names(self) -> tuple[str, ...]:
        look = self._look()
        return () if look is None else tuple(column.name for column in look.columns)
