"""When a run will be done: the queue played forward over the worker slots, from measured epoch times."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from statistics import fmean

from forge_tui.progress.phases import TrainingPhase
from forge_tui.progress.snapshot import ModelState


def remaining_seconds(models: Sequence[ModelState], slots: int) -> float | None:
    """Seconds until the last model ends, with `slots` workers (≥ 1); None while nothing that tells has been measured.

    A model at work takes its own estimate; one that waits takes the mean epoch time of the models of its config
    (of all models where none of its own has been measured, or where its config is not yet known).
    """
    if slots < 1:
        raise ValueError(f"slots must be at least 1, not {slots}")
    # Paused ones keep their place, and go on from there.
    active = [model for model in models if model.phase.is_active]
    waiting = [model for model in models if model.phase is TrainingPhase.QUEUED]
    if not active and not waiting:
        return 0.0
    ends: list[float] = []
    for model in active:
        left = _seconds_left(model, models)
        if left is None:
            return None
        ends.append(left)
    latest = max(ends, default=0.0)
    ends.extend([0.0] * (slots - len(ends)))
    heapq.heapify(ends)
    # Workers may have become fewer: the first of those above their number end and are not replaced.
    for _ in range(len(ends) - slots):
        heapq.heappop(ends)
    for model in waiting:
        left = _seconds_left(model, models)
        if left is None:
            return None
        end = heapq.heappop(ends) + left
        latest = max(latest, end)
        heapq.heappush(ends, end)
    return latest


def _seconds_left(model: ModelState, models: Sequence[ModelState]) -> float | None:
    if model.phase.is_active and model.eta_seconds is not None:
        return max(0.0, model.eta_seconds)
    epochs = max(0, model.epochs - model.epoch)
    if model.phase.is_active and model.epoch > 1 and model.epoch_seconds is not None:
        return epochs * model.epoch_seconds
    seconds = _epoch_seconds(model, models)
    return None if seconds is None else epochs * seconds


def _epoch_seconds(model: ModelState, models: Sequence[ModelState]) -> float | None:
    """The mean epoch time to expect of `model`, from the measured ones nearest to it."""
    measured = [other for other in models if other.epoch_seconds is not None and other.epoch > 0]
    # A first epoch holds the warm-up: it counts only while there is nothing better.
    measured = [other for other in measured if other.epoch > 1] or measured
    alike = [other for other in measured if model.config and other.config == model.config]
    times = [other.epoch_seconds for other in alike or measured if other.epoch_seconds is not None]
    return fmean(times) if times else None
