"""The events of a run: the JSON lines of `--json` and of `run.db`.

Durations are in seconds, times in UNIX seconds, memory in bytes, accuracy 0–1. Unknown is None.
NaN and infinity become null in JSON, with `"diverged": true`.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from forge_tui.protocol.metrics import Measured, Metrics, metrics_of, old_keys
from forge_tui.protocol.rollback import Rollback

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened in a run at `time`."""

    event: ClassVar[str]
    time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEvent(Event):
    """Something that happened to one model: its NAME, its index 1…N, and the attempt 1… it belongs to."""

    model: str
    index: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    event = "run_started"
    mode: str
    models: int
    epochs: int | None
    settings: str
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStateChanged(Event):
    event = "run_state_changed"
    state: str
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseChanged(ModelEvent):
    """`pruned`: halving ([run] halving) stopped the model because others were better.

    `run_seconds`: age of the run by its runner's monotonic clock; a worker leaves it out.
    """

    event = "phase_changed"
    phase: str
    previous: str
    reason: str | None = None
    pruned: bool = False
    run_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLimited(Event):
    event = "worker_limit"
    requested: int
    workers: int
    policy: str
    reason: str
    limited_by: str
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelProposed(ModelEvent):
    """A search gives the model its values, by the settings' short names. `trial`: the number of its config, from 1;
    `reason`: how they were chosen.
    """

    event = "model_proposed"
    trial: int
    combination: dict[str, Any]
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelValued(ModelEvent):
    """What a search takes as the model's result: the metric of `training.select_by` at its best `epoch`."""

    event = "model_valued"
    epoch: int
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStarted(ModelEvent):
    """`parameters`: None for a training function. `worker`: the engine's name for it, locally its process id;
    `place`: its `host` and `device`; on a GPU its UUID, of several with commas between. `device`: its name inside the
    worker, as torch has it.

    `step`: the one that it continues from; 0: the start.
    """

    event = "model_started"
    config: dict[str, Any]
    seed: int
    parameters: int | None
    worker: int | str | None
    device: str
    threads: int
    group: list[str] | None = None
    place: dict[str, Any] | None = None
    step: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochFinished(Measured, ModelEvent):
    """`metrics`: the epoch's metrics, with `loss` (NaN or infinite if the model diverged).

    `best_loss`: the lowest loss so far. `epochs` is None where only a command knows how many there will be.
    """

    event = "epoch_finished"
    epoch: int
    epochs: int | None
    step: int
    metrics: Metrics
    best_loss: float | None
    seconds: float | None = None
    eta_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSaved(ModelEvent):
    event = "checkpoint_saved"
    epoch: int
    step: int
    path: str
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCompleted(Measured, ModelEvent):
    """`best_epoch`: with early stopping, the epoch of the saved weights and of these metrics; None: the last.

    `baseline`: metrics, of the same names, of what the training targets alone predict; empty where it is unknown.
    `path`: the path of its files without suffix; for a training function without saved weights the model's own
    directory, and `exact` and `parameters` are None.
    """

    event = "model_completed"
    path: str
    metrics: Metrics = field(default_factory=dict)
    seconds: float | None = None
    exact: bool | None = True
    best_epoch: int | None = None
    parameters: int | None = None
    baseline: Metrics = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFailed(ModelEvent):
    """`kind`: exception, signal, out_of_memory, hang, diverged, changed, exit, node_lost or device_lost."""

    event = "model_failed"
    kind: str
    message: str
    traceback: str | None = None
    will_retry: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRetried(ModelEvent):
    """`learning_rate_factor`: factor on the configured learning rate from here on, after a divergence.

    After a divergence also `rollbacks`, the number of rollbacks so far, and the fields of `protocol.rollback`
    (`to_step`, `diverged_epoch`, `loss_to_beat`; `to_step` is None when the rollback is over).
    """

    event = "model_retried"
    from_epoch: int
    reason: str
    learning_rate_factor: float = 1.0
    rollbacks: int | None = None
    to_step: int | None = None
    diverged_epoch: int | None = None
    loss_to_beat: float | None = None

    @property
    def rollback(self) -> Rollback | None:
        """The model's rollback from here on, None if there is none."""
        if self.to_step is None:
            return None
        return Rollback(step=self.to_step, diverged_epoch=self.diverged_epoch or 0, loss=self.loss_to_beat)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceWarned(Event):
    event = "resource_warning"
    kind: str
    message: str
    value: float | None = None
    threshold: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Event):
    """`kind`: plan, admit, hold, shrink, grow, group, threads, place, requeue or prune."""

    event = "decision"
    kind: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandAnswered(Event):
    """`outcome`: accepted or refused, then done or failed."""

    event = "command"
    id: str
    name: str
    arguments: dict[str, Any]
    sender: str
    outcome: str
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    """`models`: per model `name`, `index`, `path`, `phase`, `loss`, `validation_*`, `attempts`, `error`.

    `seconds`: training time since the start or the resume; `run_seconds`: age of the run, as in `PhaseChanged`.
    """

    event = "run_finished"
    status: str
    seconds: float
    models: list[dict[str, Any]]
    run_seconds: float | None = None


KINDS: dict[str, type[Event]] = {
    kind.event: kind
    for kind in (
        RunStarted, RunStateChanged, PhaseChanged, WorkerLimited, ModelProposed, ModelStarted, EpochFinished,
        CheckpointSaved, ModelValued, ModelCompleted, ModelFailed, ModelRetried, ResourceWarned, Decision,
        CommandAnswered, RunFinished,
    )
}  # fmt: skip

# `from` is a Python keyword: the field is `sender` in Python and `from` in JSON.
_JSON_NAMES = {"sender": "from"}
_MODEL_FIELDS = ("model", "index", "attempt")


def _field_names(kind: type[Event]) -> tuple[tuple[str, str], ...]:
    names = [field.name for field in dataclasses.fields(kind) if field.name not in ("time", *_MODEL_FIELDS)]
    if issubclass(kind, ModelEvent):
        names = [*_MODEL_FIELDS, *names]
    return tuple((name, _JSON_NAMES.get(name, name)) for name in names)


_FIELDS = {kind: _field_names(kind) for kind in KINDS.values()}
_MEASURED = (EpochFinished, ModelCompleted)


def _finite_metric(value: float | None) -> float | None:
    """A metric as JSON has it: a number or None."""
    return value if value is None or value - value == 0.0 else None


def finite(value: Any) -> Any:
    """`value` with every NaN and infinity replaced by None: JSON has neither."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def to_record(event: Event, run: str) -> dict[str, Any]:
    """The event as a JSON-able dict: `v`, `event`, `time`, `run`, then its own fields."""
    record: dict[str, Any] = {"v": VERSION, "event": event.event, "time": event.time, "run": run}
    diverged = False
    for name, key in _FIELDS[type(event)]:
        value = getattr(event, name)
        kind = type(value)
        if kind is float:
            if not math.isfinite(value):
                value, diverged = None, True
        elif name == "metrics":
            given, value = value, {metric: _finite_metric(number) for metric, number in value.items()}
            diverged = diverged or given != value
        elif kind is dict or kind is list:
            value = finite(value)
        record[key] = value
    if diverged:
        record["diverged"] = True
    if "metrics" in record:
        record |= old_keys(record["metrics"], at_the_end=type(event) is ModelCompleted)
    return record


def from_record(record: dict[str, Any]) -> Event:
    """The event of a record. Unknown keys are ignored: a newer version may have added them.

    Raises `ValueError` for an unknown event and for a missing field.
    """
    kind = KINDS.get(str(record.get("event")))
    if kind is None:
        raise ValueError(f"unknown event {record.get('event')!r}")
    values: dict[str, Any] = {}
    for name, key in (("time", "time"), *_FIELDS[kind]):
        if key in record:
            values[name] = record[key]
    if kind in _MEASURED:
        metrics = values["metrics"] = dict(metrics_of(record))
        if record.get("diverged") is True and metrics.get("loss", 0.0) is None:
            metrics["loss"] = math.nan
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"incomplete event {kind.event}: {error}") from None


def encode(event: Event, run: str) -> str:
    """The event as one line of JSON, without the newline. Lone surrogates (invalid UTF-8 output) become `?`."""
    line = json.dumps(to_record(event, run), ensure_ascii=False, separators=(",", ":"))
    return line.encode("utf-8", "replace").decode()
