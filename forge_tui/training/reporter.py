"""Reports the events of one model."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from forge_tui.protocol.epoch_record import EpochRecord
from forge_tui.protocol.events import (
    CheckpointSaved,
    EpochFinished,
    Event,
    ModelCompleted,
    ModelRetried,
    ModelStarted,
    PhaseChanged,
    ResourceWarned,
)
from forge_tui.protocol.job import Job
from forge_tui.protocol.metrics import Metrics
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.protocol.rollback import Rollback


class Reporter:
    """Adds name, index, attempt and time to each event, and tracks the model's phase."""

    def __init__(self, job: Job, emit: Callable[[Event], None]) -> None:
        self._job = job
        self._emit = emit
        self._about: dict[str, Any] = {"model": job.model, "index": job.index, "attempt": job.attempt}
        self._phase = TrainingPhase.QUEUED
        self._recorded = job.epochs_recorded

    def enter(self, phase: TrainingPhase, reason: str | None = None) -> None:
        """Report a new phase of the model."""
        if self.is_done:
            return
        previous, self._phase = self._phase, phase
        if previous is phase and reason is None:
            return
        self._emit(
            PhaseChanged(time=time.time(), phase=phase.value, previous=previous.value, reason=reason, **self._about)
        )

    @property
    def is_done(self) -> bool:
        """Whether the model was reported as completed."""
        return self._phase is TrainingPhase.COMPLETED

    def started(
        self, config: dict[str, Any], parameters: int | None, step: int, group: list[str] | None = None
    ) -> None:
        """Report that training begins, or continues from `step`."""
        self._emit(
            ModelStarted(
                time=time.time(),
                config=config,
                seed=self._job.seed,
                parameters=parameters,
                worker=os.getpid(),
                device=self._job.device,
                threads=self._job.threads,
                step=step,
                group=group,
                **self._about,
            )
        )

    def epoch(
        self,
        record: EpochRecord,
        *,
        epochs: int | None,
        best_loss: float | None,
        steps_per_second: float | None = None,
        eta_seconds: float | None = None,
    ) -> None:
        """Report an epoch. Its speed is not part of the model's history."""
        speed = {} if steps_per_second is None else {"steps_per_second": steps_per_second}
        self._emit(
            EpochFinished(
                time=time.time(),
                epoch=record.epoch,
                epochs=epochs,
                step=record.step,
                metrics={**record.metrics, **speed},
                best_loss=best_loss,
                seconds=record.seconds,
                eta_seconds=eta_seconds,
                **self._about,
            )
        )

    def unrecorded(self, history: Sequence[EpochRecord], epochs: int) -> None:
        """Report epochs that the run's history lacks, because the runner was killed before it wrote them."""
        recorded = self._recorded
        best: float | None = None
        for record in history:
            if (loss := record.metrics.get("loss")) is not None:
                best = loss if best is None else min(best, loss)
            if recorded is not None and record.epoch > recorded:
                self.epoch(record, epochs=epochs, best_loss=best)

    def checkpoint(self, path: Path, *, epoch: int, step: int, seconds: float) -> None:
        """Report a saved checkpoint."""
        self._emit(
            CheckpointSaved(
                time=time.time(),
                epoch=epoch,
                step=step,
                path=str(path),
                bytes=path.stat().st_size,
                seconds=seconds,
                **self._about,
            )
        )

    def completed(
        self,
        stem: Path,
        *,
        metrics: Metrics,
        seconds: float | None,
        exact: bool | None,
        best_epoch: int | None,
        reason: str | None,
        parameters: int | None = None,
        baseline: Metrics | None = None,
    ) -> None:
        """Report the finished model's files. `reason`: why it has not trained all its epochs, if so."""
        self._emit(
            ModelCompleted(
                time=time.time(),
                path=str(stem),
                metrics=metrics,
                seconds=seconds,
                exact=exact,
                best_epoch=best_epoch,
                parameters=parameters,
                baseline=baseline or {},
                **self._about,
            )
        )
        self.enter(TrainingPhase.COMPLETED, reason)

    def rolled_back(
        self, from_epoch: int, reason: str, *, factor: float, rollbacks: int, rollback: Rollback | None
    ) -> None:
        """Report a rollback that the run's record lacks.

        Recorded epochs may be from before it: `unrecorded` reports all of them again.
        """
        if self._recorded is not None:
            self._recorded = 0
        self._emit(
            ModelRetried(
                time=time.time(),
                from_epoch=from_epoch,
                reason=reason,
                learning_rate_factor=factor,
                rollbacks=rollbacks,
                to_step=rollback.step if rollback else None,
                diverged_epoch=rollback.diverged_epoch if rollback else None,
                loss_to_beat=rollback.loss if rollback else None,
                **self._about,
            )
        )

    def warn(self, kind: str, message: str) -> None:
        """Report a warning."""
        self._emit(ResourceWarned(time=time.time(), kind=kind, message=message))
