"""Filter and sort keys of the model table."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from forge_tui.analysis.ranking import comparison_key
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.text.config_tables import combination_text
from forge_tui.tui import word_filter
from forge_tui.tui.widgets.glyphs import PHASE_WORDS

if TYPE_CHECKING:
    from forge_tui.protocol.metrics import MetricTable
    from forge_tui.protocol.model_state import ModelState

SORT_KEYS = ("index", "name", "phase", "epoch", "loss", "best", "val", "eta")

# First what needs attention, then active models, then queued and finished ones.
_PHASE_ORDER = {
    phase: place
    for place, phase in enumerate(
        (
            TrainingPhase.FAILED,
            TrainingPhase.TRAINING,
            TrainingPhase.CHECKPOINTING,
            TrainingPhase.SAVING,
            TrainingPhase.INITIALIZING,
            TrainingPhase.PAUSED,
            TrainingPhase.QUEUED,
            TrainingPhase.COMPLETED,
            TrainingPhase.CANCELLED,
        )
    )
}
_DIGITS = re.compile(r"(\d+)")
_SHORTEST_PHASE_WORD = 3


def validation_value(model: ModelState, table: MetricTable) -> float | None:
    """A model's validation number: its headline metric, else the validation loss."""
    metric = table.headline(model.metrics)
    return model.metrics.get("validation_loss" if metric is None else metric.name)


_NUMBERS: dict[str, Callable[[ModelState, MetricTable], float | None]] = {
    "phase": lambda model, _: _PHASE_ORDER[model.phase],
    "epoch": lambda model, _: model.epoch,
    "loss": lambda model, _: None if model.diverged else model.loss,
    "val": validation_value,
    "eta": lambda model, _: model.eta_seconds,
}


def sort_positions(
    models: Sequence[ModelState], positions: Sequence[int], key: str, reverse: bool, metrics: MetricTable
) -> list[int]:
    """`positions` (into `models`) sorted by `key`; equal ones by position, unknown and NaN last in both directions.

    "best" is the order of `ranking.comparison_key`.
    Raises `ValueError` for a key that is not in `SORT_KEYS`.
    """
    if key not in SORT_KEYS:
        raise ValueError(f"no sort key {key!r}; there are {', '.join(SORT_KEYS)}")
    if key == "index":
        return sorted(positions, reverse=reverse)
    if key == "name":
        return sorted(positions, key=lambda position: natural(models[position].name), reverse=reverse)
    if key == "best":
        keys = {position: comparison_key(models[position].metrics, metrics) for position in positions}
        if reverse:  # unknown values stay last
            keys = {position: tuple(-bad if bad < math.inf else bad for bad in key) for position, key in keys.items()}
        return sorted(positions, key=keys.__getitem__)
    number = _NUMBERS[key]
    values: dict[int, float] = {}
    unknown: list[int] = []
    for position in positions:
        value = number(models[position], metrics)
        if value is None or not math.isfinite(value):
            unknown.append(position)
        else:
            values[position] = value
    if reverse:
        values = {position: -value for position, value in values.items()}
    return [*sorted(values, key=values.__getitem__), *unknown]


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that puts `planner_2` before `planner_10`."""
    parts = [part for part in _DIGITS.split(name.casefold()) if part]
    return [(0, len(part.lstrip("0")), part.lstrip("0")) if part.isdecimal() else (1, 0, part) for part in parts]


def filtered(text: str, models: Sequence[ModelState]) -> word_filter.Found:
    """The models that match a filter (`word_filter.find`).

    A word is part of a name, or of a config's own values in a sweep (`0.003`), or the beginning (from 3 letters) of a
    phase's word (`fail`, `train`); `phase:queued` and `phase:ckpt` match only the phase. `!` before any of them turns
    it round.
    """
    tests: dict[str, Callable[[ModelState], bool]] = {}

    def has(model: ModelState, word: str) -> bool:
        test = tests.get(word)
        if test is None:
            test = tests[word] = _word(word)
        return test(model)

    return word_filter.find(text, models, has, lambda model: model.name)


def _word(word: str) -> Callable[[ModelState], bool]:
    only_phase = word.startswith("phase:")
    start = word.removeprefix("phase:")
    phases = {phase for phase in TrainingPhase if phase.startswith(start) or PHASE_WORDS[phase].startswith(start)}
    if only_phase:
        return lambda model: model.phase in phases
    if len(word) < _SHORTEST_PHASE_WORD:
        phases = set()
    return lambda model: (
        model.phase in phases
        or word in model.name.casefold()
        or (bool(model.combination) and word in combination_text(model.combination).casefold())
    )
