"""The table of models: draws only the rows that changed, however many models a run has."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from textual.message import Message
from textual.strip import Strip
from textual.timer import Timer

from forge_tui.protocol.metrics import MetricTable
from forge_tui.protocol.model_state import ModelState
from forge_tui.tui import word_filter
from forge_tui.tui.lists import model_columns, model_order, painter
from forge_tui.tui.lists.model_rows import Rows
from forge_tui.tui.lists.virtual_list import VirtualList
from forge_tui.tui.widgets import cells
from forge_tui.tui.widgets.glyphs import UNICODE, Glyphs


class ModelTable(VirtualList):
    """One line per model, under a line of titles; its keys are the names of the models.

    `show` only redraws visible rows that changed: unchanged models are the same objects in two snapshots. With 10,000
    models and 1,000 changes per second it took 1 % of a core and 25 ms per key (p95), a `DataTable` 27 % and 274 ms
    (`tests/benchmarks/table_cost.py`).
    """

    PREFIX = painter.PREFIX
    COMPONENT_CLASSES: ClassVar[set[str]] = set(painter.COMPONENTS)
    DEFAULT_CSS = painter.CSS

    @dataclass
    class MarksChanged(Message):
        """The set of marked models changed."""

        table: ModelTable
        marks: frozenset[str]

        @property
        def control(self) -> ModelTable:
            """The table it happened in."""
            return self.table

    def __init__(
        self,
        *,
        glyphs: Glyphs = UNICODE,
        clock: Callable[[], float] = time.monotonic,
        took: Callable[[ModelState], float | None] = lambda _: None,
        hidden: frozenset[str] = frozenset(),
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        """`clock` times the sorting; `took`: how long workers have been busy with a model; `hidden`: hidden columns."""
        self._rows = Rows(clock)
        super().__init__(self._rows, glyphs=glyphs, id=id, classes=classes)
        self.empty_text = "No models yet."
        self.no_match_text = "No model matches the filter."
        self.hidden = hidden
        self.follow_best = False
        self.marks: frozenset[str] = frozenset()
        self.chosen: frozenset[str] = frozenset()
        self._took = took
        self._sorting: Timer | None = None
        self._name_cells, self._most_epochs, self._config_cells = 0, 1, 0
        self._layout: model_columns.Layout | None = None
        self._painter = painter.Painter(self.get_component_rich_style)
        self._numbers: dict[str, int] = {}

    # Content

    def show(self, models: tuple[ModelState, ...], metrics: MetricTable | None = None) -> None:
        """Show the models of a new snapshot, by index; `metrics`: the run's, if changed."""
        rows, old = self._rows, self._rows.models
        if models is old:
            return
        generation = rows.generation
        places = {row: rows.place(row) for row in self.visible_lines}
        moved = rows.show(models, metrics or rows.metrics)
        if rows.generation != generation:
            self._measure()
        self._follow()
        if moved:
            self.redraw()
        else:
            changed = [
                row
                for row in self.visible_lines
                if models[rows.shown[row]] is not old[rows.shown[row]] or rows.place(row) != places.get(row)
            ]
            self.refresh_rows(changed)
        self._sort_later()
        self.tell_changes()

    def _follow(self) -> None:
        """Select the best model if the selection follows it."""
        if self.follow_best and (best := self._rows.best_row()) is not None and best != self._rows.row:
            super().select_row(best)

    def set_finished(self, finished: bool) -> None:
        """Set whether the run has ended: then the ETA column is hidden."""
        hidden = self.hidden | {"eta"} if finished else self.hidden - {"eta"}
        if hidden != self.hidden:
            self.hidden = hidden
            self._layout = None
            self._painter.forget_rows()
            self.redraw()

    def set_numbers(self, numbers: Mapping[str, int]) -> None:
        """Set the numbers of models' curves, by name, for their rows."""
        if dict(numbers) != self._numbers:
            self._numbers = dict(numbers)
            self._painter.forget_rows()
            self.refresh(self.size.region)

    @property
    def models(self) -> tuple[ModelState, ...]:
        """All models, shown or not."""
        return self._rows.models

    @property
    def shown_names(self) -> tuple[str, ...]:
        """The names of the models that pass the filter, from the first row to the last."""
        return tuple(self._rows.model(row).name for row in range(len(self._rows)))

    def set_filter(self, text: str) -> None:
        """Show only models that match `text` (`model_order.filtered`); empty shows all."""
        self._rows.set_filter(text)
        self._arranged_by_hand()

    def set_sort(self, key: str, reverse: bool = False) -> None:
        """Sort by one of `order.SORT_KEYS`. Raises `ValueError` for another key."""
        self._rows.set_sort(key, reverse)
        self._arranged_by_hand()

    @property
    def sort_key(self) -> str:
        """The sort key, one of `order.SORT_KEYS`."""
        return self._rows.sort_key

    @property
    def sort_reversed(self) -> bool:
        """Whether the largest comes first."""
        return self._rows.reverse

    @property
    def filter_text(self) -> str:
        """The words of the filter."""
        return self._rows.filter_text

    @property
    def filter_summary(self) -> str:
        """The filter for a line that describes the table; empty without one."""
        return word_filter.summary(self.filter_text, self._rows.by_letters) if self.filter_text else ""

    # Selection and marks

    @property
    def selected(self) -> str | None:
        """The name of the selected model."""
        key: str | None = self.selected_key
        return key

    @property
    def selected_model(self) -> ModelState | None:
        """The selected model."""
        name = self.selected
        row = None if name is None else self._rows.row_of(name)
        return None if row is None else self._rows.model(row)

    def select(self, name: str) -> bool:
        """Select a model by its name and scroll to it; False if it is not shown."""
        row = self._rows.row_of(name)
        if row is not None:
            self.select_row(row)
        return row is not None

    def moved_by_hand(self) -> None:
        """Stop following the best model when the user moves the selection."""
        self.follow_best = False

    def select_row(self, row: int) -> None:
        """Select a row and scroll to it; rows then stay in place for a while."""
        self._rows.touch()
        super().select_row(row)

    # Actions for the screen

    def action_mark(self) -> None:
        """Mark or unmark the selected model for the chart; go to the next."""
        if (name := self.selected) is not None:
            self._set_marks(self.marks ^ {name})
        self.move(1)

    def action_mark_all(self) -> None:
        """Mark every model that passes the filter."""
        self._set_marks(self.marks | set(self.shown_names))

    def action_mark_none(self) -> None:
        """Remove all marks and choices."""
        self._set_marks(frozenset())
        self._set_chosen(frozenset())

    def action_choose(self) -> None:
        """Choose the selected model, or not, for actions on several models; go to the next."""
        if (name := self.selected) is not None:
            self._set_chosen(self.chosen ^ {name})
        self.move(1)

    def action_sort(self) -> None:
        """Sort by the next key."""
        place = model_order.SORT_KEYS.index(self._rows.sort_key)
        self.set_sort(model_order.SORT_KEYS[(place + 1) % len(model_order.SORT_KEYS)])

    def action_reverse(self) -> None:
        """Reverse the order; unknown values stay last."""
        self.set_sort(self._rows.sort_key, not self._rows.reverse)

    def action_follow_best(self) -> None:
        """Let the selection follow the best model, or not."""
        self.follow_best = not self.follow_best
        self._follow()
        self.post_message(self.Arranged(self))

    def _set_chosen(self, chosen: frozenset[str]) -> None:
        self._rows.touch()
        if chosen != self.chosen:
            self.chosen = chosen
            self.refresh(self.size.region)
            self.post_message(self.Arranged(self))

    def _set_marks(self, marks: frozenset[str]) -> None:
        self._rows.touch()
        if marks == self.marks:
            return
        self.marks = marks
        self.refresh(self.size.region)
        self.post_message(self.MarksChanged(self, marks))

    # Redrawing

    def _measure(self) -> None:
        """Update the widths of names, configs and numbers of epochs; a changed layout redraws all."""
        models = self._rows.models
        names = max((cells.width_of(model.name) for model in models), default=0)
        epochs = max((model.epochs or model.epoch for model in models), default=1)
        configs = model_columns.config_cells(models)
        if (names, epochs, configs) != (self._name_cells, self._most_epochs, self._config_cells):
            self._name_cells, self._most_epochs, self._config_cells = names, epochs, configs
            self._layout = None
            self._painter.forget_rows()
        kept = self.marks.intersection(model.name for model in models) if self.marks else self.marks
        if kept != self.marks:
            self._set_marks(kept)

    def _arranged_by_hand(self) -> None:
        self.rows_changed()
        self.post_message(self.Arranged(self))

    def _sort_later(self) -> None:
        """Schedule a sort of data that changed too soon after the last sort."""
        if self._rows.stale and self._sorting is None and self.is_mounted:
            self._sorting = self.set_timer(max(0.05, self._rows.due_in), self._sort_now)

    def _sort_now(self) -> None:
        self._sorting = None
        if self._rows.arrange_if_due():
            self.redraw()
            self.tell_changes()
        self._sort_later()

    def width_changed(self) -> None:
        """Lay out the columns for the new width."""
        self._layout = None
        self._painter.forget_rows()

    def notify_style_update(self) -> None:
        """Redraw with the new colours."""
        super().notify_style_update()
        self._painter.forget_styles()

    def title_clicked(self, x: int) -> None:
        """Sort by the column; again: reverse the order."""
        column = self.layout_now.column_at(x)
        if column is not None and column.sort is not None:
            self.set_sort(column.sort, column.sort == self.sort_key and not self.sort_reversed)

    # Drawing

    @property
    def layout_now(self) -> model_columns.Layout:
        """The columns at the current width."""
        if self._layout is None:
            self._layout = model_columns.model_layout(
                self.size.width, self._name_cells, self._most_epochs, self.hidden, self._config_cells
            )
        return self._layout

    def draw_title(self) -> Strip:
        """The titles of the columns."""
        titles = model_columns.header(self.layout_now, self.glyphs, self._rows.sort_key, self._rows.reverse)
        return self._painter.strip(titles, self.size.width)

    def draw_line(self, line: int) -> Strip:
        """One model."""
        row = line
        model, place = self._rows.model(row), self._rows.place(row)
        marked, chosen = model.name in self.marks, model.name in self.chosen
        state: painter.State = ""
        if row == self._rows.row:
            state = "cursor" if self.has_focus else "cursor-blurred"

        def draw() -> list[cells.Piece]:
            number = self._numbers.get(model.name)
            mark = " " if not marked else self.glyphs.mark if number is None else str(number)
            first = self.glyphs.cursor if state else mark
            second = self.glyphs.chosen if chosen else mark if state else " "
            return [
                (first + second, "mark"),
                *model_columns.model_row(
                    model, self.layout_now, self.glyphs, self._rows.metrics, self._took(model), place
                ),
            ]

        return self._painter.row((self._rows.shown[row], state, marked, chosen, place), model, draw, self.size.width)
