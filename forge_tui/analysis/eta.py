"""When a run will be done: simulates the queue over the worker slots with measured epoch times."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from functools import cached_property

from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import TrainingPhase


def remaining_seconds(models: Sequence[ModelState], slots: int, ago: Sequence[float] | None = None) -> float | None:
    """Seconds until the last model ends, with `slots` workers (≥ 1); None before any epoch time is known.

    `ago`: how many seconds ago each model reported its own estimate, if known.

    An active model uses its own estimate; a queued one the mean epoch time of its config's models (of all models if
    none of those has been measured, or while its config is unknown).
    """
    if slots < 1:
        raise ValueError(f"slots must be at least 1, not {slots}")
    # Paused models keep their place and continue from there.
    active = [number for number, model in enumerate(models) if model.phase.is_active]
    waiting = [model for model in models if model.phase is TrainingPhase.QUEUED]
    if not active and not waiting:
        return 0.0
    expected = _EpochTimes(models)
    ends: list[float] = []
    for number in active:
        left = _seconds_left(models[number], expected)
        if left is None:
            return None
        ends.append(left if ago is None else max(0.0, left - ago[number]))
    latest = max(ends, default=0.0)
    ends.extend([0.0] * (slots - len(ends)))
    heapq.heapify(ends)
    # There may be fewer workers than before: surplus ones end first and are not replaced.
    for _ in range(len(ends) - slots):
        heapq.heappop(ends)
    for model in waiting:
        left = _seconds_left(model, expected)
        if left is None:
            return None
        end = heapq.heappop(ends) + left
        latest = max(latest, end)
        heapq.heappush(ends, end)
    return latest


def _seconds_left(model: ModelState, expected: _EpochTimes) -> float | None:
    if model.phase.is_active and model.eta_seconds is not None:
        return max(0.0, model.eta_seconds)
    if model.epochs is None:  # a command's: nobody knows how long it takes
        return None
    epochs = max(0, model.epochs - model.epoch)
    if model.phase.is_active and model.epoch > 1 and model.epoch_seconds is not None:
        return epochs * model.epoch_seconds
    seconds = expected.of(model)
    return None if seconds is None else epochs * seconds


class _EpochTimes:
    """Expected epoch times: means of the measured ones nearest to a model.

    Each mean is computed once: otherwise 10,000 models, half of them queued, took four seconds per snapshot.
    """

    def __init__(self, models: Sequence[ModelState]) -> None:
        self._models = models
        self._keys: dict[int, str] = {}

    def of(self, model: ModelState) -> float | None:
        """The mean over the models of its config, else over all; None if none has been measured."""
        alike = self._by_config.get(self._key(model)) if model.config or model.combination else None
        return alike if alike is not None else self._of_all

    @cached_property
    def _measured(self) -> list[ModelState]:
        measured = [model for model in self._models if model.epoch_seconds is not None and model.epoch > 0]
        # A first epoch includes the warm-up: it counts only while there is nothing better.
        return [model for model in measured if model.epoch > 1] or measured

    @cached_property
    def _of_all(self) -> float | None:
        return _mean(self._measured)

    @cached_property
    def _by_config(self) -> dict[str, float | None]:
        groups: dict[str, list[ModelState]] = {}
        for model in self._measured:
            groups.setdefault(self._key(model), []).append(model)
        return {key: _mean(group) for key, group in groups.items()}

    def _key(self, model: ModelState) -> str:
        """The config as text, made once for all models that share the object; of a sweep only its own values."""
        config = model.combination or model.config
        key = self._keys.get(id(config))
        if key is None:
            key = self._keys[id(config)] = repr(sorted(config.items()))
        return key


def _mean(models: Sequence[ModelState]) -> float | None:
    times = [seconds for seconds in map(_usual_epoch, models) if seconds is not None]
    return math.fsum(times) / len(times) if times else None


def _usual_epoch(model: ModelState) -> float | None:
    """The seconds of a model's epoch: the median behind its own estimate, else its last epoch."""
    left = 0 if model.epochs is None else model.epochs - model.epoch
    if model.phase.is_active and model.epoch > 1 and model.eta_seconds is not None and left > 0:
        return model.eta_seconds / left
    return model.epoch_seconds
