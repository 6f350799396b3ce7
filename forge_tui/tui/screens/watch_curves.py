"""The curves of the watched run: of the marked or the selected models, or means over seeds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from forge_tui.errors import ForgeError
from forge_tui.tui.chart.chart_widget import NO_EPOCH, Chart
from forge_tui.tui.chart.pace import Pace
from forge_tui.tui.chart.quantities import LOSS, LOSSES, Quantity, is_missing, recorded
from forge_tui.tui.screens import watch_text

if TYPE_CHECKING:
    from forge_tui.protocol.model_state import ModelState
    from forge_tui.tui.app_interface import AppInterface
    from forge_tui.tui.chart.chart_widget import Series
    from forge_tui.tui.chart.seeds import SeedFeed
    from forge_tui.tui.lists.model_table import ModelTable

MOST_CURVES = 8


class RunCurves(Chart):
    """A chart that reads its curves in a thread, only after changes and while it is visible."""

    @dataclass
    class Changed(Message):
        """The chart has switched between curves of models and means over seeds."""

    def __init__(self, forge: AppInterface, table: ModelTable, *, shown: Callable[[], bool], id: str) -> None:
        """`table` determines the models; `shown`: whether the chart is visible."""
        super().__init__(glyphs=forge.glyphs, id=id)
        self._forge, self._table, self._shown = forge, table, shown
        self._pace = Pace()
        self._seeds: SeedFeed | None = None

    @property
    def over_seeds(self) -> bool:
        """Whether means over seeds are drawn."""
        return self._seeds is not None

    @property
    def names(self) -> tuple[str, ...]:
        """The models whose curves or means are drawn."""
        return self._names_to_average() if self._seeds is not None else self._names_to_chart()

    def _names_to_chart(self) -> tuple[str, ...]:
        table = self._table
        if table.marks:
            return tuple(name for name in table.shown_names if name in table.marks)[:MOST_CURVES]
        return (table.selected,) if table.selected is not None else ()

    def _names_to_average(self) -> tuple[str, ...]:
        """The marked models, or all of them."""
        snapshot, marks = self._forge.controller.snapshot, self._table.marks
        models = () if snapshot is None else snapshot.models
        return tuple(model.name for model in models if not marks or model.name in marks)

    @property
    def models(self) -> list[ModelState]:
        """The models whose curves or means are drawn."""
        snapshot, names = self._forge.controller.snapshot, frozenset(self.names)
        return [] if snapshot is None else [model for model in snapshot.models if model.name in names]

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """The quantities of the models in the chart; for means over seeds only the losses."""
        snapshot = self._forge.controller.snapshot
        if self._seeds is not None or snapshot is None:
            return LOSSES
        return recorded(self.models, snapshot.metrics)

    # --- reading

    def refresh_curves(self, *, due: bool = False) -> None:
        """Read the curves if their models have changed; `due`: in any case, once the chart is visible."""
        if due:
            self._pace.ask()
        run, snapshot = self._forge.controller.run, self._forge.controller.snapshot
        names = self.names
        shown = frozenset(names)
        models = [] if snapshot is None else [model for model in snapshot.models if model.name in shown]
        alone = self._seeds is not None or len(models) < 2
        self._table.set_numbers({} if alone else {model.name: number for number, model in enumerate(models, 1)})
        self.explain(watch_text.why_no_curve(models, snapshot is not None and bool(snapshot.models)))
        if run is None or snapshot is None or not self._shown():
            return
        if self._seeds is None and is_missing(self.quantity, models):
            self.measure(self.quantities[0])
        if not self._pace.is_due(models, names):
            return
        buckets, quantity = self.wanted_buckets, self.quantity
        if self._seeds is not None:
            if not self._seeds.refresh([(run, models, "")], buckets):
                self._pace.ask()
                self.explain(self._seeds.progress)
            return

        def fetch() -> tuple[tuple[Series, ...], float]:
            from forge_tui.tui.chart.fetching import fetch_series

            started = time.thread_time()
            return fetch_series(run, models, buckets, quantity), time.thread_time() - started

        def fetched(result: tuple[tuple[Series, ...], float] | ForgeError) -> None:
            if isinstance(result, ForgeError) or not self.is_attached or self._seeds is not None:
                return
            if quantity.curves != self.quantity.curves:  # another one was requested meanwhile
                return
            series, seconds = result
            self._pace.took(seconds)
            self.show(series)

        self._forge.call_in_thread(fetch, then=fetched, subject="curves")

    def forget_run(self) -> None:
        """Clear the chart: the run no longer exists."""
        self._pace.forget()
        if self._seeds is not None:
            self._seeds.stop()
            self.average_seeds()
        self.measure(LOSS)
        self.show(())
        self.explain("")

    def on_chart_view_changed(self) -> None:
        """Fetch the curves for the new view or resolution."""
        self.refresh_curves(due=True)

    # --- means over seeds

    def average_seeds(self) -> None:
        """Switch to means over seeds."""
        from forge_tui.tui.chart.seeds import SeedFeed  # here: it is seldom needed

        self._seeds = SeedFeed(self._forge, self._show_seeds)

    def _show_seeds(self, series: tuple[Series, ...]) -> None:
        if self.is_attached:
            self.explain(NO_EPOCH)
            self.show(series)

    def action_seeds(self) -> None:
        """Switch between means over the seeds of each config and single models' curves; remembered."""
        if self._seeds is None:
            self.average_seeds()
        else:
            self._seeds.stop()
            self._seeds = None
            self.explain(NO_EPOCH)
        self._forge.choices.put("seeds", self._seeds is not None)
        self.show(())
        self.measure(LOSS)
        self.refresh_curves(due=True)
        self.post_message(self.Changed())

    def on_unmount(self) -> None:
        """Stop reading."""
        if self._seeds is not None:
            self._seeds.stop()
