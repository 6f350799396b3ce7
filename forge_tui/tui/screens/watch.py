"""Watch: models, curves and log of a run, live."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.events import Resize

from forge_tui.protocol.phases import TrainingPhase
from forge_tui.tui.screens import chart_keys, copying, grid_switch, moving, watch_panes, watch_text
from forge_tui.tui.screens.base import ForgeScreen

# The body's widgets are imported after the first paint: 12 ms.
if TYPE_CHECKING:
    from forge_tui.protocol.model_state import ModelState
    from forge_tui.protocol.snapshot import Snapshot
    from forge_tui.tui.chart.metric_grid import MetricGrid
    from forge_tui.tui.copies import Copy
    from forge_tui.tui.lists.model_table import ModelTable
    from forge_tui.tui.lists.virtual_list import VirtualList
    from forge_tui.tui.screens.grid_switch import GridSwitch
    from forge_tui.tui.screens.watch_curves import RunCurves
    from forge_tui.tui.screens.watch_lines import DividerLine, OverallLine
    from forge_tui.tui.screens.watch_log import RunLog
    from forge_tui.tui.screens.watch_output import ModelOutput
    from forge_tui.tui.widgets.filter_line import FilterLine

SLOW_SECONDS = 2.0
_FILTER_HINT = "filter: planner_5 or its letters pl5, !failed, phase:train (Enter keeps)"


class WatchScreen(ForgeScreen):
    """Table, chart, output and log (`watch_panes`)."""

    name_of_screen: ClassVar[str] = "watch"
    PARTS: ClassVar[Mapping[str, Sequence[str]]] = {
        "moving": moving.ACTIONS,
        "panes": watch_panes.ACTIONS,
        "chart": ("seeds",),
        "chart_keys": chart_keys.ACTIONS,
        "switch": grid_switch.ACTIONS,
        "filter_line": ("filter",),
        "table": (
            *("open", "mark", "mark_all", "mark_none", "choose", "sort", "reverse", "follow_best"),
            "scroll_to_selection",
        ),
    }
    table: ModelTable
    chart: RunCurves
    grid: MetricGrid
    switch: GridSwitch
    log_pane: RunLog
    output: ModelOutput
    filter_line: FilterLine
    overall: OverallLine
    divider: DividerLine
    panes: watch_panes.WatchPanes

    def compose_body(self) -> ComposeResult:
        """The overall bar, the panes and the line between them."""
        from textual.containers import Horizontal

        from forge_tui.tui.lists.model_table import ModelTable
        from forge_tui.tui.screens.watch_curves import RunCurves
        from forge_tui.tui.screens.watch_lines import DividerLine, OverallLine
        from forge_tui.tui.screens.watch_log import RunLog
        from forge_tui.tui.screens.watch_output import ModelOutput
        from forge_tui.tui.widgets.filter_line import FilterLine

        forge, controller = self.forge, self.forge.controller
        self.panes = watch_panes.WatchPanes(self, forge.choices, self._panes_changed)
        self.panes.choose()
        self.table = ModelTable(glyphs=forge.glyphs, clock=time.monotonic, took=controller.took, id="table")
        nothing = watch_text.STARTING if forge.starts_a_run else watch_text.no_run(controller.removed)
        self.table.empty_text = watch_text.READING if controller.run is not None else nothing
        self.filter_line = FilterLine(self.table, _FILTER_HINT, id="filter")
        self.chart = RunCurves(forge, self.table, shown=self._shows_one_chart, id="chart")
        self.switch = switch = grid_switch.GridSwitch(
            self,
            forge,
            self.chart,
            of=lambda: (controller.run, self.chart.models),
            quantities=lambda: self.chart.quantities,
            changed=self._metrics_changed,
            visible=lambda: self.panes.chart_shown,
            fits=lambda: not self.chart.over_seeds,
        )
        self.grid = switch.grid
        self.chart_keys = chart_keys.ChartKeys(
            self.chart, forge.choices,
            quantities=switch.quantities, changed=self._metrics_changed, charts=lambda: switch.charts,
        )  # fmt: skip
        self.log_pane = RunLog(forge, id="log")
        self.output = ModelOutput(forge, self._selected_model, id="output")
        self.moving = moving.Moving(self._moved)
        self.narrowings = (self.chart, self.grid, self.panes, self.filter_line)
        self.overall, self.divider = OverallLine(id="overall"), DividerLine(id="divider")
        yield from (self.overall, self.table, self.filter_line, self.divider)
        yield Horizontal(self.chart, self.grid, self.output, id="views")
        yield self.log_pane

    def begin(self) -> None:
        """Focus the table and show the known state."""
        choices, controller = self.forge.choices, self.forge.controller
        self.table.set_sort(choices.get("sort", "index"), choices.get("sort_reversed", False))
        self.table.focus()
        if choices.get("seeds", False):
            self.chart.average_seeds()
        self.log_pane.show_past(controller.history)
        self.show(controller.snapshot)
        self._refresh_curves()
        self.call_after_refresh(self._panes_changed)  # before the layout the lines' widths are unknown
        self.set_interval(SLOW_SECONDS, self._refresh_slowly)

    def _moved(self) -> RunLog | ModelOutput | ModelTable:
        """What the keys for moving move."""
        texts = (self.log_pane, self.output)
        return next((pane for pane in texts if self.focused is pane), self.table)

    def _selected_model(self) -> ModelState | None:
        return self.table.selected_model

    def chosen_models(self) -> set[str]:
        """The models selected by X, or the one in the selected row. Marks only affect the chart."""
        table = self.table
        return set(table.chosen) or ({table.selected} if table.selected is not None else set())

    def copies(self) -> Sequence[Copy]:
        """What can be copied of the run and of the selected model."""
        run, snapshot, model = self.forge.controller.run, self.forge.controller.snapshot, self._selected_model()
        if run is None or snapshot is None:
            return ()
        of_model = [] if model is None else copying.copies_of_model(model)
        return [*copying.copies_of_run(run.path, is_live=snapshot.state.is_live), *of_model]

    def on_start_refused(self) -> None:
        """Update the screen if a run does not start: the status line says why."""
        self.table.empty_text = watch_text.no_run(self.forge.controller.removed)
        self.table.refresh()

    def forget_run(self) -> None:
        """Stop showing a run that no longer exists, and say so in its place."""
        self.table.empty_text = watch_text.no_run(self.forge.controller.removed)
        self.table.show(())
        self.chart.forget_run()
        self.grid.forget_run()
        self.log_pane.forget_run()
        self.output.forget_run()
        self.overall.show("")
        self.panes.fit_table(self.table)
        self._draw_divider()

    def show(self, snapshot: Snapshot | None) -> None:
        """Draw a snapshot."""
        if not self.is_there or snapshot is None:
            return
        first = not self.table.models
        if not snapshot.models and self.table.empty_text != watch_text.NO_MODELS:
            self.table.empty_text = watch_text.NO_MODELS
            self.table.refresh()
        left = len(snapshot.models) - sum(snapshot.counts[phase] for phase in TrainingPhase if phase.is_final)
        self.table.set_finished(not snapshot.state.is_live or left == 0)
        self.table.show(_as_they_stand(snapshot), snapshot.metrics)
        self.overall.draw(snapshot, self.forge.glyphs)
        self.panes.expect_output(snapshot.run.has_custom_loop)
        self.panes.fit_table(self.table)
        self._draw_divider()
        if first or not snapshot.state.is_live:
            self._refresh_curves(due=True)

    def add_events(self, events: Iterable[dict[str, Any]]) -> None:
        """Add events to the log; the first failure stays in the status line."""
        if self.is_there:
            self.log_pane.add_events(events)

    def _refresh_slowly(self) -> None:
        self._refresh_curves()
        self._read_output()
        self.log_pane.flush()

    def _shows_one_chart(self) -> bool:
        return self.panes.chart_shown and not self.switch.shown

    def _refresh_curves(self, *, due: bool = False) -> None:
        self.chart.refresh_curves(due=due)
        self.switch.fit()
        self.grid.refresh_curves(due=due)

    def _metrics_changed(self) -> None:
        """Redraw what depends on the quantity, and on whether there is one chart or a grid."""
        if self.is_there:
            self._refresh_curves(due=True)
            self._draw_divider()

    def _read_output(self) -> None:
        if self.panes.output_shown:
            self.output.read()

    def _draw_divider(self) -> None:
        metrics = self.switch.words if self.switch.shown else ""
        self.divider.draw(self.panes, self.table, self.chart, metrics, self.forge.glyphs)

    # --- panes

    def on_resize(self, event: Resize) -> None:
        """With more space, show chart and log together."""
        super().on_resize(event)
        if self.is_there:
            self.panes.choose()
            self.call_after_refresh(self._panes_changed)

    def _panes_changed(self) -> None:
        """Redraw lines and curves after a change of the panes."""
        if self.is_there:
            self.panes.fit_table(self.table)
        self.draw_shell()
        self.call_after_refresh(self._draw_anew)

    def _draw_anew(self) -> None:
        if not self.is_there:
            return
        snapshot = self.forge.controller.snapshot
        if snapshot is not None:
            self.overall.draw(snapshot, self.forge.glyphs)
        self._draw_divider()
        self._refresh_curves(due=True)
        self._read_output()

    # --- messages of the panes

    def on_virtual_list_selected(self) -> None:
        """Show the selected model's curve and output."""
        self._refresh_curves()
        self._read_output()
        self._draw_divider()

    def on_model_table_marks_changed(self) -> None:
        """Show the marked models' curves."""
        self._refresh_curves()
        self._draw_divider()

    def on_virtual_list_range_changed(self) -> None:
        """Update the divider, which shows the visible range."""
        self._draw_divider()

    def on_virtual_list_opened(self, message: VirtualList.Opened) -> None:
        """Open the model's own screen."""
        self.forge.navigation.open_model(message.key)

    def on_virtual_list_arranged(self) -> None:
        """Update the divider with order, filter and selection; remember the order."""
        choices, table = self.forge.choices, self.table
        if (table.sort_key, table.sort_reversed) != (choices.get("sort", "index"), choices.get("sort_reversed", False)):
            choices.put("sort", table.sort_key)
            choices.put("sort_reversed", table.sort_reversed)
        self._draw_divider()

    def on_run_curves_changed(self) -> None:
        """Update the divider, which names the curves, and the grid, which has none of means."""
        self._metrics_changed()

    def on_chart_pointed(self) -> None:
        """Update what depends on the chosen metric and on the cursor."""
        self._metrics_changed()
        self.draw_shell()


def _as_they_stand(snapshot: Snapshot) -> tuple[ModelState, ...]:
    """The models; without remaining times if the run has ended."""
    if snapshot.state.is_live:
        return snapshot.models
    return tuple(model if model.eta_seconds is None else replace(model, eta_seconds=None) for model in snapshot.models)
