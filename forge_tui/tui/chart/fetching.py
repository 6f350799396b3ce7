"""Fetches the chart's curves from the run, in a thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from forge_tui.tui.chart.chart_widget import Series
from forge_tui.tui.chart.quantities import LOSS, Quantity

if TYPE_CHECKING:
    from forge_tui.client.run import Run
    from forge_tui.protocol.model_state import ModelState


def fetch_series(run: Run, models: Sequence[ModelState], buckets: int, quantity: Quantity = LOSS) -> tuple[Series, ...]:
    """The curves of a quantity of each model, at most `buckets` points each. Raises `RunDirectoryError`."""
    found = []
    for model in models:
        for metric, kind in quantity.curves:
            if kind == "validation" and model.metrics.get(metric) is None:
                if len(quantity.curves) == 1:
                    found.append(Series(model.name, kind, ()))  # it keeps its number
                continue
            points = run.series(model.index, metric, buckets)
            marks = (float(model.epoch),) if model.diverged and metric == "loss" else ()
            found.append(Series(model.name, kind, points, marks))
    return tuple(found)
