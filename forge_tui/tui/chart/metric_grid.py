"""Several metrics at once, as small charts side by side."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from textual.containers import Container
from textual.geometry import Size

from forge_tui.errors import ForgeError
from forge_tui.tui.chart.chart_widget import Chart
from forge_tui.tui.chart.pace import Pace
from forge_tui.tui.chart.quantities import Quantity

if TYPE_CHECKING:
    from forge_tui.client.run import Run
    from forge_tui.protocol.model_state import ModelState
    from forge_tui.tui.app_interface import AppInterface
    from forge_tui.tui.chart.chart_widget import Series

LEAST_WIDTH, LEAST_HEIGHT = 36, 7
# A terminal's cell is about twice as high as wide; a good chart is about twice as wide as high.
_WIDTH_PER_LINE = 4.5


def cells_of(count: int, width: int, height: int) -> tuple[int, int]:
    """Columns and rows for `count` charts in an area of cells, so that each is large; perhaps for fewer."""
    most_columns, most_rows = max(1, width // LEAST_WIDTH), max(1, height // LEAST_HEIGHT)
    fitting = [
        (columns, math.ceil(count / columns))
        for columns in range(1, min(count, most_columns) + 1)
        if math.ceil(count / columns) <= most_rows
    ]
    if not fitting:
        return most_columns, most_rows
    return max(fitting, key=lambda cells: min(width / cells[0] / _WIDTH_PER_LINE, height / cells[1]))


class MetricGrid(Container, can_focus=True, inherit_bindings=False):
    """A chart for each metric of the models in another chart, whose quantity, smoothing and scales it shares.

    Where not all fit it shows the page with the chosen quantity. Read in a thread, after changes only, while visible.
    Eight charts of two curves took 3 ms to draw at 200×50, as one large chart does.
    """

    ALLOW_MAXIMIZE = False
    DEFAULT_CSS = """
    MetricGrid { layout: grid; width: 1fr; height: 1fr; scrollbar-size: 0 0; overflow: hidden; grid-gutter: 0 1; }
    """

    def __init__(
        self,
        forge: AppInterface,
        chart: Chart,
        *,
        of: Callable[[], tuple[Run | None, Sequence[ModelState]]],
        quantities: Callable[[], tuple[Quantity, ...]],
        shown: Callable[[], bool],
        id: str,
    ) -> None:
        """`of`: the run and the models; `quantities`: in their order; `shown`: whether the grid is visible."""
        super().__init__(id=id)
        self._forge, self._chart = forge, chart
        self._of, self._quantities, self._shown = of, quantities, shown
        self._pace = Pace()
        self._cells: list[Chart] = []
        self._used = 0

    @property
    def cells(self) -> tuple[Chart, ...]:
        """The charts in use."""
        return tuple(self._cells[: self._used])

    @property
    def current(self) -> Chart:
        """The chart of the chosen quantity; the first one if there is none."""
        chosen = self._chart.quantity.title
        return next((cell for cell in self.cells if cell.quantity.title == chosen), self._cells[0])

    def place_metrics(self, pinned: Sequence[str], area: Size) -> None:
        """Give each metric a chart, as far as they fit into `area`; `pinned` ones are marked."""
        quantities = self._quantities()
        columns, rows = cells_of(len(quantities), area.width, area.height)
        titles = [quantity.title for quantity in quantities]
        chosen = self._chart.quantity.title
        page = (titles.index(chosen) if chosen in titles else 0) // (columns * rows)
        drawn = quantities[page * columns * rows :][: columns * rows]
        self._use(len(drawn), columns, math.ceil(len(drawn) / columns))
        glyphs = self._forge.glyphs
        for cell, quantity in zip(self.cells, drawn, strict=True):
            cell.measure(quantity)
            cell.smooth(self._chart.smoothing)
            sign = glyphs.cursor if quantity.title == chosen else ""
            cell.sign(sign + (glyphs.mark if quantity.key in pinned else ""))

    def _use(self, count: int, columns: int, rows: int) -> None:
        while len(self._cells) < count:
            chart = self._chart
            cell = Chart(glyphs=chart.glyphs, pixels=chart.pixels, x_title=chart.x_title, scales=chart.scales)
            cell.can_focus = False
            self._cells.append(cell)
            self.mount(cell)
        if self._used != count:
            self._used = count
            for number, cell in enumerate(self._cells):
                cell.display = number < count
        if (self.styles.grid_size_columns, self.styles.grid_size_rows) != (columns, rows):
            self.styles.grid_size_columns, self.styles.grid_size_rows = columns, max(1, rows)

    # --- reading

    def refresh_curves(self, *, due: bool = False) -> None:
        """Read the curves if their models have changed; `due`: in any case, once the grid is visible."""
        if due:
            self._pace.ask()
        run, models = self._of()
        cells = self.cells
        if run is None or not models or not cells or not self._shown():
            return
        wanted = tuple(cell.quantity for cell in cells)
        buckets = max(cell.wanted_buckets for cell in cells)
        if not self._pace.is_due(models, (wanted, tuple(model.name for model in models))):
            return

        def fetch() -> tuple[dict[Quantity, tuple[Series, ...]], float]:
            from forge_tui.tui.chart.fetching import fetch_series

            started = time.thread_time()
            found = {quantity: fetch_series(run, models, buckets, quantity) for quantity in wanted}
            return found, time.thread_time() - started

        def fetched(result: tuple[dict[Quantity, tuple[Series, ...]], float] | ForgeError) -> None:
            if isinstance(result, ForgeError) or not self.is_attached:
                return
            found, seconds = result
            self._pace.took(seconds)
            for cell in self.cells:
                if cell.quantity in found:
                    cell.show(found[cell.quantity])

        self._forge.call_in_thread(fetch, then=fetched, subject=f"grid {self.id}")

    def forget_run(self) -> None:
        """Clear the charts: the run no longer exists."""
        self._pace.forget()
        for cell in self._cells:
            cell.show(())

    # --- messages of the charts

    def on_chart_view_changed(self, message: Chart.ViewChanged) -> None:
        """Read the curves for the new view or size."""
        message.stop()
        self.refresh_curves(due=True)

    def on_chart_pointed(self, message: Chart.Pointed) -> None:
        """Choose the chart that was clicked on; all cursors stand at the same place."""
        for cell in self.cells:
            cell.point_at(message.chart.cursor)
        if message.chart.quantity.title != self._chart.quantity.title:
            self._chart.measure(message.chart.quantity)

    @property
    def narrows(self) -> bool:
        """Whether a cursor is shown."""
        return any(cell.narrows for cell in self.cells)

    def widen(self) -> None:
        """Remove the cursors."""
        for cell in self.cells:
            cell.widen()
