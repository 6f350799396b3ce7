"""The keys of a chart, the same on every screen that has one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forge_tui.tui.chart.quantities import LOSSES, Quantity, following
from forge_tui.tui.chart.smoothing import Smoothing

if TYPE_CHECKING:
    from forge_tui.tui.app_interface import AppInterface
    from forge_tui.tui.chart.chart_widget import Chart


class ChartKeys:
    """Actions of a screen with a `chart`."""

    if TYPE_CHECKING:

        @property
        def forge(self) -> AppInterface:
            """The screen's app."""

    @property
    def chart(self) -> Chart:
        """The chart the keys act on: the screen says which."""
        raise AttributeError(f"{type(self).__name__} has no chart")

    def chart_looks_different(self) -> None:
        """Called when scale, kinds or smoothing of curves have changed, for what is written beside the chart."""

    def restore_chart(self) -> None:
        """Draw the chart as a person last chose."""
        kept = self.forge.choices.get("smoothing", "")
        self.chart.smooth(Smoothing(kept) if kept in list(Smoothing) else Smoothing.OFF)

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

    def quantities(self) -> tuple[Quantity, ...]:
        """What the chart can draw here, in the order of the key that steps through it."""
        return LOSSES

    def action_kinds(self) -> None:
        """The losses, each metric that was recorded, the learning rate."""
        self.chart.measure(following(self.chart.quantity, self.quantities()))
        self.chart_looks_different()

    def action_smoothing(self) -> None:
        """No smoothing, light, strong; kept for next time."""
        self.chart.smooth(self.chart.smoothing.next)
        self.forge.choices.put("smoothing", self.chart.smoothing.value)
        self.chart_looks_different()
