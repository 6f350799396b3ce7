"""The keys of a chart, the same on every screen that has one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forge_tui.tui.widgets.chart import Chart


class ChartKeys:
    """Actions of a screen with a `chart`."""

    @property
    def chart(self) -> Chart:
        """The chart the keys act on: the screen says which."""
        raise AttributeError(f"{type(self).__name__} has no chart")

    def chart_looks_different(self) -> None:
        """Called when scale or kinds of curves have changed, for what is written beside the chart."""

    def action_zoom_in(self) -> None:
        """Look closer."""
        self.chart.zoom(1)

    def action_zoom_out(self) -> None:
        """Look from further away."""
        self.chart.zoom(-1)

    def action_pan_left(self) -> None:
        """Earlier epochs."""
        self.chart.pan(-1)

    def action_pan_right(self) -> None:
        """Later epochs."""
        self.chart.pan(1)

    def action_reset_chart(self) -> None:
        """All epochs."""
        self.chart.reset()

    def action_log_y(self) -> None:
        """Logarithmic or linear."""
        self.chart.toggle_log()
        self.chart_looks_different()

    def action_kinds(self) -> None:
        """Training, validation or both."""
        self.chart.next_kinds()
        self.chart_looks_different()
