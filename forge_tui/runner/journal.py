"""The state of a live run: every change is an event, and every event is applied, then written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from forge_tui.protocol import events as happened
from forge_tui.protocol.metrics import MOST_METRICS, Metric, old_keys
from forge_tui.protocol.model_state import Interner, ModelState, apply
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.protocol.run_info import RunInfo, apply_to_run, with_goals
from forge_tui.protocol.transitions import may_follow_model, may_follow_run
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.store import RunStore
from forge_tui.safe_io.printing import printable

if TYPE_CHECKING:
    from forge_tui.resources.policy import WorkerLimit


class Journal:
    """Applies events to the run's record and its models, and passes both to the store."""

    def __init__(
        self,
        store: RunStore,
        info: RunInfo,
        models: Iterable[ModelState],
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` (UNIX seconds) dates events, `monotonic` (seconds) measures durations."""
        self._store = store
        self.clock = clock
        self._monotonic, self._begun = monotonic, monotonic()
        self.info = info
        self.models = {model.index: model for model in models}
        self._declared = {metric["name"] for metric in info.metrics if isinstance(metric.get("name"), str)}
        self._told_of_metrics = False
        self._interner = Interner()
        store.measure(self.seconds)

    def seconds(self) -> float:
        """The age of the run, without the time between an end and a resume. Callable from any thread."""
        return self.info.seconds_before + self._monotonic() - self._begun

    def record(self, event: happened.Event) -> None:
        """Record an event. A change that the state machines do not allow is left out, with a warning."""
        wrong = self._impossible(event)
        if wrong is not None:
            self.warn("transition", f"{wrong}: left out; please report this")
            return
        if isinstance(event, happened.PhaseChanged | happened.RunFinished):
            event = replace(event, run_seconds=self.seconds())
        if isinstance(event, happened.EpochFinished) and not event.metrics.keys() <= self._declared:
            event = self._within_limit(event)
            self._declared |= event.metrics.keys()
            self.put_info(apply_to_run(self.info, event))
        if isinstance(event, happened.ModelEvent):
            model = apply(self.models[event.index], event, self._interner)
            self.models[event.index] = model
            self._store.append(event)
            self._store.put_model(model)
            return
        self._store.append(event)
        info = apply_to_run(self.info, event)
        if info is not self.info:
            self.put_info(info)

    def _within_limit(self, event: happened.EpochFinished) -> happened.EpochFinished:
        """The event without those of its metrics that are more than a run may have; the first ones are reported."""
        new = [name for name in event.metrics if name not in self._declared]
        left_out = new[max(0, MOST_METRICS - len(self._declared)) :]
        if not left_out:
            return event
        if not self._told_of_metrics:
            self._told_of_metrics = True
            self.warn(
                "metrics",
                f"a run has at most {MOST_METRICS} different metrics: {printable(left_out[0])} of {event.model}, and "
                "all others that are new from now on, are left out",
            )
        kept = {name: value for name, value in event.metrics.items() if name not in left_out}
        return replace(event, metrics=kept)

    def declare(self, metrics: Sequence[Metric]) -> None:
        """A training function says which value of a metric is better."""
        new = [metric for metric in metrics if metric.name not in self._declared]
        beyond = {metric.name for metric in new[max(0, MOST_METRICS - len(self._declared)) :]}
        metrics = [metric for metric in metrics if metric.name not in beyond]
        self._declared |= {metric.name for metric in metrics}
        info = with_goals(self.info, metrics)
        if info.metrics != self.info.metrics:
            self.put_info(info)

    def _impossible(self, event: happened.Event) -> str | None:
        if isinstance(event, happened.PhaseChanged):
            before, after = self.models[event.index].phase, TrainingPhase(event.phase)
            if not may_follow_model(before, after):
                return f"{event.model} cannot become {after} from {before}"
        elif isinstance(event, happened.RunStateChanged | happened.RunFinished):
            state = RunState(event.state if isinstance(event, happened.RunStateChanged) else event.status)
            # A waiting run reports what it waits for; no other state may repeat.
            if not may_follow_run(self.info.state, state) and not self.info.state is state is RunState.QUEUED:
                return f"the run cannot become {state} from {self.info.state}"
        return None

    def put_info(self, info: RunInfo) -> None:
        """Replace the run's own record."""
        self.info = info
        self._store.put_run(info)

    def run_state(self, state: RunState, reason: str | None = None) -> None:
        """Record a new state of the run."""
        self.record(happened.RunStateChanged(time=self.clock(), state=state, reason=reason))

    def phase(self, index: int, phase: TrainingPhase, reason: str | None = None, *, pruned: bool = False) -> None:
        """Record a new phase of a model."""
        model = self.models[index]
        self.record(
            happened.PhaseChanged(
                time=self.clock(),
                model=model.name,
                index=index,
                attempt=model.attempt,
                phase=phase,
                previous=model.phase,
                reason=reason,
                pruned=pruned,
            )
        )

    def decide(self, kind: str, reason: str) -> None:
        """Record a decision of the runner with its reason."""
        self.record(happened.Decision(time=self.clock(), kind=kind, reason=reason))

    def warn(self, kind: str, message: str, value: float | None = None, threshold: float | None = None) -> None:
        """Record a warning."""
        self.record(
            happened.ResourceWarned(time=self.clock(), kind=kind, message=message, value=value, threshold=threshold)
        )

    def limit(self, limit: WorkerLimit) -> None:
        """Record how many workers may run from now on, and why."""
        self.record(
            happened.WorkerLimited(
                time=self.clock(),
                requested=limit.requested,
                workers=limit.workers,
                policy=limit.policy,
                reason=limit.reason,
                limited_by=limit.limited_by,
                hint=limit.hint,
            )
        )

    def resources(self, sample: Mapping[str, Any]) -> None:
        """Keep a sample of the machine with the run."""
        self._store.add_resources(sample)

    @property
    def store_problem(self) -> str | None:
        """Why nothing is being written now, or None."""
        return self._store.problem

    @property
    def is_gone(self) -> bool:
        """Whether the database was deleted or replaced."""
        return self._store.is_gone

    def move(self, directory: RunDirectory) -> None:
        """Continue writing in the moved run directory, and record its place."""
        self._store.move(directory.database)
        self.put_info(replace(self.info, path=str(directory.path)))

    def finish(self, status: RunState, seconds: float) -> None:
        """Record the end of the run with the result of every model."""
        models = [
            {
                "name": model.name,
                "index": model.index,
                "path": model.path,
                "phase": model.phase,
                "metrics": model.metrics,
                **old_keys(model.metrics, at_the_end=True),
                "attempts": model.attempt,
                "error": model.error.message if model.error else None,
            }
            for model in self.models.values()
        ]
        self.record(happened.RunFinished(time=self.clock(), status=status, seconds=seconds, models=models))
