"""Watch's panes: table, chart and log, which of them are shown, and how they share the room."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.events import Resize
from textual.widget import Widget

from forge_tui.tui.screens.base import ForgeScreen
from forge_tui.tui.screens.chart_keys import ChartKeys

# The body's widgets are imported after the first paint, when it is made: 12 ms.
if TYPE_CHECKING:
    from forge_tui.tui.chart.chart_widget import Chart
    from forge_tui.tui.lists.model_table import ModelTable
    from forge_tui.tui.widgets.log_pane import LogPane

TALL = 34
PANES = ("table", "chart", "log")


class WatchPanes(ChartKeys, ForgeScreen):
    """A screen with a table, a chart and a log; below 34 lines either the chart or the log."""

    @property
    def narrowed(self) -> bool:
        """A zoomed pane hides the others."""
        return super().narrowed or self._zoomed is not None

    def widen(self) -> None:
        """Show all panes again."""
        if super().narrowed:
            super().widen()
        else:
            self.action_zoom_pane()

    def panes_changed(self) -> None:
        """Called when other panes are shown, or in another size."""

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

    def on_resize(self, event: Resize) -> None:
        """More room shows chart and log together."""
        super().on_resize(event)
        self._apply_panes()
        self.call_after_refresh(self._after_panes)

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
        return next((pane for pane in PANES if self.has_class(f"-zoom-{pane}")), None)

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
        self.panes_changed()
        self.draw_shell()

    def _unzoom(self) -> None:
        for pane in PANES:
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
            focused = self.focused.id if self.focused is not None and self.focused.id in PANES else "table"
            self.add_class(f"-zoom-{focused}")
        self._after_panes()

    def action_next_pane(self) -> None:
        """Focus the next pane that is shown."""
        panes = [pane for pane in (self.query_one(f"#{name}", Widget) for name in PANES) if pane.display]
        if not panes:
            return
        now = panes.index(self.focused) if self.focused in panes else -1
        panes[(now + 1) % len(panes)].focus()
