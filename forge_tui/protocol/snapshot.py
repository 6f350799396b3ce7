"""The state of a run at one moment, which every front end shows, and how events change it.

Everything here is immutable: two snapshots share the records of the models that did not change between them.
"""

from __future__ import annotations

import dataclasses
import math
import operator
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from forge_tui.protocol.metrics import (
    AUTO,
    Measured,
    Metric,
    Metrics,
    MetricTable,
    declared_metrics,
    metrics_of,
    old_keys,
)
from forge_tui.protocol.phases import RunState, TrainingPhase
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelState(Measured):
    """The state of one model. Unknown is None; `diverged` is set if the loss is NaN or infinite.

    `metrics`: of the newest epoch; of a completed model those of its saved weights.
    `combination`: its own values of `[sweep]`, by the settings' short names. `rollbacks`: number of rollbacks after a
    divergence; `rollback`: the last one, if it is not over. `seconds`: how long workers were busy with it, up to
    `active_since` if one is now: seconds of the run (`Snapshot.elapsed_seconds`). Both are measured by the runner's
    monotonic clock, and None in older runs. `exact` is None without weights to compare.
    """

    name: str
    index: int
    seed: int
    epochs: int
    phase: TrainingPhase = TrainingPhase.QUEUED
    reason: str | None = None
    attempt: int = 1
    epoch: int = 0
    step: int = 0
    metrics: Metrics = field(default_factory=dict)
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
    pruned: bool = False
    exact: bool | None = True
    trend: tuple[float | None, ...] = ()
    failures: tuple[Failure, ...] = ()

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
        return self.phase is TrainingPhase.COMPLETED and self.epoch < self.epochs

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

    def group(self, group: Sequence[str] | None) -> tuple[str, ...] | None:
        """`group` as a tuple, or the last one if that is equal."""
        if group is None:
            return None
        members = tuple(group)
        if members != self._group:
            self._group = members
        return self._group


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """The run itself: its description, its state, and what the resource rules allow it.

    `resumed` is when it was last resumed, `seconds_before` how long it had run until then. `key` is the random key of
    the run in this user's state directory; `code` the SHA-256 of each file of custom code by its path under `code/`,
    `code_roots` the directories that those paths stand for, and `code_modules` the versions of installed modules that
    the settings name (`runs.code`); `data` the fingerprint of the data (`sha256`, `rows`, `split_sha256`, and for
    files what shows whether they were touched).
    `changes_accepted`: how often a resume continued with changed data or code. `moved`: new places of paths in the
    settings, after the project was moved (`runs.moved`).
    `seconds`: duration of an ended run, by its runner's monotonic clock. `metrics`: the declaration of each recorded
    metric (`protocol.metrics`), `select_by` the one that ranks models. `train`: the training function
    (`training.train`).
    """

    run: str
    path: str
    mode: str
    policy: str
    model_type: str
    models: int
    epochs: int
    state: RunState = RunState.QUEUED
    reason: str | None = None
    created: float
    started: float | None = None
    finished: float | None = None
    resumed: float | None = None
    seconds_before: float = 0.0
    seconds: float | None = None
    host: str = ""
    runner: int | None = None
    user: str = ""
    workers: int = 1
    requested: int = 1
    limited_by: str = "none"
    limit_reason: str = ""
    limit_hint: str | None = None
    threads: int = 1
    fuse: int = 1
    device: str = "cpu"
    working_directory: str = ""
    version: str = ""
    settings_sha256: str = ""
    key: str = ""
    code: dict[str, str] = field(default_factory=dict)
    code_roots: dict[str, str] = field(default_factory=dict)
    code_modules: dict[str, str] = field(default_factory=dict)
    data: dict[str, Any] | None = None
    changes_accepted: int = 0
    metrics: tuple[dict[str, Any], ...] = ()
    select_by: str = AUTO
    train: str = "none"
    moved: dict[str, str] = field(default_factory=dict)

    @property
    def has_training_function(self) -> bool:
        """Whether a custom training loop trains its models: it may leave epochs out, and repeat single ones."""
        return self.train != "none"

    def seconds_until(self, moment: float) -> float:
        """Its age at `moment` (UNIX seconds), or when it finished, by the wall clock.

        For runs whose runner did not measure it.
        """
        begun = self.started if self.resumed is None else self.resumed
        if begun is None:
            return 0.0
        return self.seconds_before + max(0.0, (moment if self.finished is None else self.finished) - begun)

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict of the record."""
        return {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> RunInfo:
        """The run of a record; unknown keys are ignored. Raises as `ModelState.from_record`."""
        check_record(record, cls)
        values = {key: value for key, value in record.items() if key in _RUN_FIELDS}
        values["state"] = RunState(values["state"])
        values["metrics"] = tuple(values.get("metrics", ()))
        return cls(**values)


TREND_LENGTH = 24
# Cached: needed for every record, 500 times per snapshot of a large run.
_MODEL_NAMES = tuple(item.name for item in dataclasses.fields(ModelState))
_MODEL_FIELDS = frozenset(_MODEL_NAMES)
_model_values = operator.attrgetter(*_MODEL_NAMES)
_RUN_FIELDS = frozenset(item.name for item in dataclasses.fields(RunInfo))


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
        case happened.ModelStarted():
            return replace(
                model,
                attempt=event.attempt,
                config=interner.config(event.config),
                seed=event.seed,
                parameters=event.parameters,
                worker=event.worker,
                device=event.device,
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
                trend=(*model.trend[-TREND_LENGTH + 1 :], loss),
            )
        case happened.CheckpointSaved():
            return replace(model, checkpoint_epoch=event.epoch, checkpoint_step=event.step)
        case happened.ModelCompleted():
            parameters = model.parameters if event.parameters is None else event.parameters
            done = replace(model, path=event.path, exact=event.exact, parameters=parameters, eta_seconds=0.0)
            if event.best_epoch is None:
                return done
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


def _with_declared(run: RunInfo, metrics: Metrics) -> RunInfo:
    """`run` with the declarations of newly recorded metrics."""
    declared = {record.get("name") for record in run.metrics}
    if metrics.keys() <= declared:
        return run
    table = MetricTable()
    new = (table[name].to_record() for name in metrics if name not in declared)
    return replace(run, metrics=(*run.metrics, *new))


def with_goals(run: RunInfo, declared: Sequence[Metric]) -> RunInfo:
    """`run` with metrics that a training function has declared: of those that are there already the goal is taken."""
    new = {metric.name: metric.to_record() for metric in declared}
    kept = [new.pop(str(record.get("name")), record) for record in run.metrics]
    return replace(run, metrics=(*kept, *new.values()))


def apply_to_run(run: RunInfo, event: happened.Event) -> RunInfo:
    """The run's own record after `event`."""
    from forge_tui.protocol import events as happened

    match event:
        case happened.RunStarted():
            return replace(run, started=event.time)
        case happened.RunStateChanged():
            state = RunState(event.state)
            if state.is_live:
                return replace(run, state=state, reason=event.reason, finished=None, seconds=None)
            return replace(run, state=state, reason=event.reason)
        case happened.WorkerLimited():
            return replace(
                run,
                workers=event.workers,
                requested=event.requested,
                limited_by=event.limited_by,
                limit_reason=event.reason,
                limit_hint=event.hint,
            )
        case happened.EpochFinished():
            return _with_declared(run, event.metrics)
        case happened.RunFinished():
            return replace(run, state=RunState(event.status), finished=event.time, seconds=event.run_seconds)
    return run


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A run and all its models at one moment (`time`, UNIX seconds).

    `eta_seconds` is the time until the last model ends, None while unknown. `age` is the age of the data (seconds
    since the runner last wrote, at `written`, UNIX seconds). `seconds` is the measured duration of the run so far, or
    None. `problems` says in words what could not be read.
    """

    run: RunInfo
    models: tuple[ModelState, ...]
    state: RunState
    revision: int
    time: float
    age: float = 0.0
    written: float | None = None
    seconds: float | None = None
    eta_seconds: float | None = None
    problems: tuple[str, ...] = ()

    @cached_property
    def metrics(self) -> MetricTable:
        """The metrics of the run, declared and recorded."""
        config = next((model.config for model in self.models if "metric" in model.config), None)
        return MetricTable(declared_metrics(self.run.metrics, config), self.run.select_by)

    @cached_property
    def counts(self) -> Counter[TrainingPhase]:
        """How many models are in each phase."""
        return Counter(model.phase for model in self.models)

    @property
    def completed(self) -> int:
        """How many models are completed."""
        return self.counts[TrainingPhase.COMPLETED]

    @cached_property
    def pruned(self) -> int:
        """How many models halving stopped because others were better."""
        return sum(model.pruned for model in self.models)

    @property
    def failed(self) -> int:
        """How many models have failed for good."""
        return self.counts[TrainingPhase.FAILED]

    @cached_property
    def overall_percent(self) -> float:
        """Mean percentage of the models' epochs that are done, 0–100."""
        return sum(model.percent for model in self.models) / len(self.models) if self.models else 0.0

    @property
    def elapsed_seconds(self) -> float:
        """Duration of the run so far, or in all (seconds), without the time between an end and a resume."""
        if self.seconds is not None:
            return self.seconds
        # A run that died ended with its last sign of life.
        return self.run.seconds_until(self.time - (0 if self.state.is_live else self.age))

    @property
    def runner_time(self) -> float:
        """When it was taken, by the clock that dates the run's events (UNIX seconds): clocks are reset, and differ."""
        return self.time if self.written is None else self.written + self.age

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The last failure of every model that failed for good, the earliest first."""
        found = [model.error for model in self.models if model.error is not None]
        return tuple(sorted(found, key=lambda failure: failure.time or 0.0))

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict: the run's own record, its state, and `models`."""
        about = self.run.to_record()
        del about["key"]  # private to the user's state directory
        return {
            **about,
            "state": self.state.value,
            "time": self.time,
            "age": self.age,
            "overall_percent": self.overall_percent,
            "elapsed_seconds": self.elapsed_seconds,
            "eta_seconds": self.eta_seconds,
            "completed": self.completed,
            "failed": self.failed,
            "problems": list(self.problems),
            "models_total": len(self.models),
            "models": [{**model.to_record(), **old_keys(model.metrics)} for model in self.models],
        }
