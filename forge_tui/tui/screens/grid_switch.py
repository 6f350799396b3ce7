"""One chart, or a grid of all metrics in its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from forge_tui.tui.chart.quantities import LOSS, LOSSES, Quantity, pinned_first

if TYPE_CHECKING:
    from textual.screen import Screen

    from forge_tui.client.run import Run
    from forge_tui.protocol.model_state import ModelState
    from forge_tui.tui.app_interface import AppInterface
    from forge_tui.tui.chart.chart_widget import Chart

ACTIONS = ("grid", "pin")
WIDE = 160
"""From this width on the grid is shown unless the user has chosen otherwise."""


class GridSwitch:
    """Chooses what a screen shows; its class `-grid` hides the chart and shows the grid."""

    def __init__(
        self,
        screen: Screen[None],
        forge: AppInterface,
        chart: Chart,
        *,
        of: Callable[[], tuple[Run | None, Sequence[ModelState]]],
        quantities: Callable[[], tuple[Quantity, ...]],
        changed: Callable[[], None],
        visible: Callable[[], bool] = lambda: True,
        fits: Callable[[], bool] = lambda: True,
    ) -> None:
        """`of`: the run and the models that are drawn; `quantities`: what they have recorded.

        `visible`: whether there is a place for charts; `fits`: whether models are drawn, not means over them.
        `changed` is called after a change.
        """
        from forge_tui.tui.chart.metric_grid import MetricGrid  # after the first paint

        self._screen, self._chart, self._choices, self._tell = screen, chart, forge.choices, forge.tell
        self._recorded, self._changed, self._fits = quantities, changed, fits
        self.grid = MetricGrid(
            forge, chart, of=of, quantities=self.metrics, shown=lambda: visible() and self.shown, id="grid"
        )

    @property
    def shown(self) -> bool:
        """Whether the grid is shown."""
        return self._screen.has_class("-grid")

    @property
    def pinned(self) -> list[str]:
        """The names of the pinned metrics, the first pinned one first."""
        return [name for name in self._choices.get("pinned", []) if isinstance(name, str)]

    def quantities(self) -> tuple[Quantity, ...]:
        """What has been recorded, pinned metrics first; in the grid both losses are one chart."""
        return self.metrics() if self.shown else pinned_first(self._recorded(), self.pinned)

    def metrics(self) -> tuple[Quantity, ...]:
        """The metrics of the grid."""
        found = pinned_first(self._recorded(), self.pinned)
        return tuple(quantity for quantity in found if quantity is LOSS or quantity not in LOSSES)

    @property
    def charts(self) -> tuple[Chart, ...]:
        """The charts on the screen, the chosen one first."""
        if not self.shown or not self.grid.cells:
            return (self._chart,)
        current = self.grid.current
        return (current, *(cell for cell in self.grid.cells if cell is not current))

    @property
    def words(self) -> str:
        """What the grid shows, for the line above it."""
        drawn, count = len(self.grid.cells), len(self.metrics())
        return f"{count} metrics" if drawn == count else f"{drawn} of {count} metrics"

    def fit(self) -> None:
        """Show the grid if it is wanted and there is something to show in it."""
        size = self.grid.size if self.shown else self._chart.size
        if not size.width or not size.height:
            return  # not laid out yet, or hidden
        wanted = self._choices.get("grid", self._screen.app.size.width >= WIDE)
        shown = wanted and not self._why_not(size.width, size.height)
        if shown != self.shown:
            self._screen.set_class(shown, "-grid")
            self._screen.call_after_refresh(self._changed)
        if shown:
            self.grid.place_metrics(self.pinned, size)
            self.grid.refresh_curves()

    def _why_not(self, width: int, height: int) -> str:
        count = len(self.metrics())
        if not self._fits():
            return "means over seeds are drawn one by one: f draws models"
        if count < 2:
            return "there is only one metric to draw"
        from forge_tui.tui.chart import metric_grid  # after the first paint

        columns, rows = metric_grid.cells_of(count, width, height)
        least = f"{metric_grid.LEAST_WIDTH}×{metric_grid.LEAST_HEIGHT}"
        return "" if columns * rows > 1 else f"no room for two charts of {least} cells: z gives the chart more"

    def action_grid(self) -> None:
        """Switch between one chart and the grid; remembered."""
        wanted = not self.shown
        self._choices.put("grid", wanted)
        self.fit()
        size = self._chart.size
        if wanted and not self.shown:
            self._tell(
                f"no grid: {self._why_not(size.width, size.height) or 'the chart is hidden, c shows it'}", "warning"
            )
        else:
            self._changed()

    def action_pin(self) -> None:
        """Pin the chosen metric, so that it comes first, or no longer; remembered."""
        quantity, pinned = self._chart.quantity, self.pinned
        if quantity.key in pinned:
            pinned.remove(quantity.key)
            self._tell(f"{quantity.title}: no longer pinned")
        else:
            pinned.append(quantity.key)
            self._tell(f"{quantity.title}: pinned, it comes first")
        self._choices.put("pinned", pinned)
        self.fit()
        self._changed()
