"""The keys of a chart, the same on every screen that has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from forge_tui.tui.chart.quantities import LOSSES, Quantity, following
from forge_tui.tui.chart.smoothing import Smoothing

if TYPE_CHECKING:
    from forge_tui.tui.chart.chart_widget import Chart
    from forge_tui.tui.choices import UiChoices

ACTIONS = ("zoom_in", "zoom_out", "pan_left", "pan_right", "reset_chart", "log_y", "kinds", "smoothing")


class ChartKeys:
    """The part of a screen that carries out `ACTIONS` on its chart."""

    def __init__(
        self,
        chart: Chart,
        choices: UiChoices,
        *,
        quantities: Callable[[], tuple[Quantity, ...]] = lambda: LOSSES,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`quantities`: what can be drawn, in the order of the key that steps through it.

        `changed` is called when scale, quantity or smoothing are others, for what is written beside the chart.
        """
        self._chart, self._choices = chart, choices
        self._quantities, self._changed = quantities, changed
        kept = choices.get("smoothing", "")
        chart.smooth(Smoothing(kept) if kept in list(Smoothing) else Smoothing.OFF)

    def action_zoom_in(self) -> None:
        """Look closer."""
        self._chart.zoom(1)

    def action_zoom_out(self) -> None:
        """Look from further away."""
        self._chart.zoom(-1)

    def action_pan_left(self) -> None:
        """Earlier epochs."""
        self._chart.pan(-1)

    def action_pan_right(self) -> None:
        """Later epochs."""
        self._chart.pan(1)

    def action_reset_chart(self) -> None:
        """All epochs."""
        self._chart.reset()

    def action_log_y(self) -> None:
        """Logarithmic or linear."""
        self._chart.toggle_log()
        self._changed()

    def action_kinds(self) -> None:
        """The losses, each metric that was recorded, the learning rate."""
        self._chart.measure(following(self._chart.quantity, self._quantities()))
        self._changed()

    def action_smoothing(self) -> None:
        """No smoothing, light, strong; kept for next time."""
        self._chart.smooth(self._chart.smoothing.next)
        self._choices.put("smoothing", self._chart.smoothing.value)
        self._changed()
