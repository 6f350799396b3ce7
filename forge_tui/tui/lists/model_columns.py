"""The columns of the model table: which fit a width, their positions, and a model's cells."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from forge_tui.analysis.ranking import LAST_PLACE
from forge_tui.protocol.metrics import SHARE, MetricTable
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.text.config_tables import combination_text, value_text
from forge_tui.text.device_names import device_in_short
from forge_tui.tui.lists.model_order import validation_value
from forge_tui.tui.widgets import cells
from forge_tui.tui.widgets.cells import Piece, pad
from forge_tui.tui.widgets.glyphs import Glyphs

GUTTER = 2
NAME_LONGEST = 64
_NAME_COMFORTABLE = 18
_NAME_TIGHT = 14
_BAR_COMFORTABLE, _BAR_TIGHT = 4, 3
_BAR_LEAST = 2
_EXCEPTION = re.compile(r"^[\w.]+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column: `gap` blank cells and then `width` cells; a click on its title sorts by `sort`."""

    key: str
    title: str
    width: int
    gap: int = 2
    to_right: bool = True
    sort: str | None = None


_COLUMNS = (
    Column(key="name", title="MODEL", width=_NAME_COMFORTABLE, gap=0, to_right=False, sort="name"),
    Column(key="config", title="CONFIG", width=10, to_right=False, sort="index"),
    Column(key="phase", title="PHASE", width=8, to_right=False, sort="phase"),
    Column(key="epoch", title="EPOCH", width=12, gap=1, to_right=False, sort="epoch"),
    Column(key="loss", title="LOSS", width=8, gap=1, sort="loss"),
    Column(key="best", title="BEST", width=6, sort="best"),
    Column(key="val", title="VAL", width=5, sort="val"),
    Column(key="trend", title="TREND", width=6, to_right=False),
    Column(key="eta", title="ETA", width=5, gap=1, sort="eta"),
    Column(key="steps", title="STEPS/S", width=7),
    Column(key="time", title="TIME", width=5),
    Column(key="attempt", title="TRY", width=3),
    Column(key="device", title="DEVICE", width=8, to_right=False),
)
LEAVING = ("device", "attempt", "time", "steps", "trend", "eta", "best", "config", "val")
_CONFIG_LONGEST = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The columns shown in `width` cells. `digits`: digits of the largest number of epochs."""

    width: int
    columns: tuple[Column, ...]
    digits: int

    def column_at(self, x: int) -> Column | None:
        """The column whose cells or gap are at cell `x`."""
        end = GUTTER
        for column in self.columns:
            end += column.gap + column.width
            if x < end:
                return column
        return None


def model_layout(
    width: int, name_cells: int, most_epochs: int, hidden: frozenset[str] = frozenset(), config_cells: int = 0
) -> Layout:
    """The layout for a table of `width` cells whose longest name takes `name_cells`, without the `hidden` columns.

    The extra columns leave first; then the bar and the names get shorter; then TREND, ETA, BEST, CONFIG and VAL leave.
    `config_cells`: the width of a sweep's longest config; without a sweep there is no such column.
    """
    digits = len(str(max(1, most_epochs)))
    numbers = 2 * digits + 1
    wanted = max(len("MODEL"), min(name_cells, NAME_LONGEST))
    left_out = hidden if config_cells else hidden | {"config"}
    columns = [column for column in _COLUMNS if column.key not in left_out or column.key not in LEAVING]
    tight = {"name": min(wanted, _NAME_TIGHT), "epoch": numbers + 1 + _BAR_TIGHT}
    comfortable = {"name": min(wanted, _NAME_COMFORTABLE), "epoch": numbers + 1 + _BAR_COMFORTABLE}
    for key in LEAVING:
        if _total(columns, comfortable if key in _EXTRA else tight) <= width:
            break
        columns = [column for column in columns if column.key != key]
    sizes = tight | {column.key: column.width for column in columns if column.key not in tight}
    if _total(columns, sizes) > width:
        sizes["epoch"] = numbers
        sizes["name"] = max(1, sizes["name"] - max(0, _total(columns, sizes) - width))
    spare = width - _total(columns, sizes)
    # What distinguishes rows grows first: names, bar and trend in turns, then the gaps.
    bar = 0 if sizes["epoch"] == numbers else numbers + 1
    config = min(config_cells, _CONFIG_LONGEST)
    steps = (
        ("config", config), ("name", 24), ("epoch", bar + 4), ("trend", 12), ("name", wanted), ("epoch", bar + 8),
        ("trend", 24),
    )  # fmt: skip
    for key, most in steps:
        most = min(most, wanted) if key == "name" else most
        if key in sizes and (bar or key != "epoch"):
            more = max(0, min(spare, most - sizes[key]))
            sizes[key] += more
            spare -= more
    # A slightly cut name is more useful than a bar beside its own numbers.
    lacking, bar_cells = min(wanted, _NAME_COMFORTABLE) - sizes["name"], sizes["epoch"] - numbers
    if 0 < lacking <= bar_cells:
        left = bar_cells - lacking
        sizes["name"] += lacking
        sizes["epoch"] = numbers + (left if left > _BAR_LEAST else 0)
        spare = width - _total(columns, sizes)
    air = min(2, spare // len(columns))
    return Layout(
        width=width,
        columns=tuple(
            replace(column, width=sizes[column.key], gap=column.gap + (air if place else 0))
            for place, column in enumerate(columns)
        ),
        digits=digits,
    )


def _total(columns: Sequence[Column], sizes: dict[str, int]) -> int:
    return GUTTER + sum(column.gap + sizes.get(column.key, column.width) for column in columns)


def config_cells(models: Iterable[ModelState]) -> int:
    """The width of a sweep's longest config; neighbouring models share theirs."""
    most, last = 0, None
    for model in models:
        if model.combination and model.combination is not last:
            last = model.combination
            most = max(most, cells.width_of(combination_text(last)))
    return most


def header(layout: Layout, glyphs: Glyphs, sort: str, reverse: bool) -> list[Piece]:
    """The line of titles, with an arrow for the sort order."""
    runs = [(" " * GUTTER, "header")]
    for column in layout.columns:
        title, room = column.title, column.width + (column.gap - 1 if column.to_right else 0)
        ordered = column.sort == sort and sort != "index"
        if ordered:
            arrow = glyphs.sort_down if reverse else glyphs.sort_up
            title = title + arrow if len(title) < room else title[: room - 1] + arrow
        title = cells.head(title, room)
        space = " " * (column.gap + column.width - len(title))
        if column.to_right:
            runs.append((space + title, "sorted" if ordered else "header"))
        else:
            blank, rest = " " * column.gap, space[column.gap :]
            runs.append((blank + title + rest, "sorted" if ordered else "header"))
    return pad(runs, layout.width, "header")


def model_row(
    model: ModelState,
    layout: Layout,
    glyphs: Glyphs,
    metrics: MetricTable,
    took: float | None = None,
    place: int | None = None,
) -> list[Piece]:
    """The row of one model, without the gutter, padded to the layout's width.

    `metrics`: the run's metrics; `took`: how long workers have been busy with it (seconds); `place`: its rank, as
    `Standings.place`.
    """
    runs: list[Piece] = []
    failed = model.phase is TrainingPhase.FAILED
    for column in layout.columns:
        blank = " " * column.gap
        if column.to_right:
            if column.key == "best":
                text, style = _place(place, glyphs)
            elif column.key == "val":
                text, style = _validation(model, metrics, glyphs)
            elif column.key == "time":
                text, style = cells.short_duration(took, glyphs), "quiet" if took is None else "number"
            else:
                text, style = _NUMBERS[column.key](model, glyphs)
            runs.append((" " + cells.right(text, column.gap + column.width - 1, glyphs.ellipsis), style))
        elif column.key == "name":
            runs.append((cells.middle(cells.clean(model.name, glyphs.ascii), column.width, glyphs.ellipsis), "name"))
        elif column.key == "config":
            config = cells.clean(combination_text(model.combination), glyphs.ascii)
            if cells.width_of(config) > column.width:  # all rows begin with the same name: the values differ
                config = cells.clean(value_text(list(model.combination.values())), glyphs.ascii)
            runs.append((blank + cells.left(config, column.width, glyphs.ellipsis), "number"))
        elif column.key == "phase":
            sign, word = glyphs.phase(model.phase)
            runs.append((blank + cells.left(f"{sign} {word}", column.width), phase_style(model.phase)))
        elif column.key == "epoch":
            numbers = f"{model.epoch:>{layout.digits}}"
            if model.epochs is not None:
                numbers += f"/{model.epochs:<{layout.digits}}"
            runs.append((blank + cells.left(numbers, min(column.width, 2 * layout.digits + 1)), "number"))
            if failed:
                break
            runs.extend(_bar(model, column.width - 2 * layout.digits - 2, glyphs))
        elif column.key == "trend":
            runs.append((blank + cells.left(cells.sparkline(model.trend, column.width, glyphs), column.width), "trend"))
        else:
            device = device_in_short(model.device, model.place) or glyphs.unknown
            runs.append((blank + cells.left(cells.clean(device, glyphs.ascii), column.width, glyphs.ellipsis), "quiet"))
    room = layout.width - GUTTER - sum(cells.width_of(text) for text, _ in runs)
    if failed and room > 2:
        runs.append(
            ("  " + cells.left(cells.clean(failure_in_row(model), glyphs.ascii), room - 2, glyphs.ellipsis), "failed")
        )
    return pad(runs, layout.width - GUTTER, "name")


def failure_in_row(model: ModelState) -> str:
    """Why a model failed, on one line: `OutOfMemoryError, attempt 2: …`."""
    failure = model.error
    if failure is None:
        return cells.clean(model.reason or "reason unknown")
    if failure.kind == "diverged":
        return f"diverged at epoch {failure.epoch}, attempt {failure.attempt}"
    message = cells.clean(failure.message).strip()
    start, colon, rest = message.partition(":")
    if _EXCEPTION.match(start):
        return f"{start}, attempt {failure.attempt}{colon}{rest.rstrip()}"
    return f"{message}, attempt {failure.attempt}"


def phase_style(phase: TrainingPhase) -> str:
    """The name of a phase's style."""
    return _PHASE_STYLES.get(phase, "active")


def _bar(model: ModelState, width: int, glyphs: Glyphs) -> list[Piece]:
    if width <= 0:
        return []
    done, rest = glyphs.bar(model.percent / 100, width)
    style = "done" if model.phase is TrainingPhase.COMPLETED else "bar"
    return [(" " + done, style), (rest, "quiet")]


def _loss(model: ModelState, glyphs: Glyphs) -> Piece:
    if model.diverged:
        return "diverged", "failed"
    return _known(cells.short_number(model.loss, glyphs), glyphs)


def _place(place: int | None, glyphs: Glyphs) -> Piece:
    if place is None:
        return glyphs.unknown, "quiet"
    return (str(place), "number") if place <= LAST_PLACE else (f">{LAST_PLACE}", "quiet")


def _validation(model: ModelState, metrics: MetricTable, glyphs: Glyphs) -> Piece:
    value, headline = validation_value(model, metrics), metrics.headline(model.metrics)
    if value is None or headline is None or headline.unit != SHARE:
        return _known(cells.short_number(value, glyphs), glyphs)
    percent = f"{100 * value:.1f}"
    return _known("100%" if percent == "100.0" else percent + "%", glyphs)


def _steps(model: ModelState, glyphs: Glyphs) -> Piece:
    rate = model.metrics.get("steps_per_second") if model.phase.is_active else None
    if rate is None:
        return glyphs.unknown, "quiet"
    if rate < 100:
        return f"{rate:.1f}", "number"
    return (f"{rate:,.0f}" if rate < 1e6 else cells.short_number(rate, glyphs)), "number"


def _eta(model: ModelState, glyphs: Glyphs) -> Piece:
    seconds = None if model.phase.is_final else model.eta_seconds
    return _known(cells.short_duration(seconds, glyphs), glyphs)


def _known(text: str, glyphs: Glyphs) -> Piece:
    return text, "quiet" if text == glyphs.unknown else "number"


_EXTRA = LEAVING[:4]
_NUMBERS: dict[str, Callable[[ModelState, Glyphs], Piece]] = {
    "loss": _loss,
    "eta": _eta,
    "steps": _steps,
    "attempt": lambda model, glyphs: (str(model.attempt), "number" if model.attempt > 1 else "quiet"),
}
_PHASE_STYLES = {
    TrainingPhase.QUEUED: "quiet",
    TrainingPhase.CANCELLED: "quiet",
    TrainingPhase.PAUSED: "paused",
    TrainingPhase.COMPLETED: "done",
    TrainingPhase.FAILED: "failed",
}
