"""What the files that a form names are: its dataset, its table, its training function; found in threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forge_tui.errors import ForgeError
    from forge_tui.protocol.table_look import TableLook
    from forge_tui.tui.app_interface import CallInThread
    from forge_tui.tui.form.dataset_file import DatasetFile
    from forge_tui.tui.form.form_values import Form
    from forge_tui.tui.form.source import Draft
    from forge_tui.tui.form.table_looks import TableLooks, Timer


class FormLooks:
    """Checks the files of a draft, because the disk may be slow; puts what it finds into the draft's form."""

    def __init__(
        self,
        draft: Draft,
        call_in_thread: Callable[[], CallInThread],
        set_timer: Callable[[float, Callable[[], None]], Timer],
        draw: Callable[[], None],
        draw_shell: Callable[[], None],
    ) -> None:
        """`draw` draws the form; `draw_shell` the lines around it, which depend on whether the dataset has columns."""
        self._draft, self._call_in_thread, self._set_timer = draft, call_in_thread, set_timer
        self._draw, self._draw_shell = draw, draw_shell
        self._tables: TableLooks | None = None

    @property
    def tables(self) -> TableLooks:
        """Looks at the form's table."""
        if self._tables is None:
            from forge_tui.tui.form.table_looks import TableLooks

            self._tables = TableLooks(self._call_in_thread(), self._set_timer)
            self._tables.changed.append(self._draw)
        return self._tables

    def known(self, form: Form) -> TableLook | ForgeError | None:
        """What is known of the form's table."""
        return None if self._tables is None else self._tables.known(form)

    def stop(self) -> None:
        """End a look that is under way."""
        if self._tables is not None:
            self._tables.stop()

    def look_at_dataset(self) -> None:
        """Check the dataset: whether it exists, and its columns."""
        draft = self._draft
        if draft.form is None:
            return
        from forge_tui.tui.form.dataset_file import examine, without_a_file
        from forge_tui.tui.form.fields import DATASET

        name = str(draft.form.values[DATASET])
        made = without_a_file(name)
        if made is not None:
            draft.form = draft.form.with_dataset(made)
            return

        def found(dataset: DatasetFile) -> None:
            if draft.form is not None and draft.form.values[DATASET] == name:
                draft.form = draft.form.with_dataset(dataset)
                self._draw()
                self._draw_shell()

        self._call_in_thread()(partial(examine, name, Path.cwd()), then=found, subject="dataset")

    def look_at_table(self, before: Form, form: Form) -> None:
        """Look at the table in the background once it has been chosen or is read in another way."""
        if not (before.has_columns or form.has_columns):
            return
        from forge_tui.tui.form.table_looks import wanted_of

        wanted = wanted_of(form)
        if wanted != wanted_of(before) and (wanted is not None or self._tables is not None):
            self.tables.want(form)

    def look_at_function(self) -> None:
        """Find the training function's parameters: its file is parsed, not imported."""
        draft = self._draft
        if draft.form is None:
            return
        from forge_tui.settings.training_function import TRAIN, is_function

        given = str(draft.form.values[TRAIN])
        if not is_function(given):
            draft.form = draft.form.with_parameters({})
            return
        from forge_tui.tui.form.functions import parameters_of

        def found(parameters: Mapping[str, str | None]) -> None:
            if draft.form is not None and draft.form.values[TRAIN] == given:
                draft.form = draft.form.with_parameters(parameters)
                self._draw()

        self._call_in_thread()(partial(parameters_of, given, Path.cwd()), then=found, subject="function")
