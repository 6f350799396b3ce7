"""The record of a run, and how events change it. Immutable."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from forge_tui.protocol.metrics import AUTO, Metric, Metrics, MetricTable
from forge_tui.protocol.phases import RunState
from forge_tui.protocol.record_fields import check_record

if TYPE_CHECKING:
    from forge_tui.protocol import events as happened


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
    (`training.train`); `command`: the command (`run.command`); `search`: what proposes configs (`search.method`).
    `epochs` is None where only a command knows them. `energy`: what it has used so far, over all attempts
    (`protocol.energy`); None: written by an older version.
    """

    run: str
    path: str
    mode: str
    policy: str
    model_type: str
    models: int
    epochs: int | None
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
    command: tuple[str, ...] = ()
    search: str = "none"
    moved: dict[str, str] = field(default_factory=dict)
    energy: dict[str, Any] | None = None

    @property
    def has_custom_loop(self) -> bool:
        """Whether a training function or a command trains its models: it may leave epochs out, and repeat some."""
        return self.train != "none" or bool(self.command)

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
        values["command"] = tuple(values.get("command", ()))
        return cls(**values)


_RUN_FIELDS = frozenset(item.name for item in dataclasses.fields(RunInfo))


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
