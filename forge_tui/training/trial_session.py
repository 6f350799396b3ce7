"""The implementation of a trial: reports, checkpoints, stops and rungs of one attempt."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from forge_tui.errors import RunDirectoryError, TrialError, TrialStopped
from forge_tui.protocol.events import Event
from forge_tui.protocol.job import Control, Job, rung_passed
from forge_tui.protocol.metrics import MOST_METRICS, Metric
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.protocol.reported import checked_goals, plain_metrics, whole
from forge_tui.settings.schema import from_plain
from forge_tui.training.attached_files import Files
from forge_tui.training.departures import AtRung
from forge_tui.training.failures import Diverged
from forge_tui.training.member import Member
from forge_tui.training.model_place import Publish, publish_here
from forge_tui.training.process import give_back_memory
from forge_tui.training.reported_epochs import no_epoch, no_measure
from forge_tui.training.saving import NEXT_IS_TRIED
from forge_tui.training.state import environment
from forge_tui.training.trial_files import TrialFiles, saved_weights
from forge_tui.training.trial_progress import TrialProgress

Declare = Callable[[Job, list[dict[str, Any]]], None]
"""Called with declarations of metrics (`Metric.to_record`), before the first report of each."""


class TrialSession:
    """One attempt at a model. `control` has the runner's requests; `is_over`: the function was stopped.

    `Trial` documents the methods that it has too.
    """

    def __init__(
        self,
        job: Job,
        emit: Callable[[Event], None],
        control: Control,
        at_rung: AtRung | None = None,
        declare: Declare | None = None,
        publish: Publish = publish_here,
    ) -> None:
        self.job = job
        self.settings = from_plain(job.settings)
        self.epochs = self.settings.training.length
        self.device = torch.device(job.device)
        self.member = Member(job, emit, publish)
        self.environment = environment(job.threads, self.device)
        self.files = TrialFiles(self.member, self.environment, self.device, self.settings.run.keep_checkpoints)
        self.progress = TrialProgress()
        self.progress.exact = job.exact
        self.weights: dict[str, Tensor] | None = None
        """The finished model's weights, if the function has saved some."""
        self.parameters: int | None = None
        self.is_over = False
        self._saw_stop = False
        self._control = control
        self._at_rung, self._declare = at_rung, declare
        self._saved_epoch = -1
        self._judged = 0
        self._names: set[str] = set()
        self._disk_problem: str | None = None
        self._since, self._paused = time.perf_counter(), 0.0
        self._carried = 0.0
        """Seconds of the epoch before its last checkpoint."""
        control.on_hold = self._hold

    def begin(self) -> None:
        """Start the clock: the function is called, or continues, now."""
        self._since, self._paused = time.perf_counter(), self._control.paused_seconds

    @property
    def has_stopped(self) -> bool:
        """Whether the function ended on request, before the model was finished."""
        return self.is_over or (self._saw_stop and self.progress.epoch < self.epochs)

    def directory(self) -> Path:
        return self.files.directory()

    def should_stop(self) -> bool:
        self._control.beats += 1
        asked = self._control.stop_asked_at is not None or self._control.is_asked_to_leave(self.job.index)
        self._saw_stop = self._saw_stop or asked
        return asked

    def report(
        self,
        metrics: Mapping[str, Any],
        more: Mapping[str, Any],
        *,
        epoch: int | None,
        step: int | None,
        goal: Mapping[str, Any] | None,
        saves: bool = False,
    ) -> None:
        """`saves`: a checkpoint follows at once, which is what a stop waits for."""
        self._require_open()
        found, goals = plain_metrics(metrics, more), checked_goals(goal)
        epoch = self._epoch_of_report(epoch)
        step = self.progress.step if step is None else whole(step, "step", 0)
        self._take_names(found)
        self._take_goals(goals)
        self._report_epoch(epoch, step, found)
        loss = found.get("loss")
        if loss is not None and not math.isfinite(loss):
            raise Diverged(f"the loss of epoch {epoch} is {loss}", epoch)
        self._ask_at_rung(epoch, found)
        if not self._control.may_continue() and not saves and self._ends_without_checkpoint(epoch):
            self._stop()
        if self._control.is_asked_to_leave(self.job.index):
            self._stop()

    def checkpoint(self, state: Any, epoch: int | None, files: Files = ()) -> bool:
        self._require_open()
        self._control.beats += 1
        epoch = self.progress.epoch if epoch is None else whole(epoch, "epoch", 0)
        self._carried += self._pass_time()
        is_saved = self._save(state, epoch, files)
        self._saved_epoch = epoch
        if not self._control.may_continue() or self._control.is_asked_to_leave(self.job.index):
            self._stop()
        self.begin()  # an epoch's time does not include the disk
        return is_saved

    def restore(self) -> Any:
        self._require_open()
        found = self.files.newest()
        if found is None:
            return None
        state, self.progress = self.files.load(found)
        self.progress.exact = self.progress.exact and self.job.exact
        if not self.member.continues_alike(found.record.get("environment", {}), self.environment):
            self.progress.exact = False
        self._names = self.progress.names()
        self._saved_epoch = found.epoch
        self._judged = self.progress.epoch
        self._take_goals(list(self.progress.goals.values()), again=True)
        self.member.report.unrecorded(self.progress.history(), self.epochs)
        self.begin()
        return state

    def save(self, model: Any) -> None:
        self._require_open()
        self.weights, self.parameters = saved_weights(model)

    def move(self) -> bool:
        """Use the run directory's new place; returns whether it was moved since the last call."""
        directory = self._control.take_move()
        if directory is None:
            return False
        self.member.move(Path(directory))
        return True

    # --- reports

    def _epoch_of_report(self, epoch: int | None) -> int:
        if epoch is None and self.settings.run.halving is not None:
            raise no_epoch("trial.report(…, epoch=n)")
        self.progress.reports += 1
        return self.progress.reports if epoch is None else whole(epoch, "epoch", 1)

    def _take_names(self, metrics: Mapping[str, float]) -> None:
        self._names |= metrics.keys()
        if len(self._names) > MOST_METRICS:
            raise TrialError(f"{len(self._names)} different metrics are reported; at most {MOST_METRICS} are kept")

    def _take_goals(self, goals: list[Metric], *, again: bool = False) -> None:
        new = self.progress.declare(goals)
        told = goals if again else new
        if told and self._declare is not None:
            self._declare(self.job, [goal.to_record() for goal in told])

    def _report_epoch(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        seconds, self._carried = self._carried + self._pass_time(), 0.0
        record = self.progress.take(epoch, step, metrics, seconds)
        self.member.report.epoch(
            record,
            epochs=max(self.epochs, epoch),
            best_loss=self.progress.best_loss,
            eta_seconds=self.progress.seconds_left(self.epochs),
        )

    def _pass_time(self) -> float:
        """Seconds of training since this was last called, without pauses."""
        now, paused = time.perf_counter(), self._control.paused_seconds
        spent = max(0.0, now - self._since - (paused - self._paused))
        self._since, self._paused = now, paused
        return spent

    def _ask_at_rung(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """At the first report of a rung's epoch or later, ask the runner whether the model continues."""
        rung = rung_passed(self.job.rungs, self._judged, epoch)
        if rung is None or self._at_rung is None:
            return
        self._judged = epoch
        select_by = self.settings.training.select_by
        measure = self.progress.measure(metrics, select_by)
        if measure is None:
            raise no_measure("halving", select_by)
        self._at_rung(self.job, rung, measure)
        if not self._control.wait_for_verdict(self.job.index, rung):
            self._stop()

    # --- the end

    def _ends_without_checkpoint(self, epoch: int) -> bool:
        """Whether a requested stop does not wait for a checkpoint: this epoch has one, or none came in time."""
        asked = self._control.stop_asked_at
        is_late = asked is not None and time.monotonic() - asked >= self.settings.run.stop_seconds
        return epoch <= self._saved_epoch or is_late

    def _stop(self) -> None:
        self.is_over = True
        raise TrialStopped(f"{self.job.model} was asked to stop")

    def _require_open(self) -> None:
        """Raise `TrialStopped` again if the function caught it and continues."""
        if self.is_over:
            self._stop()

    def _hold(self, paused: bool) -> None:
        self.member.report.enter(TrainingPhase.PAUSED if paused else TrainingPhase.TRAINING)
        if paused:
            give_back_memory(self.device)

    def _save(self, state: Any, epoch: int, files: Files) -> bool:
        """Write a checkpoint; False if the disk fails, which is reported once, and training continues."""
        self.move()
        report = self.member.report
        report.enter(TrainingPhase.CHECKPOINTING)
        try:
            self.files.save(state, epoch, self.progress, files)
            self._disk_problem = None
        except RunDirectoryError as error:
            if self._disk_problem != str(error):
                self._disk_problem = str(error)
                report.warn(
                    "disk",
                    f"{self.job.model} has no checkpoint at epoch {epoch}: {error}; {NEXT_IS_TRIED}",
                )
            is_saved = False
        else:
            is_saved = True
        report.enter(TrainingPhase.TRAINING)
        return is_saved
