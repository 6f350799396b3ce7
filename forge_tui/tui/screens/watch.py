"""Watch: the models of a run, their curves, and what happens, live."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

from rich.text import Text
from textual.app import ComposeResult
from textual.events import Key, Resize
from textual.widget import Widget
from textual.widgets import Input

from forge_tui.errors import ForgeError
from forge_tui.event_text import log_line
from forge_tui.progress.phases import RunState
from forge_tui.progress.snapshot import ModelState, Snapshot
from forge_tui.tui import watch_text
from forge_tui.tui.screens.base import ForgeScreen
from forge_tui.tui.screens.chart_keys import ChartKeys
from forge_tui.tui.widgets import cells
from forge_tui.tui.widgets.line import Line, joined

# The body's widgets are imported after the first paint, when it is made: 12 ms.
if TYPE_CHECKING:
    from forge_tui.tui.seeds import SeedFeed
    from forge_tui.tui.widgets.chart import Chart, Series
    from forge_tui.tui.widgets.log_pane import LogPane
    from forge_tui.tui.widgets.model_table import ModelTable

CHART_SECONDS = 2.0
MOST_CURVES = 8
# Reading the curves of a long run may take one part in so many of the time: 100,000 epochs take half a second.
_FETCH_SHARE = 50.0
TALL = 34
# A warning older than this is history: it stands in the log only.
_NEWS_SECONDS = 60.0
_PANES = ("table", "chart", "log")


class WatchScreen(ChartKeys, ForgeScreen):
    """Table, chart and log; below 34 lines either the chart or the log."""

    name_of_screen: ClassVar[str] = "watch"

    def __init__(self) -> None:
        super().__init__()
        self._charted: tuple[str, ...] = ()
        self._models_charted: tuple[ModelState, ...] = ()
        self._next_fetch = 0.0
        self._chart_is_due = False
        self._unlogged: list[tuple[str, str]] = []
        self._seeds: SeedFeed | None = None

    def compose_body(self) -> ComposeResult:
        """The overall bar, the three panes and the line between them."""
        from forge_tui.tui.widgets.chart import Chart
        from forge_tui.tui.widgets.log_pane import LogPane
        from forge_tui.tui.widgets.model_table import ModelTable

        self._apply_panes()
        glyphs = self.forge.glyphs
        table = ModelTable(glyphs=glyphs, clock=time.monotonic, now=self.forge.clock, id="table")
        forge = self.forge
        starting = watch_text.STARTING if forge.starts_a_run else watch_text.NO_RUN
        table.empty_text = watch_text.READING if forge.run_watched is not None else starting
        yield Line(id="overall")
        yield table
        yield Input(
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
        self.add_events(self.forge.history)
        self.show(self.forge.snapshot)
        self._refresh_chart()
        self.set_interval(CHART_SECONDS, self._refresh_slowly)

    def on_unmount(self) -> None:
        """Read no more."""
        if self._seeds is not None:
            self._seeds.stop()

    @property
    def table(self) -> ModelTable:
        """The model table."""
        return cast("ModelTable", self.query_one("#table"))

    @property
    def chart(self) -> Chart:
        """The chart."""
        return cast("Chart", self.query_one("#chart"))

    @property
    def log_pane(self) -> LogPane:
        """The log."""
        return cast("LogPane", self.query_one("#log"))

    def on_start_refused(self) -> None:
        """The run that was to be watched does not start: the status line says why."""
        self.table.empty_text = watch_text.NO_RUN
        self.table.refresh()

    def on_resize(self, event: Resize) -> None:
        """More room shows chart and log together."""
        super().on_resize(event)
        self._apply_panes()
        self.call_after_refresh(self._fit_table)

    # --- drawing

    def show(self, snapshot: Snapshot | None) -> None:
        """Draw a snapshot."""
        if not self.is_there or snapshot is None:
            return
        first = not self.table.models
        if not snapshot.models and self.table.empty_text != watch_text.NO_MODELS:
            self.table.empty_text = watch_text.NO_MODELS
            self.table.refresh()
        self.table.show(_as_they_stand(snapshot))
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
        line.show(joined(bar, right, width))

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
            parts.append(f"{len(self.table.marks)} marked")
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
        line.show(joined(left, right, width))

    def add_events(self, events: Iterable[dict[str, Any]]) -> None:
        """Add events to the log; what failed first stays in the status line."""
        if not self.is_there:
            return
        lines = (log_line(record) for record in events)
        self._unlogged += [line for line in lines if line is not None]
        snapshot = self.forge.snapshot
        failures = [record for record in events if record["event"] == "model_failed"]
        if failures and (snapshot is None or snapshot.state is not RunState.DIED):  # that it died is told already
            room, ellipsis = self.app.size.width - len("! "), self.forge.glyphs.ellipsis
            told = watch_text.failure_text(snapshot, failures[-1], room, ellipsis)
            self.forge.tell(told, "error")
        recent = self.forge.clock() - _NEWS_SECONDS
        warnings = [each for each in events if each["event"] == "resource_warning" and each["time"] > recent]
        if warnings and not failures:
            self.forge.tell(warnings[-1]["message"], "warning")
        if failures or not self.log_pane.lines or self.forge.has_ended:
            self._flush_log()

    def _flush_log(self) -> None:
        """Every new line moves all others, so lines are added together, as often as the chart is drawn."""
        if self._unlogged:
            self.log_pane.add(self._unlogged)
            self._unlogged = []

    def _refresh_slowly(self) -> None:
        self._refresh_chart()
        self._flush_log()

    # --- the chart

    def _refresh_chart(self) -> None:
        """Fetch the curves beside the UI, where their models have changed, and only while they are seen."""
        run, snapshot = self.forge.run_watched, self.forge.snapshot
        names = self._names_to_average() if self._seeds is not None else self._names_to_chart()
        shown = frozenset(names)
        models = [] if snapshot is None else [model for model in snapshot.models if model.name in shown]
        self.chart.explain(watch_text.why_no_curve(models, snapshot is not None and bool(snapshot.models)))
        if run is None or snapshot is None or not self._chart_shown:
            return
        # Models that did not change are the same objects in two snapshots.
        unchanged = [*map(id, models)] == [*map(id, self._models_charted)]
        wait = unchanged or time.monotonic() < self._next_fetch
        if wait and not self._chart_is_due and names == self._charted:
            return
        self._chart_is_due, self._charted, self._models_charted = False, names, tuple(models)
        buckets = self.chart.wanted_buckets
        if self._seeds is not None:
            if not self._seeds.refresh([(run, models, "")], buckets):
                self._chart_is_due = True
                self.chart.explain(self._seeds.progress)
            return

        def fetch() -> tuple[tuple[Series, ...], float]:
            from forge_tui.tui.charting import fetch_series

            started = time.monotonic()
            return fetch_series(run, models, buckets), time.monotonic() - started

        def fetched(result: tuple[tuple[Series, ...], float] | ForgeError) -> None:
            if isinstance(result, ForgeError) or not self.is_there or self._seeds is not None:
                return
            series, seconds = result
            self._next_fetch = time.monotonic() + _FETCH_SHARE * seconds
            self.chart.show(series)

        self.forge.call_in_thread(fetch, then=fetched)

    def _names_to_chart(self) -> tuple[str, ...]:
        if self.table.marks:
            return tuple(name for name in self.table.shown_names if name in self.table.marks)[:MOST_CURVES]
        return (self.table.selected,) if self.table.selected is not None else ()

    def _names_to_average(self) -> tuple[str, ...]:
        """The marked models, or all of them."""
        if self.forge.snapshot is None:
            return ()
        return tuple(
            model.name for model in self.forge.snapshot.models if not self.table.marks or model.name in self.table.marks
        )

    def _new_seeds(self) -> SeedFeed:
        from forge_tui.tui.seeds import SeedFeed  # here: most start without it

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
        self._chart_is_due = True
        self._refresh_chart()
        self._draw_divider()

    def on_chart_view_changed(self) -> None:
        """Another part of the curve, or more pixels: fetch it in their detail."""
        self._chart_is_due = True
        self._refresh_chart()

    def on_model_table_selected(self) -> None:
        """Another model: its curve."""
        self._refresh_chart()
        self._draw_divider()

    def on_model_table_marks_changed(self) -> None:
        """Other marks: their curves."""
        self._refresh_chart()
        self._draw_divider()

    def on_model_table_range_changed(self) -> None:
        """Other rows are in view."""
        self._draw_divider()

    def on_model_table_opened(self, message: ModelTable.Opened) -> None:
        """Open the model's own screen."""
        self.forge.open_model(message.name)

    # --- panes

    @property
    def _chart_shown(self) -> bool:
        zoomed = self._zoomed
        return zoomed == "chart" or (zoomed is None and not self.has_class("-no-chart"))

    @property
    def _log_shown(self) -> bool:
        zoomed = self._zoomed
        return zoomed == "log" or (zoomed is None and not self.has_class("-no-log"))

    @property
    def _zoomed(self) -> str | None:
        return next((pane for pane in _PANES if self.has_class(f"-zoom-{pane}")), None)

    def _apply_panes(self) -> None:
        choices = self.forge.choices
        chart, log = choices.get("chart", True), choices.get("log", self.app.size.height >= TALL)
        if chart and log and self.app.size.height < TALL:
            log = False
        self.set_class(not chart, "-no-chart")
        self.set_class(not log, "-no-log")

    def _toggle_pane(self, pane: str) -> None:
        self._unzoom()
        other = "log" if pane == "chart" else "chart"
        shown = not self.has_class(f"-no-{pane}")
        self.forge.choices.put(pane, not shown)
        self.set_class(shown, f"-no-{pane}")
        if not shown and self.app.size.height < TALL:
            self.forge.choices.put(other, False)
            self.set_class(True, f"-no-{other}")
        self._after_panes()

    def _fit_table(self) -> None:
        """As many lines as there are models, and at most its share: few models leave their room to chart and log."""
        if not self.is_there:
            return
        room = self.query_one("#body").size.height - len(("overall", "divider"))
        others = self._chart_shown + self._log_shown
        if room < 1 or not others or self._zoomed is not None:
            self.table.styles.height = "1fr"
            return
        share = room // 2 if others == 1 else room * 2 // 5
        self.table.styles.height = max(3, min(len(self.table.models) + 1, share))

    def _after_panes(self) -> None:
        self._fit_table()
        self._chart_is_due = True
        self.call_after_refresh(self._refresh_chart)
        self.call_after_refresh(self._draw_divider)

    def _unzoom(self) -> None:
        for pane in _PANES:
            self.remove_class(f"-zoom-{pane}")

    def action_chart_pane(self) -> None:
        """Show or hide the chart."""
        self._toggle_pane("chart")

    def action_log_pane(self) -> None:
        """Show or hide the log."""
        self._toggle_pane("log")

    def action_zoom_pane(self) -> None:
        """Give the focused pane the whole screen, or take it back."""
        zoomed = self._zoomed
        self._unzoom()
        if zoomed is None:
            focused = self.focused.id if self.focused is not None and self.focused.id in _PANES else "table"
            self.add_class(f"-zoom-{focused}")
        self._after_panes()

    def action_next_pane(self) -> None:
        """Focus the next pane that is shown."""
        panes = [pane for pane in (self.query_one(f"#{name}", Widget) for name in _PANES) if pane.display]
        if not panes:
            return
        now = panes.index(self.focused) if self.focused in panes else -1
        panes[(now + 1) % len(panes)].focus()

    # --- lists

    def chosen_models(self) -> set[str]:
        """The marked models, or the selected one."""
        table = self.table
        return set(table.marks) or ({table.selected} if table.selected is not None else set())

    def _in_log(self) -> bool:
        return self.focused is self.log_pane

    def _move(self, by: int) -> None:
        if self._in_log():
            self.log_pane.scroll_relative(y=by, animate=False)
        else:
            self.table.move(by)

    def action_up(self) -> None:
        """One up."""
        self._move(-1)

    def action_down(self) -> None:
        """One down."""
        self._move(1)

    def _page(self, direction: int) -> None:
        if self._in_log():
            log = self.log_pane
            log.scroll_relative(y=direction * max(1, log.size.height - 1), animate=False)
        else:
            self.table.page(direction)

    def action_page_up(self) -> None:
        """One page up."""
        self._page(-1)

    def action_page_down(self) -> None:
        """One page down."""
        self._page(1)

    def action_first(self) -> None:
        """To the first row or line."""
        if self._in_log():
            self.log_pane.scroll_home(animate=False)
        else:
            self.table.move_to("first")

    def action_last(self) -> None:
        """To the last row or line."""
        if self._in_log():
            self.log_pane.scroll_end(animate=False)
        else:
            self.table.move_to("last")

    def action_open(self) -> None:
        """Open the selected model."""
        self.table.open_selected()

    def action_mark(self) -> None:
        """Mark or unmark the selected model and go on to the next."""
        self.table.toggle_mark()
        self.table.move(1)

    def action_mark_all(self) -> None:
        """Mark all that are shown."""
        self.table.mark_all()

    def action_mark_none(self) -> None:
        """Clear all marks."""
        self.table.clear_marks()

    def action_sort(self) -> None:
        """Sort by the next column."""
        self.forge.choices.put("sort", self.table.next_sort())
        self._draw_divider()

    def action_reverse(self) -> None:
        """Reverse the order."""
        self.table.reverse_sort()
        self.forge.choices.put("sort_reversed", self.table.sort_reversed)
        self._draw_divider()

    def action_follow_best(self) -> None:
        """Let the selection follow the best model, or not."""
        self.table.follow_best = not self.table.follow_best
        if self.table.follow_best and self.forge.snapshot is not None:
            self.table.show(tuple(self.forge.snapshot.models))
        self._draw_divider()

    def action_scroll_to_selection(self) -> None:
        """Scroll to the selection."""
        self.table.scroll_to_selection()

    def action_filter(self) -> None:
        """Open the line for the filter."""
        entry = self.query_one("#filter", Input)
        entry.value = self.table.filter_text
        entry.add_class("-open")
        entry.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while typing."""
        if event.input.id == "filter" and event.input.has_class("-open"):
            self.table.set_filter(event.value)
            self._draw_divider()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep the filter and close the line."""
        self._close_filter(event.input)

    def on_key(self, event: Key) -> None:
        """Esc closes the line of the filter and clears it."""
        if event.key != "escape" or not self.is_there:
            return
        entry = self.query_one("#filter", Input)
        if entry.has_focus:
            event.stop()
            self.table.set_filter("")
            self._close_filter(entry)

    def _close_filter(self, entry: Input) -> None:
        entry.remove_class("-open")
        self.table.focus()
        self._draw_divider()

    def chart_looks_different(self) -> None:
        """Scale and kinds stand in the divider."""
        self._draw_divider()


def _as_they_stand(snapshot: Snapshot) -> tuple[ModelState, ...]:
    """The models; without the time that was left where nobody trains any more."""
    if snapshot.state.is_live:
        return snapshot.models
    return tuple(model if model.eta_seconds is None else replace(model, eta_seconds=None) for model in snapshot.models)


def _no_epoch() -> str:
    from forge_tui.tui.widgets.chart import NO_EPOCH  # here: imported with the body's widgets

    return NO_EPOCH
