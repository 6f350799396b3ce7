"""The curves of a run as a picture: a panel per metric, with one legend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from forge_tui.protocol.metrics import Metric
from forge_tui.reports.curve_sets import Curve, CurveSet, Series
from forge_tui.reports.pictures.axes import Scale, tick_text
from forge_tui.reports.pictures.drawing import COLOURS, DASHES, Area, Drawing, Line, Point, Shape, Text
from forge_tui.safe_io.printing import printable

_WIDTH, _PANEL, _LEFT, _RIGHT, _TOP, _BOTTOM = 860.0, 300.0, 64.0, 16.0, 34.0, 34.0
_ROW, _HEAD = 18.0, 40.0
_LONGEST = 100


def curve_picture(title: str, curves: CurveSet, metrics: Sequence[Metric]) -> Drawing:
    """A panel for each of `metrics`; the best series have colours, the other ones are grey."""
    series = curves.series
    shapes: list[Shape] = [Text(16.0, 26.0, _short(title), size=16.0, bold=True)]
    top = _HEAD
    for metric in metrics:
        shapes += _panel(series, metric, top)
        top += _PANEL
    shapes += _legend(series, top + 4.0)
    top += _ROW * (len(series[:COLOURS]) + (1 if len(series) > COLOURS else 0)) + 8.0
    for note in curves.notes:
        shapes.append(Text(16.0, top + 12.0, note, "muted", 11.0))
        top += _ROW
    what = "configs, mean and one standard deviation over their models" if curves.configs else "models"
    named = ", ".join(metric.words for metric in metrics)
    return Drawing(_WIDTH, top + 12.0, title, f"{named} over epochs of {len(series)} {what}", tuple(shapes))


def _panel(series: Sequence[Series], metric: Metric, top: float) -> Iterator[Shape]:
    shown = [(place, one.curves[metric.name]) for place, one in enumerate(series) if metric.name in one.curves]
    left, right, upper, lower = _LEFT, _WIDTH - _RIGHT, top + _TOP, top + _PANEL - _BOTTOM
    across = Scale.of([epoch for _, curve in shown for epoch in (curve.epochs[0], curve.epochs[-1])], left, right)
    across = Scale(min(across.low + 1e-9, 1.0) if across.low > 0 else 0.0, across.high, left, right)
    values = [value for _, curve in shown for value in (*curve.low, *curve.high) if value is not None]
    upright = Scale.of(values, lower, upper, log=metric.log)
    yield Text(left, top + 22.0, f"{metric.words}{' (log)' if upright.log else ''}", size=13.0, bold=True)
    ticks = upright.ticks()
    for tick in ticks:
        y = upright.pixel(tick)
        assert y is not None
        yield Line(((left, y), (right, y)), "grid")
        yield Text(left - 6.0, y + 4.0, tick_text(tick, ticks, log=upright.log), "muted", 11.0, "end")
    marks = [tick for tick in across.ticks(8) if tick == int(tick)]
    for tick in marks:
        x = across.pixel(tick)
        assert x is not None
        yield Text(x, lower + 15.0, f"{tick:.0f}", "muted", 11.0, "middle")
    yield Text(right, lower + 29.0, "epoch", "muted", 11.0, "end")
    yield Line(((left, upper), (left, lower), (right, lower)), "axis")
    for place, curve in reversed(shown):
        yield from _curve(curve, place, across, upright)


def _curve(curve: Curve, place: int, across: Scale, upright: Scale) -> Iterator[Shape]:
    role = f"curve-{place}" if place < COLOURS else "other"
    if place < COLOURS:
        for part in _parts(curve.epochs, (curve.lower, curve.upper), across, upright) if curve.lower else ():
            edge = [(x, upper) for x, _, upper in part] + [(x, lower) for x, lower, _ in reversed(part)]
            yield Area(tuple(edge), role, 0.15)
    for part in _parts(curve.epochs, (curve.low, curve.high), across, upright):
        points: list[Point] = []
        for x, low, high in part:
            points += [(x, low)] if low == high else [(x, low), (x, high)]
        if len(points) == 1:  # a line of one point is invisible
            points = [(points[0][0] - 2.0, points[0][1]), (points[0][0] + 2.0, points[0][1])]
        is_coloured = place < COLOURS
        dash = DASHES[place % len(DASHES)] if is_coloured else ()
        yield Line(tuple(points), role, 1.8 if is_coloured else 1.0, dash, 1.0 if is_coloured else 0.5)


def _parts(
    epochs: Sequence[int], bounds: tuple[Sequence[float | None], Sequence[float | None]], across: Scale, upright: Scale
) -> list[list[tuple[float, float, float]]]:
    """The pieces of a curve between its gaps, as (x, y of the lower bound, y of the upper one)."""
    parts: list[list[tuple[float, float, float]]] = [[]]
    for epoch, low, high in zip(epochs, *bounds, strict=True):
        x = across.pixel(epoch)
        lower = None if low is None else upright.pixel(low)
        upper = None if high is None else upright.pixel(high)
        if lower is None and upper is not None:  # below the lowest value of a logarithmic axis
            lower = upright.start
        if x is None or lower is None or upper is None:
            parts.append([])
        else:
            top, bottom = sorted((upright.start, upright.end))
            parts[-1].append((x, min(max(lower, top), bottom), min(max(upper, top), bottom)))
    return [part for part in parts if part]


def _legend(series: Sequence[Series], top: float) -> Iterator[Shape]:
    y = top + 12.0
    for place, one in enumerate(series[:COLOURS]):
        yield Line(((16.0, y - 4.0), (46.0, y - 4.0)), f"curve-{place}", 1.8, DASHES[place % len(DASHES)])
        models = f" (mean ± standard deviation of {one.models} models)" if one.models > 1 else ""
        rank = "" if one.rank is None else f"{one.rank}. "
        yield Text(54.0, y, f"{rank}{_short(one.label)}{models}")
        y += _ROW
    if len(series) > COLOURS:
        yield Line(((16.0, y - 4.0), (46.0, y - 4.0)), "other", 1.0, (), 0.7)
        yield Text(54.0, y, f"{len(series) - COLOURS} others")


def _short(text: str) -> str:
    text = printable(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
