"""The state of a run and its models at one moment, which every front end shows.

Two snapshots share the records of the models that did not change between them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from forge_tui.protocol.label import NO_LABEL, Label
from forge_tui.protocol.metrics import MetricTable, declared_metrics, old_keys
from forge_tui.protocol.model_state import Failure, ModelState
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.protocol.run_info import RunInfo


@dataclass(frozen=True, kw_only=True, repr=False)
class Snapshot:
    """A run and all its models at one moment (`time`, UNIX seconds).

    `eta_seconds` is the time until the last model ends, None while unknown. `age` is the age of the data (seconds
    since the runner last wrote, at `written`, UNIX seconds). `seconds` is the measured duration of the run so far, or
    None. `problems` says in words what could not be read. `label` has the name and the note that a user gave the run.
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
    label: Label = NO_LABEL

    def __repr__(self) -> str:
        models = f"{self.completed} of {len(self.models)} models completed"
        return f"<Snapshot of run {self.run.run!r}: {self.state}, {models}, {self.overall_percent:.0f} %>"

    @property
    def title(self) -> str:
        """What people call the run: its name if it has one, else its id."""
        return self.label.name or self.run.run

    @property
    def heading(self) -> str:
        """Name and id, for the head of a report: `baseline (20261123-150210-planner)`; without a name the id."""
        return f"{self.label.name} ({self.run.run})" if self.label.name else self.run.run

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
            "name": self.label.name,
            "note": self.label.note,
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
