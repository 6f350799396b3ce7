"""The list of known runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual.strip import Strip

from forge_tui.tui.lists import run_columns
from forge_tui.tui.lists.keyed_rows import KeyedRows
from forge_tui.tui.lists.known_runs import RunLook
from forge_tui.tui.lists.virtual_list import VirtualList
from forge_tui.tui.widgets.glyphs import UNICODE, Glyphs

_NAMES = ("header", "name", "number", "quiet", "active", "paused", "done", "failed", "mark", "cursor", "empty")


class RunList(VirtualList):
    """One line per run, under a line of titles; its keys are the paths of the runs."""

    PREFIX = "run-list--"
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"run-list--{name}" for name in _NAMES}
    DEFAULT_CSS = """
    RunList {
        scrollbar-size: 0 0; overflow-x: hidden; overflow-y: scroll;
        & > .run-list--header { color: $foreground 60%; }
        & > .run-list--name { color: $foreground; }
        & > .run-list--number { color: $foreground; }
        & > .run-list--quiet { color: $foreground 60%; }
        & > .run-list--active { color: $primary-lighten-2; }
        & > .run-list--paused { color: $warning; }
        & > .run-list--done { color: $success; }
        & > .run-list--failed { color: $error-lighten-2; }
        & > .run-list--mark { color: $warning; text-style: bold; }
        & > .run-list--cursor { background: $primary; color: $text; text-style: bold; }
        & > .run-list--empty { color: $foreground; }
        &:light > .run-list--active { color: $primary-darken-1; }
        &:light > .run-list--failed { color: $error; }
        &:ansi > .run-list--header { color: ansi_default; text-style: dim; }
        &:ansi > .run-list--quiet { color: ansi_default; text-style: dim; }
        &:ansi > .run-list--empty { color: ansi_default; }
        &:ansi > .run-list--cursor { background: ansi_default; color: ansi_default; text-style: reverse bold; }
        &:nocolor > .run-list--cursor {
            background: $background; color: $foreground; text-style: reverse bold;
        }
    }
    """

    def __init__(
        self, *, glyphs: Glyphs = UNICODE, now: Callable[[], float] = time.time, id: str | None = None
    ) -> None:
        """`now` (UNIX seconds) dates the runs."""
        self._rows = KeyedRows[RunLook](lambda look: look.entry.path, _words_of)
        super().__init__(self._rows, glyphs=glyphs, id=id)
        self.no_match_text = "No run matches the filter: / changes it."
        self.marks: tuple[Path, ...] = ()
        """The marked runs, in the order of marking."""
        self._now = now
        self._layout: run_columns.RunLayout | None = None

    # --- content

    def show(self, looks: tuple[RunLook, ...]) -> None:
        """Show these runs, in this order; the selection and the marks stay with their runs."""
        there = {look.entry.path for look in looks}
        self.marks = tuple(path for path in self.marks if path in there)
        self._rows.show(looks)
        self._layout = None
        self.rows_changed()

    @property
    def looks(self) -> tuple[RunLook, ...]:
        """All runs, shown or not."""
        return self._rows.items

    @property
    def shown(self) -> tuple[RunLook, ...]:
        """The runs that pass the filter, from the first row to the last."""
        return self._rows.shown

    @property
    def filter_text(self) -> str:
        """The words of the filter."""
        return self._rows.filter_text

    def set_filter(self, text: str) -> None:
        """Show only runs that match every word of `text` in id, state, type, mode or path. Empty shows all."""
        self._rows.set_filter(text)
        self.rows_changed()
        self.post_message(self.Arranged(self))

    # --- selection and marks

    @property
    def selected(self) -> RunLook | None:
        """The selected run."""
        return self._rows.selected

    def select(self, path: Path) -> bool:
        """Select the run in a directory; False if it is not shown."""
        row = self._rows.row_of(path)
        if row is not None:
            self.select_row(row)
        return row is not None

    def action_mark(self) -> None:
        """Mark or unmark the selected run; go to the next."""
        path = self.selected_key
        if path is not None:
            others = tuple(mark for mark in self.marks if mark != path)
            self._set_marks(others if path in self.marks else (*self.marks, path))
        self.move(1)

    def action_mark_none(self) -> None:
        """Remove all marks."""
        self._set_marks(())

    def _set_marks(self, marks: tuple[Path, ...]) -> None:
        self.marks = marks
        self.refresh(self.size.region)
        self.post_message(self.Arranged(self))

    # --- drawing

    def width_changed(self) -> None:
        """Lay out the columns for the new width."""
        self._layout = None

    @property
    def _columns(self) -> run_columns.RunLayout:
        if self._layout is None:
            self._layout = run_columns.run_layout(self.size.width, self.looks)
        return self._layout

    def draw_title(self) -> Strip:
        """The line of titles, if there are rows."""
        return self.strip(run_columns.titles(self._columns, self.glyphs) if len(self._rows) else [("", "empty")])

    def draw_line(self, line: int) -> Strip:
        """One run."""
        look = self._rows.shown[line]
        pieces = run_columns.run_row(look, self._columns, self.glyphs, self._now())
        marked = look.entry.path in self.marks
        if line == self._rows.row:
            # One style for the whole row: cell colours may lack contrast to the cursor's.
            signs = self.glyphs.cursor + (self.glyphs.mark if marked else " ")
            return self.strip([(signs + "".join(text for text, _ in pieces), "cursor")])
        return self.strip([(f"{self.glyphs.mark} ", "mark") if marked else ("  ", "name"), *pieces])


def _words_of(look: RunLook) -> str:
    entry = look.entry
    words = (entry.run, look.state_word, "live" if look.is_live else "", entry.model_type, entry.mode, str(entry.path))
    return " ".join(words).casefold()
