"""Watch: the models of a run, their curves, and what happens, live."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult

from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.text.event_lines import log_line
from forge_tui.tui.chart.quantities import LOSS
from forge_tui.tui.follow import has_failed
from forge_tui.tui.screens import watch_text
from forge_tui.tui.screens.filter_line import FilterLine
from forge_tui.tui.screens.watch_curves import WatchCurves
from forge_tui.tui.widgets import cells
from forge_tui.tui.widgets.line import Line, joined_ends

if TYPE_CHECKING:
    from forge_tui.protocol.snapshot import ModelState, Snapshot
    from forge_tui.tui.lists.model_table import ModelTable

CHART_SECONDS = 2.0


class WatchScreen(WatchCurves):
    """Table, chart and log; below 34 lines either the chart or the log."""

    name_of_screen: ClassVar[str] = "watch"

    def __init__(self) -> None:
        super().__init__()
        self._unlogged: list[tuple[str, str]] = []

    def compose_body(self) -> ComposeResult:
        """The overall bar, the three panes and the line between them."""
        from forge_tui.tui.chart.chart_widget import Chart
        from forge_tui.tui.lists.model_table import ModelTable
        from forge_tui.tui.widgets.log_pane import LogPane

        self._apply_panes()
        glyphs = self.forge.glyphs
        table = ModelTable(glyphs=glyphs, clock=time.monotonic, took=self.forge.controller.took, id="table")
        forge = self.forge
        nothing = watch_text.STARTING if forge.starts_a_run else watch_text.no_run(forge.controller.removed)
        table.empty_text = watch_text.READING if forge.controller.run is not None else nothing
        yield Line(id="overall")
        yield table
        yield FilterLine(
            id="filter", placeholder="filter: a part of the name, or phase:failed (Enter keeps, empty shows all)"
        )
        yield Line(id="divider")
        yield Chart(glyphs=glyphs, id="chart")
        yield LogPane(only_ascii=glyphs.ascii, id="log")

    def begin(self) -> None:
        """Focus the table and fill in what is known."""
        table = self.table
        choices = self.forge.choices
        table.set_sort(choices.get("sort", "index"), choices.get("sort_reversed", False))
        table.focus()
        self.restore_chart()
        if choices.get("seeds", False):
            self._seeds = self._new_seeds()
        self.add_events(self.forge.controller.history)
        self.show(self.forge.controller.snapshot)
        self._refresh_chart()
        self.call_after_refresh(self._after_panes)  # before the layout no line knows its width
        self.set_interval(CHART_SECONDS, self._refresh_slowly)

    def on_unmount(self) -> None:
        """Read no more."""
        if self._seeds is not None:
            self._seeds.stop()

    def on_start_refused(self) -> None:
        """The run that was to be watched does not start: the status line says why."""
        self.table.empty_text = watch_text.no_run(self.forge.controller.removed)
        self.table.refresh()

    def forget_run(self) -> None:
        """Show nothing of a run that is not there any more, and say so in its place."""
        self._unlogged.clear()
        self._charted, self._models_charted = (), ()
        if self._seeds is not None:
            self._seeds.stop()
            self._seeds = self._new_seeds()
        self.table.empty_text = watch_text.no_run(self.forge.controller.removed)
        self.table.show(())
        self.chart.measure(LOSS)
        self.chart.show(())
        self.chart.explain("")
        self.log_pane.clear()
        self.query_one("#overall", Line).show("")
        self._fit_table()
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
        self._draw_overall(snapshot)
        self._fit_table()
        self._draw_divider()
        if first or not snapshot.state.is_live:
            self._chart_is_due = True
            self._refresh_chart()

    def _draw_overall(self, snapshot: Snapshot) -> None:
        line = self.query_one("#overall", Line)
        width = max(20, line.size.width or self.size.width)
        right = Text("  ").append_text(watch_text.counts_text(snapshot))
        done, left = self.forge.glyphs.bar(snapshot.overall_percent / 100, max(4, width - right.cell_len))
        bar = Text()
        bar.append(done, style="red" if snapshot.failed else "green")
        bar.append(left, style="dim")
        line.show(joined_ends(bar, right, width))

    def _draw_divider(self) -> None:
        line = self.query_one("#divider", Line)
        glyphs, chart = self.forge.glyphs, self.chart
        dash = glyphs.axis_horizontal
        parts = []
        if self._chart_shown:
            # The chart's own legend tells the kinds; whose curve it is stands nowhere else while the table is hidden.
            names = self._names_to_average() if self._seeds is not None else self._names_to_chart()
            whose = [f"{len(names)} models" if len(names) > 1 else cells.clean(names[0], glyphs.ascii)] if names else []
            whose = [cells.middle(each, min(cells.width_of(each), 24), glyphs.ellipsis) for each in whose]
            seeds = ["seeds"] if self._seeds is not None else []
            smooth = [f"smoothed {chart.smoothing.weight:g}"] if chart.smoothing.weight else []
            scale = "log y" if chart.log_y else "linear y"
            parts.append("[c Chart] " + ", ".join([*whose, scale, *seeds, *smooth]))
        else:
            parts.append("c Chart")
        parts.append("[l Log]" if self._log_shown else "l Log")
        if self.table.marks:
            drawn = len(self._names_to_chart()) if self._seeds is None else len(self.table.marks)
            more = f", {drawn} drawn" if drawn < len(self.table.marks) else ""
            parts.append(f"{len(self.table.marks)} marked{more}")
        if self.table.chosen:
            parts.append(f"{len(self.table.chosen)} selected (X)")
        if self.table.filter_text:
            parts.append(f"filter {cells.clean(self.table.filter_text)}")
        if self.table.follow_best:
            parts.append("follows best")
        order = self.table.sort_key
        if order != "index":
            parts.append(f"by {order}{', reversed' if self.table.sort_reversed else ''}")
        left = Text(dash + f" {dash} ".join(parts) + " ")
        right = Text(f" {self.table.visible_range}" if self.table.display else "")
        width = max(20, line.size.width or self.size.width)
        left.append(dash * max(0, width - left.cell_len - right.cell_len))
        line.show(joined_ends(left, right, width))

    def add_events(self, events: Iterable[dict[str, Any]]) -> None:
        """Add events to the log; what failed first stays in the status line."""
        if not self.is_there:
            return
        lines = (log_line(record) for record in events)
        self._unlogged += [line for line in lines if line is not None]
        snapshot = self.forge.controller.snapshot
        now = snapshot.runner_time if snapshot is not None and snapshot.state.is_live else self.forge.clock()
        failures = [record for record in events if watch_text.is_news(record, snapshot, now)]
        if failures and (snapshot is None or snapshot.state is not RunState.DIED):  # that it died is told already
            room, ellipsis = self.app.size.width - len("! "), self.forge.glyphs.ellipsis
            told = watch_text.failure_text(snapshot, failures[-1], room, ellipsis)
            cause = snapshot.failures[0].model if snapshot is not None and snapshot.failures else None
            self.forge.tell(told, "error", holds=None if cause is None else partial(has_failed, model=cause))
        warnings = [
            each
            for each in events
            if each["event"] == "resource_warning" and abs(now - each["time"]) < watch_text.NEWS_SECONDS
        ]
        if warnings and not failures:
            self.forge.tell(warnings[-1]["message"], "warning")
        if failures or not self.log_pane.lines or self.forge.controller.has_ended:
            self._flush_log()

    def _flush_log(self) -> None:
        """Every new line moves all others, so lines are added together, as often as the chart is drawn."""
        if self._unlogged:
            self.log_pane.add(self._unlogged)
            self._unlogged = []

    def _refresh_slowly(self) -> None:
        self._refresh_chart()
        self._flush_log()

    def on_model_table_range_changed(self) -> None:
        """Other rows are in view."""
        self._draw_divider()

    def on_model_table_opened(self, message: ModelTable.Opened) -> None:
        """Open the model's own screen."""
        self.forge.navigation.open_model(message.name)

    def panes_changed(self) -> None:
        """The lines and the curves in the new width."""
        self._chart_is_due = True
        self.call_after_refresh(self._draw_anew)

    def _draw_anew(self) -> None:
        if not self.is_there:
            return
        if self.forge.controller.snapshot is not None:
            self._draw_overall(self.forge.controller.snapshot)
        self._draw_divider()
        self._refresh_chart()

    def list_looks_different(self) -> None:
        """Order, filter and marks stand in the divider."""
        self._draw_divider()


def _as_they_stand(snapshot: Snapshot) -> tuple[ModelState, ...]:
    """The models; without the time that was left where nobody trains any more."""
    if snapshot.state.is_live:
        return snapshot.models
    return tuple(model if model.eta_seconds is None else replace(model, eta_seconds=None) for model in snapshot.models)
