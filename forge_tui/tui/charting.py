"""What the chart shows, fetched from the run: runs in a thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from forge_tui.tui.widgets.chart import Series

if TYPE_CHECKING:
    from forge_tui.progress.snapshot import ModelState
    from forge_tui.session import Run


def fetch_series(run: Run, models: Sequence[ModelState], buckets: int) -> tuple[Series, ...]:
    """Training and validation loss of each model, at most `buckets` points each. Raises `RunDirectoryError`."""
    found = []
    for model in models:
        points = tuple((float(x), low, high) for x, low, high in run.series(model.index, "loss", buckets))
        marks = (float(model.epoch),) if model.diverged else ()
        found.append(Series(model.name, "train", points, marks))
        if model.validation_loss is not None:
            points = tuple(
                (float(x), low, high) for x, low, high in run.series(model.index, "validation_loss", buckets)
            )
            found.append(Series(model.name, "validation", points))
    return tuple(found)
