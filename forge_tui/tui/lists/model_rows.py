"""The rows of a model table, without drawing: filter, order and selection."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from forge_tui.analysis.ranking import Standings
from forge_tui.protocol.metrics import MetricTable
from forge_tui.protocol.model_state import ModelState
from forge_tui.tui.lists import model_order

ARRANGE_EVERY = 2.0
"""Seconds between two sorts of changing data, and from a key press to the next sort."""

_FIXED_ORDERS = ("index", "name")


class Rows:
    """Models, filtered and sorted into rows. `clock` gives seconds.

    Changing data is rearranged at most every `ARRANGE_EVERY` seconds and never that soon after a key, so that rows do
    not jump during navigation; `set_sort` and `set_filter` apply at once. The selection stays with its model; if that
    leaves, it moves to the model in its row. `generation` counts how often the set of models changed.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.models: tuple[ModelState, ...] = ()
        self.metrics = MetricTable()
        self.shown: list[int] = []
        self.row = -1
        self.sort_key, self.reverse = "index", False
        self.filter_text = ""
        self.by_letters = False
        """Whether a word of the filter was found by its letters only."""
        self.stale = False
        self.generation = 0
        self._standings = Standings()
        self._clock = clock
        self._arranged = self._touched = -math.inf

    def __len__(self) -> int:
        return len(self.shown)

    @property
    def total(self) -> int:
        """The number of models, shown or not."""
        return len(self.models)

    def key_of(self, row: int) -> str:
        """The name of the model in a row."""
        return self.model(row).name

    def model(self, row: int) -> ModelState:
        """The model in a row."""
        return self.models[self.shown[row]]

    @property
    def selected(self) -> ModelState | None:
        """The selected model, None without rows."""
        return self.model(self.row) if 0 <= self.row < len(self.shown) else None

    def touch(self) -> None:
        """Keep rows in place for a while, after a key press."""
        self._touched = self._clock()

    @property
    def due_in(self) -> float:
        """Seconds until changing data may be rearranged."""
        return max(self._arranged, self._touched) + ARRANGE_EVERY - self._clock()

    def show(self, models: tuple[ModelState, ...], metrics: MetricTable) -> bool:
        """Set the models and metrics of a new snapshot; True if rows changed."""
        old, self.models, self.metrics = self.models, models, metrics
        self._standings.look(models, metrics)
        if len(old) != len(models) or (models and (old[0].name, old[-1].name) != (models[0].name, models[-1].name)):
            selected = old[self.shown[self.row]].name if 0 <= self.row < len(self.shown) else None
            self.generation += 1
            self.arrange(selected)
            return True
        if old is not models and (self.filter_text or self.sort_key not in _FIXED_ORDERS):
            self.stale = True
        return self.arrange_if_due()

    def arrange_if_due(self) -> bool:
        """Sort and filter again if data changed and it is time; True if rows changed."""
        if not self.stale or self.due_in > 0:
            return False
        return self.arrange()

    def set_sort(self, key: str, reverse: bool) -> None:
        """Sort by `key`, at once. Raises `ValueError` for a key that is not in `order.SORT_KEYS`."""
        if key not in model_order.SORT_KEYS:
            raise ValueError(f"no sort key {key!r}; there are {', '.join(model_order.SORT_KEYS)}")
        self.sort_key, self.reverse = key, reverse
        self.touch()
        self.arrange()

    def set_filter(self, text: str) -> None:
        """Show only models that match `text` (`model_order.filtered`), at once."""
        self.filter_text = text
        self.touch()
        self.arrange()

    def arrange(self, selected: str | None = None) -> bool:
        """Sort and filter now; `selected`: the model to select, by default the present one. True if rows changed."""
        keep = self.shown[self.row] if selected is None and 0 <= self.row < len(self.shown) else None
        if selected is not None:
            keep = next((place for place, model in enumerate(self.models) if model.name == selected), None)
        wanted: Sequence[int] = range(len(self.models))
        self.by_letters = False
        if self.filter_text:
            wanted, self.by_letters = model_order.filtered(self.filter_text, self.models)
        before = self.shown
        self.shown = model_order.sort_positions(self.models, wanted, self.sort_key, self.reverse, self.metrics)
        self.stale = False
        self._arranged = self._clock()
        try:
            self.row = self.shown.index(keep) if keep is not None else self._clamp(self.row)
        except ValueError:
            self.row = self._clamp(self.row)
        return before != self.shown

    def move_to(self, row: int) -> None:
        """Select a row, or the nearest one."""
        self.touch()
        self.row = self._clamp(row)

    def row_of(self, name: str) -> int | None:
        """The row of the model called `name`, None if it is not shown."""
        return next((row for row, place in enumerate(self.shown) if self.models[place].name == name), None)

    def place(self, row: int) -> int | None:
        """The rank of the model in a row, as `Standings.place`."""
        return self._standings.place(self.shown[row])

    def best_row(self) -> int | None:
        """The row of the best model shown, None before any has a metric."""
        keys = self._standings.keys
        best = min(range(len(self.shown)), key=lambda row: (keys[self.shown[row]], self.shown[row]), default=None)
        return best if best is not None and self._standings.has_number(self.shown[best]) else None

    def _clamp(self, row: int) -> int:
        return min(max(row, 0), len(self.shown) - 1)
