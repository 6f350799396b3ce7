"""A chart as lines of styled text: curves, axes, legend. Independent of widgets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from forge_tui.tui.chart import colours
from forge_tui.tui.chart.canvas import Canvas, Pixels, Projection, Span, dotted, faint, trace
from forge_tui.tui.chart.quantities import Kind
from forge_tui.tui.chart.readout import cursor_line
from forge_tui.tui.chart.scale import Scale, Tick, fitted, labels, linear_values
from forge_tui.tui.chart.smoothing import smoothed
from forge_tui.tui.widgets import cells
from forge_tui.tui.widgets.cells import Piece, pad
from forge_tui.tui.widgets.glyphs import Glyphs

LEAST_WIDTH, LEAST_HEIGHT = 16, 3
_LABELS_FROM_HEIGHT, _AXIS_FROM_HEIGHT = 8, 5


@dataclass(frozen=True, slots=True)
class Series:
    """One curve: `points` are (x, smallest, largest), by rising x; `marks` are the x where training diverged.

    A training point without numbers is a divergence too; a validation point without was not measured.
    `edges` are the lower and the upper edge of a band around the curve.
    """

    label: str
    kind: Kind
    points: tuple[Span, ...]
    marks: tuple[float, ...] = ()
    edges: tuple[tuple[Span, ...], tuple[Span, ...]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How to draw: visible part of the x axis, scale, kinds of curves, pixels, titles.

    `smoothing` is the weight of previous values (`smoothing.smoothed`); the original curves are faint behind.
    `cursor` is the x whose values are shown in place of the legend.
    """

    start: float
    end: float
    log: bool
    kinds: frozenset[Kind]
    pixels: Pixels
    x_title: str
    y_title: str
    smoothing: float = 0.0
    cursor: float | None = None


@dataclass(frozen=True, slots=True)
class _Drawn:
    series: Series
    spans: list[Span]
    behind: list[list[Span]]
    value: float | None
    marks: list[float]
    number: int
    style: str


def extent(series: Sequence[Series]) -> tuple[float, float] | None:
    """The first and the last x of all points; None without points."""
    ends = [(each.points[0][0], each.points[-1][0]) for each in series if each.points]
    if not ends:
        return None
    return min(start for start, _ in ends), max(end for _, end in ends)


def picture(series: Sequence[Series], view: View, width: int, height: int, glyphs: Glyphs) -> list[list[Piece]]:
    """The chart in `height` lines of `width` cells; no lines if there is nothing to draw or no space."""
    drawn = _drawn(series, view)
    scale = _scale(drawn, view)
    if scale is None or width < LEAST_WIDTH or height < LEAST_HEIGHT:
        return []
    below = _lines_below(height)
    rows = height - 1 - below
    ticks = _ticks(scale, height)
    gutter = _gutter(ticks)
    canvas = Canvas(width - gutter, rows, view.pixels, glyphs)
    several = len({each.number for each in drawn}) > 1
    _curves(canvas, drawn, scale, view, several, glyphs)
    if view.cursor is None:
        top = _legend(drawn, scale, view, width, several, glyphs)
    else:
        column = round((view.cursor - view.start) / max(view.end - view.start, 1e-12) * (canvas.width - 1))
        canvas.rule(column, glyphs.axis_vertical, "axis")
        curves = [(each.series, each.number, each.style) for each in drawn]
        top = cursor_line(curves, view.cursor, view.y_title, view.x_title, width, glyphs)
    lines = [pad(top, width, "label")]
    lines += [axis + canvas.line(row) for row, axis in enumerate(_y_axis(scale, ticks, rows, gutter, glyphs))]
    lines += _x_axis(view, width, gutter, below, glyphs)
    return lines


def x_at(series: Sequence[Series], view: View, width: int, height: int, column: int) -> float | None:
    """The x of a cell of the picture, from its column; None left of the axis, and without a picture."""
    scale = _scale(_drawn(series, view), view)
    if scale is None or width < LEAST_WIDTH or height < LEAST_HEIGHT:
        return None
    gutter = _gutter(_ticks(scale, height))
    share = (column - gutter) / max(1, width - gutter - 1)
    return view.start + share * (view.end - view.start) if 0 <= share <= 1 else None


def _lines_below(height: int) -> int:
    """The lines of the x axis and its labels."""
    return 2 if height >= _LABELS_FROM_HEIGHT else 1 if height >= _AXIS_FROM_HEIGHT else 0


def _ticks(scale: Scale, height: int) -> list[Tick]:
    return scale.ticks(max(2, (height - _lines_below(height)) // 2))


def _drawn(series: Sequence[Series], view: View) -> list[_Drawn]:
    """The curves of the kinds shown, cut to the view (and one point around it), one number per label."""
    numbers = {label: number for number, label in enumerate(dict.fromkeys(each.label for each in series))}
    found = []
    for each in series:
        number = numbers[each.label]
        if each.kind not in view.kinds:
            continue
        spans = [_finite(span) for span in each.points]
        marks = set(each.marks)
        if each.kind == "train":
            marks |= _divergences(spans)
        value = next((high for _, _, high in reversed(_cut(spans, view)) if high is not None), None)
        behind = [[_finite(span) for span in edge] for edge in each.edges or ()]
        if view.smoothing:
            behind = [list(smoothed(edge, view.smoothing)) for edge in behind] or [spans]
            spans = list(smoothed(spans, view.smoothing))
        spans, behind = _cut(spans, view), [_cut(edge, view) for edge in behind]
        marks = {x for x in marks if view.start <= x <= view.end}
        # One model alone has a colour for each kind; several have a colour each.
        colour = 1 if len(numbers) == 1 and each.kind == "validation" else number % colours.SERIES
        found.append(_Drawn(each, spans, behind, value, sorted(marks), number, f"series-{colour + 1}"))
    return found


def _cut(spans: list[Span], view: View) -> list[Span]:
    if not spans or (spans[0][0] >= view.start and spans[-1][0] <= view.end):
        return spans
    inside = [place for place, span in enumerate(spans) if view.start <= span[0] <= view.end]
    first, last = (inside[0], inside[-1]) if inside else (0, -1)
    return spans[max(0, first - 1) : last + 2]


def _divergences(spans: Sequence[Span]) -> set[float]:
    """The x where numbers end, once per gap."""
    before = [True, *(low is not None for _, low, _ in spans)]
    return {span[0] for known, span in zip(before, spans, strict=False) if known and span[1] is None}


def _finite(span: Span) -> Span:
    _, low, high = span
    if low is not None and high is not None and math.isfinite(low) and math.isfinite(high):
        return span
    return span[0], None, None


def _scale(drawn: Sequence[_Drawn], view: View) -> Scale | None:
    known = [(each, _values(each.spans, view)) for each in drawn]
    known = [(each, values) for each, values in known if values]
    if not known:
        return None
    # Diverged curves grow before they end: the axis fits the others, and these leave the chart at the top.
    sound = [(each, values) for each, values in known if not each.marks] or known
    # A curve that reaches 0 or less does not determine a logarithmic axis, and follows its lower end.
    above = [(each, values) for each, values in sound if min(values) > 0] if view.log else []
    kept = above or sound
    values = [value for _, found in kept for value in found]
    least = 0.0 if above else -math.inf
    for each, _ in kept:
        values += [value for line in each.behind for value in _values(line, view) if value > least]
    return fitted(values, view.log)


def _values(spans: Sequence[Span], view: View) -> list[float]:
    """The smallest and largest values in view."""
    seen = (span for span in spans if view.start <= span[0] <= view.end)
    return [value for _, low, high in seen if low is not None and high is not None for value in (low, high)]


def _projection(scale: Scale, view: View, width: int, height: int) -> Projection:
    """The first and the last x, and the ends of the scale, on the middle of the outermost pixels."""
    per_x = (width - 1) / max(view.end - view.start, 1e-12)
    low, high = (math.log(scale.low), math.log(scale.high)) if scale.log else (scale.low, scale.high)
    per_y = -(height - 1) / (high - low)
    return Projection(-view.start * per_x, per_x, -high * per_y, per_y, scale.log)


def _gutter(ticks: Sequence[Tick]) -> int:
    return max((len(tick.label) for tick in ticks), default=1) + 1


def _curves(canvas: Canvas, drawn: Sequence[_Drawn], scale: Scale, view: View, several: bool, glyphs: Glyphs) -> None:
    pixels = view.pixels
    width, height = canvas.width * pixels.across, canvas.height * pixels.down
    projection = _projection(scale, view, width, height)
    signs: list[tuple[int, int, str, str]] = []
    # Train over validation, and the first label (the selected model) over the others; what is faint below all.
    in_order = sorted(drawn, key=lambda item: (item.series.kind == "train", -item.number))
    for each in in_order:
        for spans in each.behind:
            behind = trace(spans, width, height, projection, joins_gaps=each.series.kind == "validation")
            canvas.draw(faint(behind, pixels), f"{each.style} faint", -1)
    alone = all(each.series.kind == "validation" for each in drawn)
    for each in in_order:
        validation = each.series.kind == "validation"
        curve = trace(each.spans, width, height, projection, joins_gaps=validation)
        canvas.draw(dotted(curve, pixels) if validation else curve, each.style, each.number)
        if curve.last is not None:
            column, row = curve.last[0] // pixels.across, curve.last[1] // pixels.down
            known = sum(1 for _, low, _ in each.spans if low is not None)
            if several and (alone or not validation):
                signs.append((column, row, str(each.number + 1), each.style))
            elif known == 1:
                signs.append((column, row, glyphs.plot[0], each.style))
        for mark in each.marks:
            column = projection.column(mark) // pixels.across
            before = [high for x, _, high in each.spans if high is not None and x < mark]
            row = projection.row(before[-1]) // pixels.down if before else 0
            signs.append((column, min(max(row, 0), canvas.height - 1), glyphs.diverged, "diverged"))
    for column, row, sign, style in signs:
        canvas.put(column, row, sign, style)
    for column, row, _, style in signs:
        if style != "diverged":
            continue
        if canvas.is_free(column + 1, row, 10):
            canvas.put(column + 2, row, "diverged", "diverged")
        elif canvas.is_free(column - 10, row, 10):
            canvas.put(column - 9, row, "diverged", "diverged")


def _y_axis(scale: Scale, ticks: Sequence[Tick], rows: int, gutter: int, glyphs: Glyphs) -> list[list[Piece]]:
    found: dict[int, str] = {}
    # Powers of ten first: if other labels would touch them, all others are left out, so that labels stay evenly spaced.
    powers = [tick for tick in ticks if _is_power_of_ten(tick.value)]
    for tick in (*powers, *(tick for tick in ticks if tick not in powers)):
        row = round((1.0 - scale.share(tick.value)) * (rows - 1))
        if not any(near in found for near in (row - 1, row, row + 1)):
            found[row] = tick.label
    if len(found) < len(ticks) and len(powers) > 1:
        kept = {tick.label for tick in powers}
        found = {row: label for row, label in found.items() if label in kept}
    lines: list[list[Piece]] = []
    for row in range(rows):
        label = found.get(row)
        if label is None:
            lines.append([(" " * (gutter - 1), "label"), (glyphs.axis_vertical, "axis")])
        else:
            lines.append([(label.rjust(gutter - 1), "label"), (glyphs.tick_vertical, "axis")])
    return lines


def _is_power_of_ten(value: float) -> bool:
    return value > 0 and abs(math.log10(value) - round(math.log10(value))) < 1e-9


def _x_axis(view: View, width: int, gutter: int, below: int, glyphs: Glyphs) -> list[list[Piece]]:
    if not below:
        return []
    room = width - gutter
    values = linear_values(view.start, view.end, max(2, room // 10), whole=True)
    if not values:
        values = linear_values(view.start, view.end, max(2, room // 10)) or [view.start]
    written = labels(values)
    rule, words = [glyphs.axis_horizontal] * room, [" "] * room
    title = view.x_title
    words[room - len(title) :] = title
    for value, label in zip(values, written, strict=True):
        column = round((value - view.start) / max(view.end - view.start, 1e-12) * (room - 1))
        start = min(max(0, column - len(label) // 2), room - len(label))
        if all(cell == " " for cell in words[max(0, start - 1) : start + len(label) + 1]):
            words[start : start + len(label)] = label
            rule[column] = glyphs.tick_horizontal
    corner = " " * (gutter - 1) + glyphs.axis_corner
    if below == 1:
        mixed = "".join(word if word != " " else line for word, line in zip(words, rule, strict=True))
        return [[(corner + mixed.replace(glyphs.tick_horizontal, glyphs.axis_horizontal), "axis")]]
    return [[(corner + "".join(rule), "axis")], [(" " * gutter + "".join(words), "label")]]


def _legend(
    drawn: Sequence[_Drawn], scale: Scale, view: View, width: int, several: bool, glyphs: Glyphs
) -> list[Piece]:
    """One line: quantity, scale, and the style of each curve; as much as fits."""
    kind = "log" if scale.log else "linear"
    smooth = f", smoothed {view.smoothing:g}" if view.smoothing else ""
    runs: list[Piece] = [(f" {view.y_title}", "title"), (f" {kind}{smooth}", "label")]
    solid, dots = glyphs.line_solid * 2, glyphs.line_dotted * 2
    banded = next((each for each in drawn if each.series.edges), None)
    if banded is not None:
        runs += [(", mean", "label"), (f"  {glyphs.line_faint * 2}", f"{banded.style} faint")]
        of = "" if several else f" of {cells.clean(banded.series.label, glyphs.ascii)}"
        runs.append((f" deviation{of}", "label"))
    if not several:
        ends: list[Piece] = []
        if any(each.marks for each in drawn):
            ends += [(f"  {glyphs.diverged}", "diverged"), (" diverged", "label")]
        curves = sorted(drawn, key=lambda item: item.series.kind)
        values = [f" {cells.short_number(each.value, glyphs)}" for each in curves]
        room = width - sum(cells.width_of(text) for text, _ in (*runs, *ends))
        if room < sum(len(f"  {solid} {each.series.kind}{value}") for each, value in zip(curves, values, strict=True)):
            values = [""] * len(curves)
        for each, value in zip(curves, values, strict=True):
            runs.append((f"  {dots if each.series.kind == 'validation' else solid}", each.style))
            runs.append((f" {each.series.kind}{value}", "label"))
        return runs + ends
    kinds = {each.series.kind for each in drawn}
    if len(kinds) == 2:
        runs += [(f"  {solid}", "label"), (" train", "label"), (f" {dots}", "label"), (" validation", "label")]
    elif "validation" in kinds:
        runs.append((" validation", "label"))
    entries: dict[int, _Drawn] = {}
    for each in drawn:
        entries.setdefault(each.number, each)
    names = [cells.clean(each.series.label, glyphs.ascii) for each in entries.values()]
    room = width - sum(cells.width_of(text) for text, _ in runs)
    shown = _shortened(names, room)
    meaning: list[Piece] = [(f"  {glyphs.diverged}", "diverged"), (" diverged", "label")]
    left = room - sum(cells.width_of(text) for text, _ in meaning)
    # The chart explains the sign too: the names have priority.
    if any(each.marks for each in drawn) and _shortened(names, left) == shown:
        runs += meaning
    for each, name in zip(entries.values(), shown, strict=False):
        runs += [(f"  {each.number + 1}{glyphs.line_solid}", each.style), (f" {name}" if name else "", "label")]
    if len(shown) < len(names):
        runs.append((f"  +{len(names) - len(shown)}", "label"))
    return runs


def _shortened(names: list[str], room: int) -> list[str]:
    """The names in full, else without their common prefix, else cut, in `room` cells with 5 more for each."""
    first, last = min(names), max(names)
    alike = next((place for place in range(len(first)) if not last.startswith(first[: place + 1])), len(first))
    prefix = first[:alike]
    cuts = [0, *(place + 1 for place, sign in enumerate(prefix) if sign in "_-. /")]
    for cut in cuts:
        shorter = [name[cut:] for name in names]
        if sum(cells.width_of(name) + 5 for name in shorter) <= room:
            return shorter
    each = (room - 5) // len(names) - 5
    if each >= 3:
        return [cells.middle(name[cuts[-1] :], each).rstrip() for name in names]
    return [""] * max(0, min(len(names), (room - 5) // 4))
