"""What a chart's cursor shows: where it may stand, and the values of the curves there, as text."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

from forge_tui.tui.widgets import cells
from forge_tui.tui.widgets.cells import Piece
from forge_tui.tui.widgets.glyphs import Glyphs

if TYPE_CHECKING:
    from forge_tui.tui.chart.canvas import Span
    from forge_tui.tui.chart.plot import Series
    from forge_tui.tui.chart.quantities import Kind


@dataclass(frozen=True, slots=True)
class Value:
    """A curve's value near the cursor: the smallest and the largest of a pixel column; `x` is where it was measured."""

    x: float
    low: float
    high: float

    def text(self, cursor: float, glyphs: Glyphs) -> str:
        """The number, or the range of a column with several epochs; and its epoch if it is another one."""
        low, high = cells.short_number(self.low, glyphs), cells.short_number(self.high, glyphs)
        number = low if low == high else f"{low}{glyphs.dash_range}{high}"
        return number if self.x == cursor else f"{number} @{self.x:g}"


def positions(series: Sequence[Series], kinds: Collection[Kind], start: float, end: float) -> list[float]:
    """Where the cursor may stand: the x of the points from `start` to `end`, rising."""
    shown = (each for each in series if each.kind in kinds)
    return sorted({x for each in shown for x, _, _ in each.points if start <= x <= end})


def nearest(places: Sequence[float], x: float) -> float | None:
    """The place nearest to `x`; None if there is none."""
    return min(places, key=lambda place: abs(place - x), default=None)


def neighbour(places: Sequence[float], x: float | None, by: int) -> float | None:
    """The place `by` steps from `x`, at most the first or the last; from nowhere the last one."""
    if not places:
        return None
    if x is None:
        return places[-1]
    here = bisect_left(places, x)
    if by > 0 and (here == len(places) or places[here] != x):
        here -= 1  # between two places: the next one is the one above
    return places[min(max(here + by, 0), len(places) - 1)]


def value_at(points: Sequence[Span], x: float) -> Value | None:
    """A curve's value at `x`: of the point whose column of epochs includes it; where it has no number, the one before.

    None outside the curve, and where nothing was measured yet.
    """
    place = bisect_left(points, x, key=lambda point: point[0])
    if place == len(points):
        return None
    at, low, high = points[place]
    if _is_number(low) and _is_number(high):
        return Value(at if low == high else x, low, high)
    for at, low, high in reversed(points[:place]):
        if _is_number(low) and _is_number(high):
            return Value(at, low, high)
    return None


def _is_number(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def cursor_line(
    curves: Sequence[tuple[Series, int, str]], x: float, quantity: str, unit: str, width: int, glyphs: Glyphs
) -> list[Piece]:
    """One line: what is drawn, where the cursor is (in `unit`), and the value of each curve; as many as fit.

    `curves` are with their numbers and styles. A training curve without a number there has diverged. Where there is
    little room, `unit` and the kinds of the curves leave first.
    """
    several = len({number for _, number, _ in curves}) > 1
    # Training first: where the room ends, validation values are left out.
    ordered = sorted(curves, key=lambda curve: (curve[0].kind, curve[1]))
    for in_words in (True, False):
        where = f" {unit} {x:g}" if in_words else f" {x:g}"
        pieces: list[Piece] = [(f" {quantity}", "title"), (where, "label")]
        room = width - sum(cells.width_of(text) for text, _ in pieces)
        values = _values(ordered, x, several, in_words, glyphs)
        fitting = _that_fit(values, room)
        if fitting == len(values):
            break
    for value in values[:fitting]:
        pieces += value
    left_out = len(values) - fitting
    return [*pieces, (f"  +{left_out}", "label")] if left_out else pieces


def _values(
    ordered: Sequence[tuple[Series, int, str]], x: float, several: bool, in_words: bool, glyphs: Glyphs
) -> list[list[Piece]]:
    """The value of each curve with its line; the kind is named once for several curves."""
    found: list[list[Piece]] = []
    for place, (each, number, style) in enumerate(ordered):
        dash = glyphs.line_dotted if each.kind == "validation" else glyphs.line_solid
        told = _told(each, x, glyphs)
        kind = f" {each.kind}" if in_words else ""
        if several:
            is_first = place == 0 or ordered[place - 1][0].kind != each.kind
            found.append([(kind if is_first else "", "label"), (f"  {number + 1}{dash}", style), (f" {told}", "label")])
        else:
            found.append([(f"  {dash * 2}", style), (f"{kind} {told}", "label")])
    return found


def _that_fit(values: Sequence[Sequence[Piece]], room: int) -> int:
    """How many of the values fit, with the number of those left out after them."""
    sizes = [sum(cells.width_of(text) for text, _ in value) for value in values]
    if sum(sizes) <= room:
        return len(values)
    room -= len(f"  +{len(values)}")
    return next((place for place in range(len(values)) if sum(sizes[: place + 1]) > room), len(values))


def _told(each: Series, x: float, glyphs: Glyphs) -> str:
    value = value_at(each.points, x)
    if value is None:
        return glyphs.unknown
    return "diverged" if each.kind == "train" and value.x < x else value.text(x, glyphs)
