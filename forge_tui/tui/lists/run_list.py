"""The list of known runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from textual.strip import Strip

from forge_tui.tui.lists import run_columns
from forge_tui.tui.lists.keyed_list import KeyedList
from forge_tui.tui.lists.keyed_rows import KeyedRows
from forge_tui.tui.lists.known_runs import RunLook
from forge_tui.tui.lists.run_columns import RunLayout
from forge_tui.tui.widgets.cells import Piece
from forge_tui.tui.widgets.glyphs import UNICODE, Glyphs


class RunList(KeyedList[RunLook, RunLayout]):
    """One line per run; its keys are the paths of the runs.

    The filter sees name, id, note, state, type, mode and path.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"keyed-list--{name}" for name in ("active", "paused", "done", "mark")}
    DEFAULT_CSS = """
    RunList {
        & > .keyed-list--active { color: $primary-lighten-2; }
        & > .keyed-list--paused { color: $warning; }
        & > .keyed-list--done { color: $success; }
        & > .keyed-list--mark { color: $warning; text-style: bold; }
        &:light > .keyed-list--active { color: $primary-darken-1; }
    }
    """

    def __init__(
        self, *, glyphs: Glyphs = UNICODE, now: Callable[[], float] = time.time, id: str | None = None
    ) -> None:
        """`now` (UNIX seconds) dates the runs."""
        super().__init__(KeyedRows(lambda look: look.entry.path, _words_of, _name_of), glyphs=glyphs, id=id)
        self.no_match_text = "No run matches the filter: / changes it."
        self.marks: tuple[Path, ...] = ()
        """The marked runs, in the order of marking."""
        self._now = now

    # --- content

    def show(self, looks: tuple[RunLook, ...]) -> None:
        """Show these runs, in this order; the selection and the marks stay with their runs."""
        there = {look.entry.path for look in looks}
        self.marks = tuple(path for path in self.marks if path in there)
        self.set_items(looks)

    @property
    def looks(self) -> tuple[RunLook, ...]:
        """All runs, shown or not."""
        return self._rows.items

    # --- selection and marks

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

    def lay_out(self) -> RunLayout:
        """Lay out the columns."""
        return run_columns.run_layout(self.size.width, self.looks)

    def titles(self) -> Sequence[Piece]:
        """The titles of the columns."""
        return run_columns.titles(self.columns, self.glyphs)

    def draw_line(self, line: int) -> Strip:
        """One run."""
        look = self.shown[line]
        pieces = run_columns.run_row(look, self.columns, self.glyphs, self._now())
        marked = look.entry.path in self.marks
        if line == self._rows.row:
            # One style for the whole row: cell colours may lack contrast to the cursor's.
            signs = self.glyphs.cursor + (self.glyphs.mark if marked else " ")
            return self.strip([(signs + "".join(text for text, _ in pieces), "cursor")])
        return self.strip([(f"{self.glyphs.mark} ", "mark") if marked else ("  ", "name"), *pieces])


def _words_of(look: RunLook) -> str:
    entry = look.entry
    state = (look.state_word, "live" if look.is_live else "")
    words = (entry.name, entry.run, entry.note, *state, entry.model_type, entry.mode, str(entry.path))
    return " ".join(words).casefold()


def _name_of(look: RunLook) -> str:
    """What is found by its letters too."""
    return f"{look.entry.name} {look.entry.run} {look.entry.model_type}"
