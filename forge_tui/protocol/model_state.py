"""The state of a model, and how events change it. Everything here is immutable."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from forge_tui.protocol.metrics import TEST, Measured, Metrics, metrics_of
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.protocol.record_fields import check_record
from forge_tui.protocol.rollback import Rollback

if TYPE_CHECKING:
    from forge_tui.protocol import events as happened

_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why one attempt at a model ended. `kind` as in the event `model_failed`."""

    model: str
    index: int
    attempt: int
    kind: str
    message: str
    traceback: str | None = None
    time: float | None = None
    epoch: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ModelState(Measured):
    """The state of one model. Unknown is None; `diverged` is set if the loss is NaN or infinite.

    `metrics`: of the newest epoch; of a completed model those of its saved weights. `baseline`: of a completed model,
    the metrics of what the training targets alone predict.
    `combination`: its own values of `[sweep]` or `[search]`, by the settings' short names; empty until a search has
    proposed them. `value`: the result that the search took (event `model_valued`). `rollbacks`: number of rollbacks
    after a divergence; `rollback`: the last one, if it is not over. `seconds`: how long workers were busy with it, up
    to `active_since` if one is now: seconds of the run (`Snapshot.elapsed_seconds`). Both are measured by the runner's
    monotonic clock, and None in older runs. `exact` is None without weights to compare. `epochs`: how many it is to
    have; None where only a command knows. `place`: as in the event `model_started`.
    """

    name: str
    index: int
    seed: int
    epochs: int | None
    phase: TrainingPhase = TrainingPhase.QUEUED
    reason: str | None = None
    attempt: int = 1
    epoch: int = 0
    step: int = 0
    metrics: Metrics = field(default_factory=dict)
    baseline: Metrics = field(default_factory=dict)
    best_loss: float | None = None
    diverged: bool = False
    learning_rate_factor: float = 1.0
    rollbacks: int = 0
    rollback: Rollback | None = None
    epoch_seconds: float | None = None
    eta_seconds: float | None = None
    parameters: int | None = None
    worker: int | str | None = None
    device: str | None = None
    place: dict[str, Any] | None = None
    threads: int | None = None
    group: tuple[str, ...] | None = None
    config: dict[str, Any] = field(default_factory=dict)
    combination: dict[str, Any] = field(default_factory=dict)
    started: float | None = None
    finished: float | None = None
    seconds: float | None = None
    active_since: float | None = None
    checkpoint_epoch: int = 0
    checkpoint_step: int = 0
    path: str | None = None
    best_epoch: int | None = None
    value: float | None = None
    pruned: bool = False
    exact: bool | None = True
    trend: tuple[float | None, ...] = ()
    failures: tuple[Failure, ...] = ()

    def __repr__(self) -> str:
        known = ", ".join(f"{name}={value:.4g}" for name, value in self.metrics.items() if value is not None)
        epochs = self.epoch if self.epochs is None else f"{self.epoch}/{self.epochs}"
        return f"<ModelState {self.name!r} {self.index}: {self.phase}, epoch {epochs}{f', {known}' if known else ''}>"

    @property
    def percent(self) -> float:
        """Percentage of the model's epochs that are done, 0–100."""
        if self.is_done:
            return 100.0
        return min(100.0, 100.0 * self.epoch / self.epochs) if self.epochs else 0.0

    @property
    def has_weights(self) -> bool:
        """Whether a completed model has a file of weights; a training function need not save any."""
        return self.exact is not None

    @property
    def is_done(self) -> bool:
        """Whether the run has finished with it: completed, or pruned."""
        return self.phase is TrainingPhase.COMPLETED or self.pruned

    @property
    def stopped_early(self) -> bool:
        """Whether early stopping ended it before its last epoch (`training.patience`)."""
        return self.phase is TrainingPhase.COMPLETED and self.epochs is not None and self.epoch < self.epochs

    @property
    def log_name(self) -> str:
        """The model whose log has this one's output: a group shares its first model's log."""
        return self.group[0] if self.group else self.name

    def took(self, run_seconds: float, now: float) -> float | None:
        """How long workers have been busy with it (seconds), at `run_seconds` of the run.

        If that was not measured: the time since it started, by the wall clock (`now`, UNIX seconds).
        """
        if self.seconds is not None:
            return self.seconds + (0.0 if self.active_since is None else max(0.0, run_seconds - self.active_since))
        if self.started is None:
            return None
        return max(0.0, (now if self.finished is None else self.finished) - self.started)

    @property
    def error(self) -> Failure | None:
        """The last failure of a model that has failed for good."""
        return self.failures[-1] if self.failures and self.phase is TrainingPhase.FAILED else None

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict of the state."""
        from forge_tui.protocol import events as happened

        record: dict[str, Any] = dict(zip(_MODEL_NAMES, _model_values(self), strict=True))
        for name, value in record.items():
            if type(value) is float and not math.isfinite(value):
                record[name] = None
        record["metrics"] = happened.finite(self.metrics)
        record["group"] = None if self.group is None else list(self.group)
        record["config"] = happened.finite(self.config)
        record["combination"] = happened.finite(self.combination)
        record["place"] = None if self.place is None else happened.finite(self.place)
        record["rollback"] = None if self.rollback is None else happened.finite(dataclasses.asdict(self.rollback))
        record["trend"] = happened.finite(self.trend)
        record["failures"] = [happened.finite(dataclasses.asdict(failure)) for failure in self.failures]
        return record

    @classmethod
    def from_record(cls, record: dict[str, Any], interner: Interner | None = None) -> ModelState:
        """The state of a record; unknown keys are ignored. `interner`: see there.

        Raises `ValueError` for a value that is never written, `TypeError` and `KeyError` for a missing one.
        """
        if "metrics" not in record:
            record = {**record, "metrics": metrics_of(record)}
        check_record(record, cls)
        known = record.keys() <= _MODEL_FIELDS
        values = dict(record) if known else {key: value for key, value in record.items() if key in _MODEL_FIELDS}
        values["phase"] = TrainingPhase(values["phase"])
        values["failures"] = tuple(_checked(Failure, failure) for failure in values.get("failures", ()))
        values["trend"] = tuple(values.get("trend", ()))
        if values.get("rollback") is not None:
            values["rollback"] = _checked(Rollback, values["rollback"])
        if values.get("group") is not None:
            values["group"] = tuple(values["group"])
        if interner is not None:
            values["group"] = interner.group(values.get("group"))
            values["config"] = interner.config(values.get("config", {}))
            values["combination"] = interner.combination(values.get("combination", {}))
            values["place"] = interner.place(values.get("place"))
        return cls(**values)


def _checked(of: type[_Part], record: dict[str, Any]) -> _Part:
    check_record(record, of)
    return of(**record)


class Interner:
    """Makes equal configs and groups of neighbouring models one object.

    Read from JSON, each model would have its own: 12 KB per model in a run of groups of 50.
    """

    def __init__(self) -> None:
        self._config: dict[str, Any] = {}
        self._combination: dict[str, Any] = {}
        self._group: tuple[str, ...] | None = None
        self._place: dict[str, Any] | None = None

    def config(self, config: dict[str, Any]) -> dict[str, Any]:
        """`config`, or the last one if that is equal."""
        if config != self._config:
            self._config = config
        return self._config

    def combination(self, combination: dict[str, Any]) -> dict[str, Any]:
        """`combination`, or the last one if that is equal."""
        if combination != self._combination:
            self._combination = combination
        return self._combination

    def place(self, place: dict[str, Any] | None) -> dict[str, Any] | None:
        """`place`, or the last one if that is equal."""
        if place != self._place:
            self._place = place
        return self._place

    def group(self, group: Sequence[str] | None) -> tuple[str, ...] | None:
        """`group` as a tuple, or the last one if that is equal."""
        if group is None:
            return None
        members = tuple(group)
        if members != self._group:
            self._group = members
        return self._group


TREND_LENGTH = 24
# Cached: needed for every record, 500 times per snapshot of a large run.
_MODEL_NAMES = tuple(item.name for item in dataclasses.fields(ModelState))
_MODEL_FIELDS = frozenset(_MODEL_NAMES)
_model_values = operator.attrgetter(*_MODEL_NAMES)


def apply(model: ModelState, event: happened.Event, interner: Interner | None = None) -> ModelState:
    """The state of `model` after `event`. `interner`: see there."""
    from forge_tui.protocol import events as happened  # 10 ms, and a viewer needs none of them

    interner = interner or Interner()
    match event:
        case happened.PhaseChanged():
            phase = TrainingPhase(event.phase)
            changed = replace(
                model,
                phase=phase,
                reason=event.reason,
                pruned=event.pruned,
                attempt=event.attempt,
                worker=model.worker if phase.is_active else None,
                group=None if phase is TrainingPhase.CANCELLED else model.group,
                eta_seconds=None if phase.is_final else model.eta_seconds,
                finished=event.time if phase.is_final else None,
            )
            return changed if event.run_seconds is None else _timed(changed, event.run_seconds)
        case happened.ModelProposed():
            return replace(model, combination=interner.combination(happened.finite(event.combination)))
        case happened.ModelValued():
            return replace(model, value=event.value)
        case happened.ModelStarted():
            return replace(
                model,
                attempt=event.attempt,
                config=interner.config(event.config),
                seed=event.seed,
                parameters=event.parameters,
                worker=event.worker,
                device=event.device,
                place=interner.place(event.place),
                threads=event.threads,
                group=interner.group(event.group),
                started=model.started if model.started is not None else event.time,
            )
        case happened.EpochFinished():
            metrics = happened.finite(event.metrics)
            loss = metrics.get("loss")
            return replace(
                model,
                attempt=event.attempt,
                epoch=event.epoch,
                epochs=event.epochs,
                step=event.step,
                metrics=metrics,
                best_loss=event.best_loss,
                diverged="loss" in metrics and loss is None,
                rollback=None if model.rollback and model.rollback.is_over(event.epoch, loss) else model.rollback,
                epoch_seconds=event.seconds,
                eta_seconds=event.eta_seconds,
                trend=(*model.trend[-TREND_LENGTH + 1 :], loss) if "loss" in metrics else model.trend,
            )
        case happened.CheckpointSaved():
            return replace(model, checkpoint_epoch=event.epoch, checkpoint_step=event.step)
        case happened.ModelCompleted():
            parameters = model.parameters if event.parameters is None else event.parameters
            done = replace(
                model,
                path=event.path,
                exact=event.exact,
                parameters=parameters,
                eta_seconds=0.0,
                baseline=happened.finite(event.baseline),
            )
            if event.best_epoch is None:
                test = {name: value for name, value in event.metrics.items() if name.startswith(TEST)}
                return replace(done, metrics={**model.metrics, **happened.finite(test)}) if test else done
            # Report the saved (best) epoch's figures, not the last epoch's.
            return replace(
                done,
                best_epoch=event.best_epoch,
                metrics={**model.metrics, **happened.finite(event.metrics)},
            )
        case happened.ModelFailed():
            failure = Failure(
                model=event.model,
                index=event.index,
                attempt=event.attempt,
                kind=event.kind,
                message=event.message,
                traceback=event.traceback,
                time=event.time,
                epoch=model.epoch,
            )
            # A model that diverges leaves its group and continues alone, from another step.
            group = None if event.kind == "diverged" else model.group
            return replace(model, failures=(*model.failures, failure), worker=None, group=group)
        case happened.ModelRetried():
            retried = replace(
                model,
                attempt=event.attempt,
                epoch=event.from_epoch,
                diverged=False,
                learning_rate_factor=event.learning_rate_factor,
            )
            if event.rollbacks is None:
                return retried
            rollback = event.rollback
            if rollback is None:
                return replace(retried, rollbacks=event.rollbacks, rollback=None)
            # Later checkpoints are discarded.
            return replace(
                retried,
                rollbacks=event.rollbacks,
                rollback=rollback,
                checkpoint_epoch=event.from_epoch,
                checkpoint_step=rollback.step,
            )
    return model


def _timed(model: ModelState, run_seconds: float) -> ModelState:
    """`model` with its stopwatch started or stopped, according to its phase."""
    since = model.active_since
    if model.phase.is_active == (since is not None):
        return model
    if since is None:
        return replace(model, seconds=model.seconds or 0.0, active_since=run_seconds)
    return replace(model, seconds=(model.seconds or 0.0) + max(0.0, run_seconds - since), active_since=None)
