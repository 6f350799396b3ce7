"""The keys of a chart, the same on every screen that has one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from forge_tui.tui.chart.quantities import LOSSES, Quantity, following
from forge_tui.tui.chart.smoothing import Smoothing

if TYPE_CHECKING:
    from forge_tui.tui.chart.chart_widget import Chart
    from forge_tui.tui.choices import UiChoices

ACTIONS = (
    *("zoom_in", "zoom_out", "pan_left", "pan_right", "reset_chart", "log_y", "kinds", "smoothing"),
    *("cursor_left", "cursor_right"),
)


class ChartKeys:
    """The part of a screen that runs `ACTIONS` on its chart."""

    def __init__(
        self,
        chart: Chart,
        choices: UiChoices,
        *,
        quantities: Callable[[], tuple[Quantity, ...]] = lambda: LOSSES,
        changed: Callable[[], None] = lambda: None,
        charts: Callable[[], Sequence[Chart]] | None = None,
    ) -> None:
        """`quantities`: what the chart can draw, in the order of the key `v`.

        `changed` is called when scale, quantity or smoothing change, to update the text beside the chart. `charts`:
        those on the screen, the chosen one first, where there may be several.
        """
        self._chart, self._choices = chart, choices
        self._quantities, self._changed = quantities, changed
        self._charts = charts or (lambda: (chart,))
        kept = choices.get("smoothing", "")
        chart.smooth(Smoothing(kept) if kept in list(Smoothing) else Smoothing.OFF)

    def action_zoom_in(self) -> None:
        """Show fewer epochs, in more detail."""
        for chart in self._charts():
            chart.zoom(1)

    def action_zoom_out(self) -> None:
        """Show more epochs."""
        for chart in self._charts():
            chart.zoom(-1)

    def action_pan_left(self) -> None:
        """Earlier epochs."""
        for chart in self._charts():
            chart.pan(-1)

    def action_pan_right(self) -> None:
        """Later epochs."""
        for chart in self._charts():
            chart.pan(1)

    def action_reset_chart(self) -> None:
        """All epochs."""
        for chart in self._charts():
            chart.reset()

    def action_cursor_left(self) -> None:
        """The values of an earlier epoch."""
        self._move_cursor(-1)

    def action_cursor_right(self) -> None:
        """The values of a later epoch."""
        self._move_cursor(1)

    def _move_cursor(self, by: int) -> None:
        chosen, *others = self._charts()
        chosen.move_cursor(by)
        for chart in others:
            chart.point_at(chosen.cursor)

    def action_log_y(self) -> None:
        """Logarithmic or linear."""
        self._charts()[0].toggle_log()
        self._changed()

    def action_kinds(self) -> None:
        """Step through the losses, each recorded metric, and the learning rate."""
        self._chart.measure(following(self._chart.quantity, self._quantities()))
        self._changed()

    def action_smoothing(self) -> None:
        """No smoothing, light, strong; remembered."""
        self._chart.smooth(self._chart.smoothing.next)
        self._choices.put("smoothing", self._chart.smoothing.value)
        self._changed()
