"""The one owned state of a live run: every change is an event, and every event is applied, then written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from forge_tui.progress import events as happened
from forge_tui.progress.phases import RunState, TrainingPhase
from forge_tui.progress.snapshot import ModelState, RunInfo, apply, apply_to_run
from forge_tui.runs.store import RunStore


class Journal:
    """Applies events to the run's record and its models and hands both to the store."""

    def __init__(
        self,
        store: RunStore,
        info: RunInfo,
        models: Iterable[ModelState],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self.clock = clock
        self.info = info
        self.models = {model.index: model for model in models}

    def record(self, event: happened.Event) -> None:
        """Take in one event."""
        if isinstance(event, happened.ModelEvent):
            model = apply(self.models[event.index], event)
            self.models[event.index] = model
            self._store.append(event)
            self._store.put_model(model)
            return
        self._store.append(event)
        info = apply_to_run(self.info, event)
        if info is not self.info:
            self.put_info(info)

    def put_info(self, info: RunInfo) -> None:
        """Replace the run's own record."""
        self.info = info
        self._store.put_run(info)

    def run_state(self, state: RunState, reason: str | None = None) -> None:
        """Record a new state of the run."""
        self.record(happened.RunStateChanged(time=self.clock(), state=state, reason=reason))

    def phase(self, index: int, phase: TrainingPhase, reason: str | None = None) -> None:
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

    def finish(self, status: RunState, seconds: float) -> None:
        """Record the end of the run with what became of every model."""
        models = [
            {
                "name": model.name,
                "index": model.index,
                "path": model.path,
                "phase": model.phase,
                "loss": model.loss,
                "validation_loss": model.validation_loss,
                "validation_accuracy": model.validation_accuracy,
                "validation_perplexity": model.validation_perplexity,
                "attempts": model.attempt,
                "error": model.error.message if model.error else None,
            }
            for model in self.models.values()
        ]
        self.record(happened.RunFinished(time=self.clock(), status=status, seconds=seconds, models=models))
