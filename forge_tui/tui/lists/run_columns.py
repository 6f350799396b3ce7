"""The columns of the list of runs: which fit a width, and a run's cells."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.runs.registry import KnownRun
from forge_tui.text.figures import age_text, result_text, short_path
from forge_tui.tui.lists.known_runs import RunLook
from forge_tui.tui.widgets import cells
from forge_tui.tui.widgets.cells import Piece
from forge_tui.tui.widgets.glyphs import Glyphs

GUTTER = 2
_STATE, _PROGRESS, _MODE, _TOOK = 12, 14, 8, 5
# A number alone, and one with the name of its metric, as in `0.9777 accuracy`.
_BEST_LEAST, _BEST = 9, 15
_RUN_LEAST, _RUN_COMFORTABLE, _RUN_MOST = 12, 24, 40
_MODELS_LEAST, _MODELS_COMFORTABLE, _MODELS_MOST = 11, 14, 24
_DAY, _DAY_AND_YEAR = 11, 16
_DIRECTORY_LEAST, _DIRECTORY_MOST = 24, 80
# From here on columns are two cells apart.
_ROOMY = 120
# The age of older data is shown: a runner writes a sign of life every second.
_STALE_SECONDS = 60.0

_LOOKS: dict[RunState | None, tuple[TrainingPhase | None, str]] = {
    RunState.QUEUED: (TrainingPhase.QUEUED, "quiet"),
    RunState.RUNNING: (TrainingPhase.TRAINING, "active"),
    RunState.PAUSED: (TrainingPhase.PAUSED, "paused"),
    RunState.STOPPING: (TrainingPhase.CHECKPOINTING, "paused"),
    RunState.COMPLETED: (TrainingPhase.COMPLETED, "done"),
    RunState.FAILED: (TrainingPhase.FAILED, "failed"),
    RunState.STOPPED: (TrainingPhase.CANCELLED, "paused"),
    RunState.KILLED: (TrainingPhase.CANCELLED, "failed"),
    RunState.DIED: (TrainingPhase.FAILED, "failed"),
    None: (None, "failed"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLayout:
    """The width of each column; 0 leaves it out."""

    width: int
    run: int
    best: int
    took: int
    created: int
    models: int
    mode: int
    directory: int
    gap: int


def run_layout(width: int, looks: Sequence[RunLook]) -> RunLayout:
    """The layout of a list `width` cells wide.

    As it shrinks, the directory, long models, long names, the year, the mode, the time of the start, the models, the
    time taken and the result leave, in this order.
    """
    names = max((cells.width_of(look.entry.title) for look in looks), default=0)
    types = max((cells.width_of(models_text(look.entry)) for look in looks), default=0)
    gap = 2 if width >= _ROOMY else 1
    rest = width - GUTTER - _STATE - 1 - _RUN_LEAST - gap - _PROGRESS

    def column(cells_wanted: int) -> int:
        """As many cells if there is room for them and a gap, else none."""
        nonlocal rest
        if rest < cells_wanted + gap:
            return 0
        rest -= cells_wanted + gap
        return cells_wanted

    def grown(now: int, wanted: int) -> int:
        """A column with the cells it wants beyond those it has, as far as there is room."""
        nonlocal rest
        more = min(max(0, rest), max(0, wanted - now))
        rest -= more
        return now + more

    best = column(_BEST_LEAST)
    run = grown(_RUN_LEAST, min(names, _RUN_COMFORTABLE))
    best = grown(best, _BEST) if best and rest >= _BEST - _BEST_LEAST else best
    took = column(_TOOK)
    models = column(min(max(types, _MODELS_LEAST), _MODELS_COMFORTABLE)) or column(_MODELS_LEAST)
    created = column(_DAY)
    mode = column(_MODE) if created else 0
    created = grown(created, _DAY_AND_YEAR) if created and rest >= _DAY_AND_YEAR - _DAY else created
    run = grown(run, min(names, _RUN_MOST))
    models = grown(models, min(types, _MODELS_MOST)) if models else 0
    directory = column(min(max(_DIRECTORY_LEAST, rest - gap), _DIRECTORY_MOST))
    return RunLayout(
        width=width, run=run, best=best, took=took, created=created, models=models, mode=mode, directory=directory,
        gap=gap,
    )  # fmt: skip


def titles(layout: RunLayout, glyphs: Glyphs) -> list[Piece]:
    """The line of titles."""
    columns = {
        "STATE": _STATE, "RUN": layout.run, "PROGRESS": _PROGRESS, "BEST": layout.best, "TOOK": layout.took,
        "MODELS": layout.models, "CREATED": layout.created, "MODE": layout.mode, "DIRECTORY": layout.directory,
    }  # fmt: skip
    text = " " * GUTTER
    for number, (word, width) in enumerate(columns.items()):
        if width:
            text += " " * min(number, layout.gap if number > 1 else 1) + cells.left(word, width, glyphs.ellipsis)
    return [(cells.left(text, layout.width, glyphs.ellipsis), "header")]


def run_row(look: RunLook, layout: RunLayout, glyphs: Glyphs, now: float) -> list[Piece]:
    """One run, without the gutter. `now` in UNIX seconds."""
    entry, only_ascii = look.entry, glyphs.ascii
    phase, style = _LOOKS[look.state]
    sign = "!" if phase is None else glyphs.phases[phase]
    found = [
        (cells.left(f"{sign} {look.state_word}", _STATE, glyphs.ellipsis), style),
        (" " + cells.middle(cells.clean(entry.title, only_ascii), layout.run, glyphs.ellipsis), "name"),
    ]
    gap = " " * layout.gap
    if look.state is None:
        room = max(0, layout.width - GUTTER - _STATE - 1 - layout.run - layout.gap)
        why = cells.left(cells.clean(look.problem.replace(f"{entry.path}/", ""), only_ascii), room, glyphs.ellipsis)
        return [*found, (gap + why, "failed")]
    found.append((gap + cells.left(progress_text(look, glyphs, now), _PROGRESS, glyphs.ellipsis), "number"))
    results = ((best_text(entry, glyphs, layout.best), layout.best), (took_text(entry, glyphs), layout.took))
    found += [(gap + cells.left(text, width, glyphs.ellipsis), "number") for text, width in results if width]
    if layout.models:
        found.append((gap + cells.left(models_text(entry, only_ascii), layout.models, glyphs.ellipsis), "number"))
    if layout.created:
        form = "%Y-%m-%d %H:%M" if layout.created == _DAY_AND_YEAR else "%m-%d %H:%M"
        created = time.strftime(form, time.localtime(entry.created))
        found.append((gap + cells.left(created, layout.created, glyphs.ellipsis), "quiet"))
    if layout.mode:
        found.append((gap + cells.left(cells.clean(entry.mode, only_ascii), layout.mode, glyphs.ellipsis), "number"))
    if layout.directory:
        directory = cells.clean(short_path(entry.path), only_ascii)
        found.append((gap + cells.middle(directory, layout.directory, glyphs.ellipsis), "quiet"))
    used = sum(cells.width_of(text) for text, _ in found)
    return [*found, (" " * max(0, layout.width - GUTTER - used), "number")]


def best_text(entry: KnownRun, glyphs: Glyphs, width: int) -> str:
    """How good the best model is: the number, and as much of the metric's name as says something."""
    if entry.metric is None or entry.value is None:
        return glyphs.unknown
    number = result_text(entry.metric, entry.value).removeprefix(f"{entry.metric} ")
    return cells.clean(number if width < _BEST else f"{number} {entry.metric}", glyphs.ascii)


def took_text(entry: KnownRun, glyphs: Glyphs) -> str:
    """How long an ended run took; nothing for a live one, whose remaining time is in its progress."""
    if entry.seconds is None:
        return ""
    return cells.short_duration(entry.seconds, glyphs)


def progress_text(look: RunLook, glyphs: Glyphs, now: float) -> str:
    """Progress and remaining time of a live run; for an ended one, how long ago it ended."""
    percent = "" if look.percent is None else f"{look.percent:.0f}%".ljust(4) + " "
    if not look.is_live:
        age = None if look.seen is None else max(0.0, now - look.seen)
        return percent + (glyphs.unknown if age is None else f"{age_text(age)} ago")
    if look.age is not None and look.age >= _STALE_SECONDS:
        return f"{percent}{age_text(look.age)} old"
    return f"{percent}ETA {cells.short_duration(look.eta_seconds, glyphs)}"


def models_text(entry: KnownRun, only_ascii: bool = False) -> str:
    """The number and type of the models."""
    return cells.clean(f"{entry.models} {'x' if only_ascii else '×'} {entry.model_type}", only_ascii)
