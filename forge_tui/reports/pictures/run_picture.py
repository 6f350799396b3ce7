"""The curves of a run as a file: SVG or PNG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from forge_tui.errors import UsageError
from forge_tui.protocol.metrics import Metric
from forge_tui.reports.curve_sets import CurveSet, curve_set
from forge_tui.reports.pictures.curve_picture import curve_picture
from forge_tui.reports.pictures.png import png_file, require_png
from forge_tui.reports.pictures.svg import svg_file
from forge_tui.safe_io.printing import named

if TYPE_CHECKING:
    from forge_tui.client.run import Run

PictureFormat = Literal["svg", "png"]
MOST_PANELS = 6
"""The metrics of a picture for which none are named."""


def run_picture(run: Run, form: PictureFormat, metrics: Sequence[str] = ()) -> bytes:
    """The curves of the named metrics; without names of those that tables show.

    Raises `UsageError` for a metric that has no curve, where there is none at all, and for PNG without matplotlib.
    """
    if form == "png":
        require_png()
    snapshot = run.snapshot()
    curves = curve_set(run, snapshot)
    if not curves.metrics:
        raise UsageError(f"run {run.id}: no model has finished an epoch yet; there is no curve to draw")
    chosen = _named(curves, metrics) if metrics else _usual(curves)
    drawing = curve_picture(f"Run {snapshot.heading}: {snapshot.state}", curves, chosen)
    return png_file(drawing) if form == "png" else svg_file(drawing).encode("utf-8", "replace")


def _usual(curves: CurveSet) -> list[Metric]:
    shown = [metric for metric in curves.metrics if metric.default]
    return (shown or list(curves.metrics))[:MOST_PANELS]


def _named(curves: CurveSet, names: Sequence[str]) -> list[Metric]:
    known = {metric.name: metric for metric in curves.metrics}
    for name in names:
        if name not in known:
            raise UsageError(
                f"--metric {named(name)}: the run has no curve of it; it has {', '.join(map(named, known))}"
            )
    return [known[name] for name in dict.fromkeys(names)]
