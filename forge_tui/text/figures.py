"""Numbers, durations and tables as text, the same in every front end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from forge_tui.protocol.metrics import BUILT_IN, SHARE
from forge_tui.safe_io.printing import printable

if TYPE_CHECKING:
    from forge_tui.analysis.ranking import Best
    from forge_tui.analysis.spread import Spread
    from forge_tui.protocol.metrics import Metric, MetricTable

UNKNOWN = "—"


def number(value: float | None, digits: int = 4) -> str:
    """A measured number with `digits` significant digits; unknown and NaN are `—`."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.{digits - 2}e}"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else digits - 1
    return f"{value:.{min(places, digits)}f}"


def epoch_text(epoch: int, epochs: int | None, of: str = "/") -> str:
    """How far a model is: `7/100`, or `7` where the number of epochs is unknown."""
    return str(epoch) if epochs is None else f"{epoch}{of}{epochs}"


def epochs_text(epochs: int | None) -> str:
    """A run's number of epochs as the rest of a list: `, 100 epochs`; empty if it is unknown."""
    return "" if epochs is None else f", {epochs} epochs"


def duration(seconds: float | None) -> str:
    """A duration as M:SS, H:MM:SS or `Nd HH:MM`; unknown is `—`."""
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    whole = max(0, round(seconds))
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24}d {hours % 24:02}:{minute:02}"
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def count(number: int, what: str) -> str:
    """`1 step`, `1,200 steps`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def age_text(seconds: float) -> str:
    """An age in one number: `41 s`, `12 min`, `3 h`, `12 d`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds // 3600:.0f} h"
    return f"{seconds // 86400:.0f} d"


def memory(size: float | None) -> str:
    """A size in bytes with a binary unit."""
    if size is None:
        return UNKNOWN
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def spread_text(of: Spread | None) -> str:
    """A mean with its standard deviation: `0.0341 ± 0.0027`; a single value without."""
    if of is None:
        return UNKNOWN
    return number(of.mean) if of.deviation is None else f"{number(of.mean)} ± {number(of.deviation)}"


def value_of(metric: Metric, value: float | None) -> str:
    """A value of a metric: fractions as 0.9777, other numbers with four significant digits."""
    return number(value) if value is None or metric.unit != SHARE else f"{value:.4f}"


def headline_text(metrics: Mapping[str, float | None], table: MetricTable) -> str:
    """A model's most telling metric: `accuracy 0.9777`; empty if it has only losses."""
    metric = table.headline(metrics)
    return "" if metric is None else f"{metric.title} {value_of(metric, metrics.get(metric.name))}"


def best_text(best: Best) -> str:
    """The value that makes a model the best: `accuracy 0.9777`, `validation loss 0.08`."""
    return f"{best.metric.title} {value_of(best.metric, best.value)}"


def result_text(metric: str | None, value: float | None) -> str:
    """As `best_text`, of what the list of runs has recorded: the metric's title, and its value."""
    if metric is None or value is None:
        return UNKNOWN
    known = next((one for one in BUILT_IN if one.title == metric), None)
    return f"{metric} {number(value) if known is None else value_of(known, value)}"


def short_path(path: Path) -> str:
    """A path as people write it: `~` for the home directory."""
    try:
        home = Path.home()
        return "~" if path == home else f"~/{path.relative_to(home)}"
    except (ValueError, RuntimeError):
        return str(path)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns, two spaces apart, one line per row."""
    lines = [tuple(header), *(tuple(printable(cell) for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines
    )
