"""The trials of a search, as a sampler gets them. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import TrainingPhase

# Failures that another machine or another moment may not have: they say nothing of the config.
_NOT_OF_THE_CONFIG = frozenset({"signal", "hang", "node_lost", "device_lost", "changed"})


class TrialState(StrEnum):
    """What became of a trial.

    `complete`: it has a value. `pruned`: halving stopped one of its models. `bad`: a model failed for a reason of the
    config (it diverged, raised, ran out of memory), which counts as worse than any value. `failed`: it says nothing.
    """

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    BAD = "bad"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A proposed config, and its result so far: `values` by the settings' full names.

    `value`: the mean over its models of what is minimised (`MetricTable.measure`) at the best epoch of each; of a
    pruned trial up to `epoch`, the last one that all its pruned models had. None: none has a number.
    """

    number: int
    values: dict[str, Any]
    state: TrialState = TrialState.RUNNING
    value: float | None = None
    epoch: int = 0

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict of it."""
        return {
            "number": self.number,
            "values": self.values,
            "state": self.state.value,
            "value": self.value,
            "epoch": self.epoch,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Trial:
        """The trial that `to_record` wrote."""
        return cls(**{**record, "state": TrialState(record["state"])})


def trial_of(
    number: int, values: Mapping[str, Any], models: Sequence[ModelState], measures: Mapping[int, float | None]
) -> Trial:
    """A proposed trial with what its models have reached; `measures`: the best of each by index."""
    kinds = {model.error.kind for model in models if model.error is not None}
    values = dict(values)
    if kinds or any(model.phase is TrainingPhase.CANCELLED and not model.pruned for model in models):
        state = TrialState.BAD if kinds - _NOT_OF_THE_CONFIG else TrialState.FAILED
        return Trial(number=number, values=values, state=state)
    if not all(model.is_done for model in models):
        return Trial(number=number, values=values)
    known = [measures.get(model.index) for model in models]
    numbers = [one for one in known if one is not None and math.isfinite(one)]
    value = math.fsum(numbers) / len(numbers) if len(numbers) == len(known) else None
    pruned = [model.epoch for model in models if model.pruned]
    if pruned:
        return Trial(number=number, values=values, state=TrialState.PRUNED, value=value, epoch=min(pruned))
    # Without a number it never had a finite value: no config is worse.
    state = TrialState.BAD if value is None else TrialState.COMPLETE
    return Trial(number=number, values=values, state=state, value=value)


def key_of(values: Mapping[str, Any]) -> str:
    """A key that is equal for equal configs."""
    return json.dumps(values, sort_keys=True)


class BestEpochs:
    """The best epoch of a model: the one with the least measure.

    An epoch that is reported again, after a return to a checkpoint, replaces itself and the later ones; that of a
    custom loop only itself.
    """

    def __init__(self, epochs: Iterable[tuple[int, float | None]] = (), *, replaces_alone: bool = False) -> None:
        self._replaces_alone = replaces_alone
        self._measures: dict[int, float | None] = {}
        for epoch, measure in epochs:
            self.take(epoch, measure)

    def take(self, epoch: int, measure: float | None) -> None:
        """Record an epoch."""
        if not self._replaces_alone and self._measures and next(reversed(self._measures)) >= epoch:
            self._measures = {one: known for one, known in self._measures.items() if one < epoch}
        self._measures[epoch] = measure

    @property
    def best(self) -> tuple[int, float] | None:
        """The best epoch and its measure; None if none has a number."""
        numbers = [(one, epoch) for epoch, one in self._measures.items() if one is not None and math.isfinite(one)]
        if not numbers:
            return None
        measure, epoch = min(numbers)
        return epoch, measure
