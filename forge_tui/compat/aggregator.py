"""Progress over several models, reported by calls: the tracker of the kept Python interface."""

from __future__ import annotations

import json
import math
import operator
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import pvariance
from typing import Any

from forge_tui.analysis.eta import remaining_seconds
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.safe_io.printing import named

__all__ = ["ProgressAggregator", "TrainingPhase", "create_progress_tracker"]

ModelId = int | str

MODES = ("series", "parallel")
HISTORY_LENGTH = 100_000
# Phases in which a worker trains the model's epochs; they include checkpoints.
_IN_TRAINING = (TrainingPhase.TRAINING, TrainingPhase.CHECKPOINTING)
# A report of one of these without an epoch keeps the known epoch.
_KEEPS_EPOCH = (
    TrainingPhase.CHECKPOINTING, TrainingPhase.SAVING, TrainingPhase.PAUSED, TrainingPhase.FAILED,
    TrainingPhase.CANCELLED,
)  # fmt: skip
# The overall phase is the first of these that any model is in.
_LEADING = (
    TrainingPhase.TRAINING, TrainingPhase.CHECKPOINTING, TrainingPhase.SAVING, TrainingPhase.INITIALIZING,
    TrainingPhase.PAUSED,
)  # fmt: skip


class ProgressAggregator:
    """The combined progress of several models. Thread-safe.

    Models are identified by numbers (from 0 or from 1) or by strings; more than `total_models` raise the total.
    Durations in seconds, times in UNIX seconds, progress in percent.
    """

    def __init__(
        self,
        total_models: int = 3,
        *,
        clock: Callable[[], float] | None = None,
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        """Raises `ValueError` unless `total_models` is at least 1.

        `clock` (UNIX seconds) dates reports; `monotonic` (seconds) measures durations, by default `clock` if given.
        """
        count = _whole("total_models", total_models, least=1)
        self._clock, self._monotonic = clock or time.time, monotonic or clock or time.monotonic
        self._lock = threading.RLock()
        self._order: list[ModelId] = list(range(1, count + 1))
        self._models: dict[ModelId, ModelState] = {}
        # Per model the time and epoch from which its epochs are timed.
        self._timed_from: dict[ModelId, tuple[float, int]] = {}
        self._updated: dict[ModelId, float] = {}
        self._reported: dict[ModelId, float] = {}
        self._latest: ModelId | None = None
        self._started: float | None = None
        self._history: deque[dict[str, Any]] = deque(maxlen=HISTORY_LENGTH)
        self._updates = 0

    @property
    def total_models(self) -> int:
        """The number of models, including those that have not reported yet."""
        with self._lock:
            return len(self._order)

    def update_model_progress(
        self,
        model_id: ModelId,
        phase: TrainingPhase | str,
        current_epoch: int = 0,
        total_epochs: int = 100,
        loss_value: float | None = None,
        learning_rate: float | None = None,
    ) -> None:
        """Report the progress of a model. `current_epoch` is how many epochs are done.

        A loss that is NaN or infinite is recorded as diverged. Raises `ValueError`, without any change, for an invalid
        id, phase, epoch or number.
        """
        identity = _identity(model_id)
        phase = _phase(phase)
        total = _whole("total_epochs", total_epochs, least=1)
        epoch = _whole("current_epoch", current_epoch, least=0)
        if epoch > total:
            raise ValueError(f"current_epoch must be at most total_epochs ({total}), not {epoch}")
        loss = _number("loss_value", loss_value)
        rate = _number("learning_rate", learning_rate)
        if rate is not None and not 0.0 <= rate < math.inf:
            raise ValueError(f"learning_rate must be a finite number, at least 0, not {rate}")
        with self._lock:
            now, moment = self._clock(), self._monotonic()
            known = self._models.get(identity)
            if known is not None and epoch == 0 and phase in _KEEPS_EPOCH:
                epoch, total = known.epoch, known.epochs or total
            if phase is TrainingPhase.COMPLETED:
                epoch = total
            if known is None:
                self._make_room(identity)
                known = ModelState(name=str(identity), index=0, seed=0, epochs=total)
            if self._started is None:
                self._started = moment
            state = replace(
                known,
                phase=phase,
                epoch=epoch,
                epochs=total,
                epoch_seconds=self._epoch_seconds(identity, known, phase, epoch, moment),
                started=now if known.started is None and phase.is_active else known.started,
                finished=now if phase.is_final else None,
                metrics=known.metrics if rate is None else {**known.metrics, "learning_rate": rate},
            )
            if loss is not None:
                state = _with_loss(state, loss)
            self._models[identity] = state
            self._updated[identity], self._reported[identity] = now, moment
            self._latest = identity
            self._updates += 1
            self._history.append({"time": now, **self._describe(identity)})

    def get_model_progress(self, model_id: ModelId) -> dict[str, Any] | None:
        """The progress of one model; None for an unknown id."""
        with self._lock:
            identity = _identity(model_id)
            return self._describe(identity) if identity in self._order else None

    def get_overall_progress(self) -> dict[str, Any]:
        """All models together.

        `overall_percent` (mean over the models), `completed_models`, `total_models`, `phase`, `time_elapsed` (since
        the first report), `estimated_remaining` (None while unknown), `models` (by id).
        """
        with self._lock:
            states = self._states()
            return {
                "overall_percent": sum(state.percent for state in states) / len(states),
                "completed_models": sum(state.phase is TrainingPhase.COMPLETED for state in states),
                "total_models": len(states),
                "phase": _overall_phase(states),
                "time_elapsed": self._elapsed(states),
                "estimated_remaining": self._remaining(states),
                "models": {identity: self._describe(identity) for identity in self._order},
            }

    def format_progress_message(self, mode: str = "series") -> str:
        """The progress in one line, for a mode (series or parallel). Raises `ValueError` for an unknown mode."""
        if mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
        with self._lock:
            states = self._states()
            if mode == "parallel":
                training = sum(state.phase in _IN_TRAINING for state in states)
                percent = sum(state.percent for state in states) / len(states)
                return f"Training {training} models in parallel: Overall {percent:.1f}%"
            identity = self._current()
            position = self._order.index(identity)
            state = states[position]
            return (
                f"Training model {position + 1}/{len(states)}: "
                f"Epoch {state.epoch}/{state.epochs} ({state.percent:.1f}%)"
            )

    def generate_progress_report(self) -> dict[str, Any]:
        """The whole state, JSON-able: `timestamp`, `overall`, `models`, `summary` and `history_length`."""
        with self._lock:
            states = self._states()
            overall = self.get_overall_progress()
            models = overall.pop("models")
            losses = [state.best_loss for state in states if state.best_loss is not None]
            elapsed = overall["time_elapsed"]
            done = sum(state.epoch for state in states)
            return {
                "timestamp": self._clock(),
                "overall": overall,
                "models": list(models.values()),
                "summary": {
                    "active_models": sum(state.phase.is_active for state in states),
                    "failed_models": [
                        identity
                        for identity, state in zip(self._order, states, strict=True)
                        if state.phase is TrainingPhase.FAILED
                    ],
                    "best_loss": min(losses, default=None),
                    "epochs_done": done,
                    "epochs_per_second": done / elapsed if elapsed > 0 else None,
                    "progress_variance": self._calculate_progress_variance(),
                    "training_complete": self.is_training_complete(),
                },
                "history_length": self._updates,
            }

    def export_progress_log(self, path: str | os.PathLike[str]) -> None:
        """Write the progress report and its history (the newest 100,000) to `path` as JSON. Raises `OSError`."""
        with self._lock:
            log = {"format": 1, "report": self.generate_progress_report(), "history": list(self._history)}
        target = Path(path)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}.tmp")
        try:
            temporary.write_text(json.dumps(log, indent=1, allow_nan=False) + "\n", encoding="utf-8")
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)

    def is_training_complete(self) -> bool:
        """Whether every model has ended: completed, failed or cancelled."""
        with self._lock:
            return all(state.phase.is_final for state in self._states())

    def has_failed_models(self) -> bool:
        """Whether any model has failed."""
        with self._lock:
            return any(state.phase is TrainingPhase.FAILED for state in self._models.values())

    def _calculate_progress_variance(self) -> float:
        """The variance of the models' percentages."""
        with self._lock:
            return pvariance([state.percent for state in self._states()])

    def _make_room(self, identity: ModelId) -> None:
        """Add a model that reports for the first time to the order."""
        if identity in self._order:
            return
        silent = [other for other in self._order if other not in self._models]
        if identity == 0:  # numbered from 0: the last number will not appear
            if silent:
                self._order.remove(silent[-1])
            self._order.insert(0, 0)
        elif isinstance(identity, str) and silent:
            self._order[self._order.index(silent[0])] = identity
        else:
            self._order.append(identity)

    def _states(self) -> list[ModelState]:
        return [self._state(identity) for identity in self._order]

    def _state(self, identity: ModelId) -> ModelState:
        state = self._models.get(identity)
        if state is not None:
            return state
        epochs = self._models[self._latest].epochs if self._latest is not None else 100
        return ModelState(name=str(identity), index=0, seed=0, epochs=epochs)

    def _current(self) -> ModelId:
        """The current model of series mode: the active one that reported last."""
        active = [identity for identity, state in self._models.items() if state.phase.is_active]
        if active:
            return max(active, key=lambda identity: (self._reported[identity], identity == self._latest))
        return self._order[0] if self._latest is None else self._latest

    def _epoch_seconds(
        self, identity: ModelId, known: ModelState, phase: TrainingPhase, epoch: int, now: float
    ) -> float | None:
        """The mean seconds of the model's epochs so far, without the first one, which includes the warm-up."""
        start = self._timed_from.get(identity)
        if start is None or epoch < known.epoch:
            if phase in _IN_TRAINING:
                self._timed_from[identity] = (now, epoch)
        elif epoch > known.epoch and phase is not TrainingPhase.COMPLETED:
            since, first = start
            if first == 0:
                self._timed_from[identity] = (now, epoch)
            return max(0.0, now - since) / (epoch - first)
        return known.epoch_seconds

    def _elapsed(self, states: list[ModelState]) -> float:
        if self._started is None:
            return 0.0
        ended = all(state.phase.is_final for state in states)
        end = max(self._reported.values()) if ended else self._monotonic()
        return max(0.0, end - self._started)

    def _remaining(self, states: list[ModelState]) -> float | None:
        now = self._monotonic()
        timed, ago = [], []
        for identity, state in zip(self._order, states, strict=True):
            if state.phase.is_active and state.epoch_seconds is not None:
                state = replace(state, eta_seconds=((state.epochs or 0) - state.epoch) * state.epoch_seconds)
            timed.append(state)
            ago.append(now - self._reported.get(identity, now))
        return remaining_seconds(timed, max(1, sum(state.phase.is_active for state in states)), ago)

    def _describe(self, identity: ModelId) -> dict[str, Any]:
        state = self._state(identity)
        return {
            "model_id": identity,
            "phase": state.phase,
            "current_epoch": state.epoch,
            "total_epochs": state.epochs,
            "progress_percent": state.percent,
            "loss_value": state.loss,
            "best_loss": state.best_loss,
            "diverged": state.diverged,
            "learning_rate": state.metrics.get("learning_rate"),
            "epoch_seconds": state.epoch_seconds,
            "started": state.started,
            "finished": state.finished,
            "last_update": self._updated.get(identity),
        }


def create_progress_tracker(total_models: int = 3) -> ProgressAggregator:
    """A `ProgressAggregator` for `total_models` models."""
    return ProgressAggregator(total_models)


def _overall_phase(states: list[ModelState]) -> TrainingPhase:
    phases = {state.phase for state in states}
    for phase in _LEADING:
        if phase in phases:
            return phase
    if TrainingPhase.QUEUED in phases:
        # Between two models of a series the phase is still training.
        return TrainingPhase.QUEUED if phases == {TrainingPhase.QUEUED} else TrainingPhase.TRAINING
    for phase in (TrainingPhase.FAILED, TrainingPhase.CANCELLED):
        if phase in phases:
            return phase
    return TrainingPhase.COMPLETED


def _with_loss(state: ModelState, loss: float) -> ModelState:
    if not math.isfinite(loss):
        return replace(state, metrics={**state.metrics, "loss": None}, diverged=True)
    best = loss if state.best_loss is None else min(state.best_loss, loss)
    return replace(state, metrics={**state.metrics, "loss": loss}, best_loss=best, diverged=False)


def _identity(model_id: Any) -> ModelId:
    if isinstance(model_id, str) and model_id:
        return str(model_id)
    if isinstance(model_id, str):
        raise ValueError("model_id must be a number, at least 0, or a name, not an empty string")
    return _whole("model_id", model_id, least=0)


def _phase(phase: Any) -> TrainingPhase:
    try:
        return TrainingPhase(phase)
    except ValueError:
        allowed = ", ".join(member.value for member in TrainingPhase)
        raise ValueError(f"phase must be one of {allowed}, not {phase!r}") from None


def _whole(name: str, value: Any, *, least: int) -> int:
    try:
        whole = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        whole = None
    if whole is None or whole < least:
        raise ValueError(f"{named(name)} must be a whole number, at least {least}, not {value!r}")
    return whole


def _number(name: str, value: Any) -> float | None:
    if value is None:
        return None
    try:
        if isinstance(value, bool | str | bytes):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{named(name)} must be a number or None, not {value!r}") from None
