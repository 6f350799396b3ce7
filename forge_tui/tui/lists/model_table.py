"""The table of models: draws only the rows that changed, however many models a run has."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.timer import Timer

from forge_tui.protocol.metrics import MetricTable
from forge_tui.protocol.snapshot import ModelState
from forge_tui.tui.lists import model_columns, model_order, painter
from forge_tui.tui.lists.model_rows import Rows
from forge_tui.tui.widgets import cells
from forge_tui.tui.widgets.glyphs import UNICODE, Glyphs


@dataclass
class _FromTable(Message):
    table: ModelTable

    @property
    def control(self) -> ModelTable:
        """The table it happened in."""
        return self.table


class ModelTable(ScrollView, can_focus=True, inherit_bindings=False):
    """One line a model, under a line of titles. It binds no keys: the screen calls its methods.

    `show` costs what the visible rows that changed cost: unchanged models are the same objects in two snapshots.
    With 10,000 models and 1,000 changes a second it took 1 % of a core and 25 ms a key (p95), a `DataTable` 27 % and
    274 ms (`tests/benchmarks/table_cost.py`).
    """

    ALLOW_MAXIMIZE = False
    COMPONENT_CLASSES: ClassVar[set[str]] = set(painter.COMPONENTS)
    DEFAULT_CSS = painter.CSS

    @dataclass
    class Selected(_FromTable):
        """Another model is selected; None where the table is empty."""

        name: str | None

    @dataclass
    class Opened(_FromTable):
        """A model was opened by a double click or `open_selected`."""

        name: str

    @dataclass
    class MarksChanged(_FromTable):
        """The set of marked models changed."""

        marks: frozenset[str]

    @dataclass
    class Arranged(_FromTable):
        """Order, filter, what is selected for an action or what is followed have changed."""

    @dataclass
    class RangeChanged(_FromTable):
        """Other rows are in view, or there are more or fewer; `text` as `ModelTable.visible_range`."""

        text: str

        def can_replace(self, message: Message) -> bool:
            """Only the newest range counts."""
            return isinstance(message, ModelTable.RangeChanged) and message.table is self.table

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
        """`clock` times the sorting; `took` is how long workers have been busy with a model; `hidden` never show."""
        super().__init__(id=id, classes=classes)
        self.empty_text = "No models yet."
        self.no_match_text = "No model matches the filter."
        self.glyphs = glyphs
        self.hidden = hidden
        self.follow_best = False
        self.marks: frozenset[str] = frozenset()
        self.chosen: frozenset[str] = frozenset()
        self._took = took
        self._rows = Rows(clock)
        self._sorting: Timer | None = None
        self._name_cells, self._most_epochs, self._config_cells = 0, 1, 0
        self._layout: model_columns.Layout | None = None
        self._painter = painter.Painter(self.get_component_rich_style)
        self._numbers: dict[str, int] = {}
        self._told: tuple[str | None, str] = (None, "")

    # What is shown

    def show(self, models: tuple[ModelState, ...], metrics: MetricTable | None = None) -> None:
        """Show the models of a new snapshot, in the order of their indices; `metrics`: those of its run, if others."""
        rows, old = self._rows, self._rows.models
        if models is old:
            return
        generation = rows.generation
        places = {row: rows.place(row) for row in self._visible_rows()}
        moved = rows.show(models, metrics or rows.metrics)
        if rows.generation != generation:
            self._measure()
        self._follow()
        if moved:
            self._redraw()
        else:
            changed = [
                row
                for row in self._visible_rows()
                if models[rows.shown[row]] is not old[rows.shown[row]] or rows.place(row) != places.get(row)
            ]
            self._refresh_rows(changed)
        self._sort_later()
        self._tell()

    def _follow(self) -> None:
        """Select the best model where it is followed."""
        if self.follow_best and (best := self._rows.best_row()) is not None and best != self._rows.row:
            self._select(best, touch=False)

    def set_finished(self, finished: bool) -> None:
        """Whether nobody trains any more: then there is no column of times left."""
        hidden = self.hidden | {"eta"} if finished else self.hidden - {"eta"}
        if hidden != self.hidden:
            self.hidden = hidden
            self._layout = None
            self._painter.forget_rows()
            self._redraw()

    def set_numbers(self, numbers: Mapping[str, int]) -> None:
        """The numbers of the curves that are drawn of models, by name: their rows carry them."""
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

    @property
    def visible_range(self) -> str:
        """Which rows are in view, as `rows 5–12 of 12`; says so where a filter hides some."""
        total, shown = len(self._rows.models), len(self._rows)
        visible = self._visible_rows()
        if not visible:
            return f"0 of {total}" if total else ""
        span = f"{visible[0] + 1}{self.glyphs.dash_range}{visible[-1] + 1}"
        return f"rows {span} of {shown}" + (f" ({total} in all)" if shown != total else "")

    def set_filter(self, text: str) -> None:
        """Show only models that match `text`: parts of names, words of phases, `phase:failed`; empty shows all."""
        self._rows.set_filter(text)
        self._arranged_by_hand()

    def set_sort(self, key: str, reverse: bool = False) -> None:
        """Sort by one of `order.SORT_KEYS`. Raises `ValueError` for another key."""
        self._rows.set_sort(key, reverse)
        self._arranged_by_hand()

    def next_sort(self) -> str:
        """Sort by the key after the present one, and say which it is."""
        place = model_order.SORT_KEYS.index(self._rows.sort_key)
        self.set_sort(model_order.SORT_KEYS[(place + 1) % len(model_order.SORT_KEYS)])
        return self._rows.sort_key

    def reverse_sort(self) -> None:
        """Turn the order round; unknown values stay last."""
        self.set_sort(self._rows.sort_key, not self._rows.reverse)

    @property
    def sort_key(self) -> str:
        """What the rows are sorted by, one of `order.SORT_KEYS`."""
        return self._rows.sort_key

    @property
    def sort_reversed(self) -> bool:
        """Whether the largest comes first."""
        return self._rows.reverse

    @property
    def filter_text(self) -> str:
        """The words of the filter."""
        return self._rows.filter_text

    # Selection and marks

    @property
    def selected(self) -> str | None:
        """The name of the selected model."""
        model = self._rows.selected
        return None if model is None else model.name

    def select(self, name: str) -> bool:
        """Select a model by its name and bring it into view; False where it is not shown."""
        row = self._rows.row_of(name)
        if row is not None:
            self._select(row)
        return row is not None

    def move(self, by: int) -> None:
        """Move the selection by so many rows."""
        self.follow_best = False
        self._select(self._rows.row + by)

    def move_to(self, end: Literal["first", "last"]) -> None:
        """Move the selection to the first or the last row."""
        self.follow_best = False
        self._select(0 if end == "first" else len(self._rows) - 1)

    def page(self, direction: int) -> None:
        """Move the selection by a page, up (-1) or down (1)."""
        self.move(direction * max(1, self._page - 1))

    def scroll_to_selection(self) -> None:
        """Scroll as little as brings the selected row into view."""
        row, top = self._rows.row, self.scroll_offset.y
        if row < 0:
            return
        target = row if row < top else row - self._page + 1 if row >= top + self._page else top
        if target != top:
            self.scroll_to(y=target, animate=False, force=True)

    def open_selected(self) -> None:
        """Post `Opened` for the selected model."""
        if (name := self.selected) is not None:
            self.post_message(self.Opened(self, name))

    def toggle_mark(self) -> None:
        """Mark the selected model, or take its mark away."""
        if (name := self.selected) is not None:
            self._set_marks(self.marks ^ {name})

    def mark_all(self) -> None:
        """Mark every model that passes the filter."""
        self._set_marks(self.marks | set(self.shown_names))

    def clear_marks(self) -> None:
        """Take all marks away."""
        self._set_marks(frozenset())

    def toggle_chosen(self) -> None:
        """Choose the selected model, for what is done to several at once, or choose it no longer."""
        if (name := self.selected) is not None:
            self._set_chosen(self.chosen ^ {name})

    def clear_chosen(self) -> None:
        """Choose none."""
        self._set_chosen(frozenset())

    # Actions of the screen that shows it

    def action_open(self) -> None:
        """Open the selected model."""
        self.open_selected()

    def action_mark(self) -> None:
        """Mark or unmark the selected model and go to the next."""
        self.toggle_mark()
        self.move(1)

    def action_mark_all(self) -> None:
        """Mark all that are shown."""
        self.mark_all()

    def action_mark_none(self) -> None:
        """Clear all marks and what was selected."""
        self.clear_marks()
        self.clear_chosen()

    def action_choose(self) -> None:
        """Select the model for what is done to several at once, or not, and go to the next."""
        self.toggle_chosen()
        self.move(1)

    def action_sort(self) -> None:
        """Sort by the next column."""
        self.next_sort()

    def action_reverse(self) -> None:
        """Reverse the order."""
        self.reverse_sort()

    def action_follow_best(self) -> None:
        """Let the selection follow the best model, or not."""
        self.follow_best = not self.follow_best
        self._follow()
        self.post_message(self.Arranged(self))

    def action_scroll_to_selection(self) -> None:
        """Scroll to the selection."""
        self.scroll_to_selection()

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

    def _select(self, row: int, touch: bool = True) -> None:
        before = self._rows.row
        if touch:
            self._rows.touch()
        self._rows.row = min(max(row, 0), len(self._rows) - 1)
        self._refresh_rows((before, self._rows.row))
        self.scroll_to_selection()
        self._tell()

    # Keeping the drawing in step

    @property
    def _page(self) -> int:
        return max(1, self.size.height - 1)

    def _visible_rows(self) -> range:
        top = self.scroll_offset.y
        return range(top, min(len(self._rows), top + max(0, self.size.height - 1)))

    def _refresh_rows(self, rows: Sequence[int]) -> None:
        size, top = self.size, self.scroll_offset.y - 1
        lines = [row - top for row in rows]
        if regions := [Region(0, line, size.width, 1) for line in lines if 1 <= line < size.height]:
            self.refresh(*regions)

    def _redraw(self) -> None:
        size = Size(self.size.width, len(self._rows) + 1)
        if size != self.virtual_size:
            self.virtual_size = size
        self.refresh(self.size.region)

    def _measure(self) -> None:
        """Learn the widths that names, configs and numbers of epochs need; a changed layout redraws all."""
        models = self._rows.models
        names = max((cells.width_of(model.name) for model in models), default=0)
        epochs = max((model.epochs for model in models), default=1)
        configs = model_columns.config_cells(models)
        if (names, epochs, configs) != (self._name_cells, self._most_epochs, self._config_cells):
            self._name_cells, self._most_epochs, self._config_cells = names, epochs, configs
            self._layout = None
            self._painter.forget_rows()
        kept = self.marks.intersection(model.name for model in models) if self.marks else self.marks
        if kept != self.marks:
            self._set_marks(kept)

    def _arranged_by_hand(self) -> None:
        self._redraw()
        self.scroll_to_selection()
        self._tell()
        self.post_message(self.Arranged(self))

    def _sort_later(self) -> None:
        """See that data which changed too soon after the last sort gets sorted, even if it changes no more."""
        if self._rows.stale and self._sorting is None and self.is_mounted:
            self._sorting = self.set_timer(max(0.05, self._rows.due_in), self._sort_now)

    def _sort_now(self) -> None:
        self._sorting = None
        if self._rows.arrange_if_due():
            self._redraw()
            self._tell()
        self._sort_later()

    def _tell(self) -> None:
        """Post what changed of selection and range."""
        selected, text = self.selected, self.visible_range
        before, self._told = self._told, (selected, text)
        if selected != before[0]:
            self.post_message(self.Selected(self, selected))
        if text != before[1]:
            self.post_message(self.RangeChanged(self, text))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Other rows came into view."""
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self._tell()

    def on_resize(self, event: events.Resize) -> None:
        """Lay the columns out for the new width."""
        self._layout = None
        self._painter.forget_rows()
        self._redraw()
        self.scroll_to_selection()
        self._tell()

    def notify_style_update(self) -> None:
        """Colours changed: draw all anew."""
        super().notify_style_update()
        self._painter.forget_styles()

    def watch_has_focus(self, value: bool) -> None:
        """The selected row looks different with the focus."""
        super().watch_has_focus(value)
        self._refresh_rows((self._rows.row,))

    def on_click(self, event: events.Click) -> None:
        """Select the row clicked, open it at a double click; a title sorts by its column, again turns it round."""
        place = event.get_content_offset(self)
        if place is None:
            return
        if place.y == 0:
            column = self.layout_now.column_at(place.x)
            if column is not None and column.sort is not None:
                self.set_sort(column.sort, column.sort == self.sort_key and not self.sort_reversed)
            return
        row = self.scroll_offset.y + place.y - 1
        if row < len(self._rows):
            self.follow_best = False
            self._select(row)
            if event.chain == 2:
                self.open_selected()

    # Drawing

    @property
    def layout_now(self) -> model_columns.Layout:
        """The columns at the present width."""
        if self._layout is None:
            self._layout = model_columns.model_layout(
                self.size.width, self._name_cells, self._most_epochs, self.hidden, self._config_cells
            )
        return self._layout

    def render_line(self, y: int) -> Strip:
        """The line of titles, then a row a line."""
        width = self.size.width
        if y == 0:
            titles = model_columns.header(self.layout_now, self.glyphs, self._rows.sort_key, self._rows.reverse)
            return self._painter.strip(titles, width)
        row = self.scroll_offset.y + y - 1
        if row < len(self._rows):
            return self._row_strip(row, width)
        text = ""
        if y == 1 and not len(self._rows):
            text = self.no_match_text if self._rows.models else self.empty_text
        return self._painter.strip([(cells.left("  " + text, width, self.glyphs.ellipsis), "empty")], width)

    def _row_strip(self, row: int, width: int) -> Strip:
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

        return self._painter.row((self._rows.shown[row], state, marked, chosen, place), model, draw, width)
