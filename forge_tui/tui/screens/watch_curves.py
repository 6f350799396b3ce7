"""Watch's curves: of the marked models, of the selected one, or the mean over seeds; read beside the UI."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from forge_tui.errors import ForgeError
from forge_tui.tui.chart.quantities import LOSS, LOSSES, Quantity, recorded
from forge_tui.tui.screens import watch_text
from forge_tui.tui.screens.watch_lists import WatchLists

if TYPE_CHECKING:
    from forge_tui.protocol.snapshot import ModelState
    from forge_tui.tui.chart.chart_widget import Series
    from forge_tui.tui.chart.seeds import SeedFeed

MOST_CURVES = 8
# Reading the curves of a long run may take one part in so many of the time: 100,000 epochs take half a second.
_FETCH_SHARE = 50.0


class WatchCurves(WatchLists):
    """Fetches what the chart draws, where it has changed."""

    def __init__(self) -> None:
        super().__init__()
        self._charted: tuple[str, ...] = ()
        self._models_charted: tuple[ModelState, ...] = ()
        self._next_fetch = 0.0
        self._chart_is_due = False
        self._seeds: SeedFeed | None = None

    def _refresh_chart(self) -> None:
        """Fetch the curves beside the UI, where their models have changed, and only while they are seen."""
        run, snapshot = self.forge.controller.run, self.forge.controller.snapshot
        names = self._names_to_average() if self._seeds is not None else self._names_to_chart()
        shown = frozenset(names)
        models = [] if snapshot is None else [model for model in snapshot.models if model.name in shown]
        alone = self._seeds is not None or len(models) < 2
        self.table.set_numbers({} if alone else {model.name: number for number, model in enumerate(models, 1)})
        self.chart.explain(watch_text.why_no_curve(models, snapshot is not None and bool(snapshot.models)))
        if run is None or snapshot is None or not self._chart_shown:
            return
        # Models that did not change are the same objects in two snapshots.
        unchanged = [*map(id, models)] == [*map(id, self._models_charted)]
        wait = unchanged or time.monotonic() < self._next_fetch
        if wait and not self._chart_is_due and names == self._charted:
            return
        self._chart_is_due, self._charted, self._models_charted = False, names, tuple(models)
        buckets, quantity = self.chart.wanted_buckets, self.chart.quantity
        if self._seeds is not None:
            if not self._seeds.refresh([(run, models, "")], buckets):
                self._chart_is_due = True
                self.chart.explain(self._seeds.progress)
            return

        def fetch() -> tuple[tuple[Series, ...], float]:
            from forge_tui.tui.chart.fetching import fetch_series

            started = time.thread_time()  # a disk that was slow once does not keep the curves old for minutes
            return fetch_series(run, models, buckets, quantity), time.thread_time() - started

        def fetched(result: tuple[tuple[Series, ...], float] | ForgeError) -> None:
            if isinstance(result, ForgeError) or not self.is_there or self._seeds is not None:
                return
            if quantity.curves != self.chart.quantity.curves:  # another one was asked for meanwhile
                return
            series, seconds = result
            self._next_fetch = time.monotonic() + _FETCH_SHARE * seconds
            self.chart.show(series)

        self.forge.call_in_thread(fetch, then=fetched, subject="curves")

    def _names_to_chart(self) -> tuple[str, ...]:
        if self.table.marks:
            return tuple(name for name in self.table.shown_names if name in self.table.marks)[:MOST_CURVES]
        return (self.table.selected,) if self.table.selected is not None else ()

    def _names_to_average(self) -> tuple[str, ...]:
        """The marked models, or all of them."""
        snapshot, marks = self.forge.controller.snapshot, self.table.marks
        models = () if snapshot is None else snapshot.models
        return tuple(model.name for model in models if not marks or model.name in marks)

    def quantities(self) -> tuple[Quantity, ...]:
        """What can be drawn of the models in the chart; of means over seeds the losses."""
        if self._seeds is not None or self.forge.controller.snapshot is None:
            return LOSSES
        names = frozenset(self._names_to_chart())
        snapshot = self.forge.controller.snapshot
        return recorded((model for model in snapshot.models if model.name in names), snapshot.metrics)

    def _new_seeds(self) -> SeedFeed:
        from forge_tui.tui.chart.seeds import SeedFeed  # here: most start without it

        return SeedFeed(self.forge, self._show_seeds)

    def _show_seeds(self, series: tuple[Series, ...]) -> None:
        if self.is_there:
            self.chart.explain(_no_epoch())
            self.chart.show(series)

    def action_seeds(self) -> None:
        """Mean and deviation over the seeds of each config, or the curves of single models; kept for next time."""
        if self._seeds is None:
            self._seeds = self._new_seeds()
        else:
            self._seeds.stop()
            self._seeds = None
            self.chart.explain(_no_epoch())
        self.forge.choices.put("seeds", self._seeds is not None)
        self.chart.show(())
        self.chart.measure(LOSS)
        self._chart_is_due = True
        self._refresh_chart()
        self.list_looks_different()

    def on_chart_view_changed(self) -> None:
        """Another part of the curve, or more pixels: fetch it in their detail."""
        self._chart_is_due = True
        self._refresh_chart()

    def on_model_table_selected(self) -> None:
        """Another model: its curve."""
        self._refresh_chart()
        self.list_looks_different()

    def on_model_table_marks_changed(self) -> None:
        """Other marks: their curves."""
        self._refresh_chart()
        self.list_looks_different()

    def chart_looks_different(self) -> None:
        """Scale and kinds stand in the divider."""
        self.list_looks_different()


def _no_epoch() -> str:
    from forge_tui.tui.chart.chart_widget import NO_EPOCH  # here: imported with the body's widgets

    return NO_EPOCH
