"""Trains one model, or a group of similar models in step: the loop over epochs."""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from forge_tui.protocol.epoch_record import EpochRecord
from forge_tui.protocol.events import Event
from forge_tui.protocol.job import Control, Job, Outcome
from forge_tui.protocol.metrics import Metrics, table_of
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.protocol.run_data import Fingerprint
from forge_tui.settings.schema import from_plain
from forge_tui.training.checkpoint import Checkpoint
from forge_tui.training.data.dataset import Dataset
from forge_tui.training.data.load import load_dataset
from forge_tui.training.data.unchanged import require_same, require_untouched
from forge_tui.training.departures import AtRung, Departures
from forge_tui.training.final_figures import FinalMeasurement
from forge_tui.training.kernel_choice import NATIVE, Kernel, choose_kernel, kernel_before, new_state
from forge_tui.training.member import Member
from forge_tui.training.members import Left, Members
from forge_tui.training.metadata import config_record
from forge_tui.training.model_place import Publish, publish_here
from forge_tui.training.models.network import count_parameters
from forge_tui.training.optimizers import Rates
from forge_tui.training.own_code import NONE, load_own_code
from forge_tui.training.patience import exceeds_patience
from forge_tui.training.placed_data import PlacedData
from forge_tui.training.process import give_back_memory, prepare_process
from forge_tui.training.resuming import encoder_of, newest_checkpoints, note_where_from
from forge_tui.training.saving import Saving
from forge_tui.training.state import TrainingState, environment

_RECENT_EPOCHS = 20


class Trainer:
    """One attempt at one model, or at a group of similar models; used once, in a separate process.

    It continues from the newest checkpoint that verifies, for a group from the newest step that verifies for all, and
    gives the same bytes as without an interruption. `emit` is called with every event, those of checkpoints in the
    writing thread; `control` is checked before every step. `left` is called with a model that leaves its group early
    and the error that ended it, None for one that was cancelled or is completed. `at_rung` gets a model's epoch at a
    rung and its measure there; `control` then gets the verdict. `publish` gives finished models their final names.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        emit: Callable[[Event], None],
        control: Control,
        left: Left | None = None,
        at_rung: AtRung | None = None,
        publish: Publish = publish_here,
    ) -> None:
        """`jobs` are of one run and share all settings except learning rate and weight decay."""
        first = jobs[0]
        self._members = Members([Member(job, emit, publish) for job in jobs], left)
        self._control = control
        self._settings = from_plain(first.settings)
        self._metrics = table_of(self._settings.training)
        self._own = NONE
        self._kernel = Kernel()
        self._working_directory = Path(first.working_directory)
        self._device = torch.device(first.device)
        self._environment = {**environment(first.threads, self._device), "group": len(jobs)}
        self._departures = Departures(
            self._members, control, self._environment, self._new_state, self._metrics, at_rung
        )
        keep = self._settings.run.keep_checkpoints
        self._saving = Saving(self._members, control, self._environment, keep, self._departures.infinite)
        self._departures.saving = self._saving
        self._dataset: Dataset
        self._recent_seconds: deque[float] = deque(maxlen=_RECENT_EPOCHS)
        self._is_warm = False
        control.on_hold = self._hold

    def run(self) -> Outcome:
        """Train to the last epoch, until patience runs out, or until a stop is requested.

        Raises `Diverged` after an epoch whose loss is NaN or infinite (the last model's; others leave the group),
        `DataError`, `ChangedError`, `SettingsError`, `RunDirectoryError`, and errors of training code. If checkpoints
        cannot be written, training continues, and at the end waits for space.
        """
        try:
            return self._run()
        finally:
            self._saving.close()

    def _run(self) -> Outcome:
        self._members.enter(TrainingPhase.INITIALIZING)
        for member in self._members:
            member.require_place()
        self._members.skip_finished()
        if not self._members:
            return Outcome.COMPLETED
        prepare_process(self._device)
        training = self._settings.training
        self._own = load_own_code(self._settings)
        found = newest_checkpoints(self._members)
        self._dataset = self._load(found)
        self._saving.encodes(self._dataset.encoder)
        self._choose_kernel(found)
        state = self._new_state()
        self._resume(state, found)
        for member in self._members:
            parameters = count_parameters(state.network)
            member.report.started(config_record(member.training), parameters, state.step, self._members.group)
        data = PlacedData(self._dataset, state.network, training.batch_size, self._device)
        final = FinalMeasurement(self._dataset, data, self._device, self._own)
        self._members.enter(TrainingPhase.TRAINING)
        for member, progress in zip(self._members, state.progress, strict=True):
            member.report.unrecorded(progress.history, training.length)
        is_due = False
        while len(finished := self._finished(state)) < len(self._members):
            if finished:
                self._environment["group"] = len(self._members) - len(finished)
                if not self._saving.finish(state, final, self._finished):
                    return Outcome.STOPPED
                state, is_due = self._departures.finished(state, self._finished(state)), False
            smaller = self._departures.pruned(state)
            if smaller is not None:
                state, is_due = smaller, False
            if is_due:
                self._checkpoint(state)
            continues = self._train_epoch(state, data)
            require_untouched(self._dataset)
            if not continues:
                self._saving.follow_move()
                self._saving.try_now(state, "it stops without one: the steps since the last are lost")
                return Outcome.STOPPED
            self._finish_epoch(state, data)
            is_due = self._is_due(state)
        done = self._saving.finish(state, final, self._finished)
        return Outcome.COMPLETED if done else Outcome.STOPPED

    def _is_due(self, state: TrainingState) -> bool:
        """Whether a checkpoint follows this epoch."""
        return state.epoch % self._settings.training.checkpoint_interval == 0

    def _checkpoint(self, state: TrainingState) -> None:
        self._saving.checkpoint(state)

    def _load(self, found: Sequence[Checkpoint]) -> Dataset:
        """Load the data that the run was started with. Raises `ChangedError` if it has changed.

        A table whose changes were accepted is encoded as in the checkpoints `found`: weights belong to an encoder.
        """
        record, own = self._members[0].job.data, self._own.dataset
        recorded = None if record is None else Fingerprint.from_record(record)
        known = () if recorded is None else (recorded,)
        copies = self._members[0].job.copies
        load = partial(load_dataset, self._settings, self._working_directory, own, known, copies=copies)
        dataset = load()
        require_same(self._settings.training.dataset, dataset, recorded, None if own is None else load)
        encoder = encoder_of(found)
        return dataset if encoder in (None, dataset.encoder) else load(encoder=encoder)

    def _choose_kernel(self, found: Sequence[Checkpoint]) -> None:
        """Decide what carries out the steps; a resume keeps it."""
        training = self._members[0].training
        before = kernel_before(found[0].record["environment"]) if found else None
        self._kernel = choose_kernel(training, self._dataset, self._device, self._own, before=before)
        self._environment.update(self._kernel.conditions)
        if training.kernel == NATIVE and self._kernel.library is None:
            # The run began where there was a native kernel.
            for member in self._members:
                member.warn_once("kernel", f"{member.job.model} trains with eager steps: {self._kernel.reason}")

    def _new_state(self) -> TrainingState:
        """Untrained models."""
        seeds = [member.job.seed for member in self._members]
        rates = [Rates(member.training.learning_rate, member.training.weight_decay) for member in self._members]
        training = self._members[0].training
        state = new_state(training, self._dataset, seeds, self._device, self._own, self._kernel, rates)
        for number, (member, progress) in enumerate(zip(self._members, state.progress, strict=True)):
            progress.started, progress.exact = time.time(), member.job.exact
            self._set_learning_rate(state, number, member)
        return state

    @staticmethod
    def _set_learning_rate(state: TrainingState, number: int, member: Member) -> None:
        state.set_learning_rate(number, member.training.learning_rate * member.learning_rate_factor)

    def _resume(self, state: TrainingState, found: list[Checkpoint]) -> None:
        """Continue from the newest checkpoints, if there are any."""
        if found:
            state.restore(found)
        note_where_from(self._members, state, found)
        if not found:
            return
        for number, member in enumerate(self._members):
            self._set_learning_rate(state, number, member)
        self._saving.resumed(state.step)
        training = set(range(len(found))) - set(self._finished(state))
        self._environment["group"] = len(training)
        for number in training:
            before = found[number].record["environment"]
            before = {**before, "kernel": kernel_before(before)}
            if not self._members[number].continues_alike(before, self._environment, self._kernel.reason):
                state.progress[number].exact = False

    def _finished(self, state: TrainingState) -> list[int]:
        """The models that have all their epochs, or stop early."""
        training = self._settings.training
        return [
            number
            for number, progress in enumerate(state.progress)
            if state.epoch >= training.length or exceeds_patience(training.patience, state.epoch, progress.best.epoch)
        ]

    def _train_epoch(self, state: TrainingState, data: PlacedData) -> bool:
        """Train the epoch's remaining steps; False if a stop came first."""
        begun, paused = time.perf_counter(), self._control.paused_seconds
        seeds = [member.job.seed for member in self._members]
        continues = state.train_epoch(data, seeds, self._control.may_continue)
        spent = time.perf_counter() - begun - (self._control.paused_seconds - paused)
        state.epoch_seconds += spent
        state.seconds += spent
        return continues

    def _hold(self, paused: bool) -> None:
        self._members.enter(TrainingPhase.PAUSED if paused else TrainingPhase.TRAINING)
        if paused:
            give_back_memory(self._device)

    def _finish_epoch(self, state: TrainingState, data: PlacedData) -> None:
        """Validate, report the epoch, remove leaving models, and prepare the next epoch."""
        begun = time.perf_counter()
        losses = [loss / data.batches.samples for loss in state.loss_sum.reshape(-1).tolist()]
        measured = self._validate(state, data)
        self._keep_best(state, losses, measured)
        spent = time.perf_counter() - begun
        state.seconds += spent
        state.epoch += 1
        rate = state.step_in_epoch / state.epoch_seconds if state.epoch_seconds > 0 else None
        eta = self._remaining(state.epoch, state.epoch_seconds + spent)
        for number, (loss, validation) in enumerate(zip(losses, measured, strict=True)):
            self._report_epoch(state, number, loss, validation, state.epoch_seconds + spent, rate, eta)
        state.step_in_epoch = 0
        state.epoch_seconds = 0.0
        state.loss_sum.zero_()
        self._departures.diverged(state, losses)
        self._departures.cancelled(state)

    def _validate(self, state: TrainingState, data: PlacedData) -> list[Metrics]:
        return state.validate(data)

    def _keep_best(self, state: TrainingState, losses: Sequence[float], measured: Sequence[Metrics]) -> None:
        """With early stopping, keep the weights of models for which this epoch is the best so far."""
        if not self._settings.training.patience:
            return
        found = [self._metrics.measure({"loss": loss, **one}) for loss, one in zip(losses, measured, strict=True)]
        epoch, least = state.epoch + 1, self._settings.training.min_delta
        state.keep_best([n for n, progress in enumerate(state.progress) if progress.best.take(epoch, found[n], least)])

    def _report_epoch(
        self,
        state: TrainingState,
        number: int,
        loss: float,
        validation: Metrics,
        seconds: float,
        steps_per_second: float | None,
        eta_seconds: float | None,
    ) -> None:
        progress = state.progress[number]
        if math.isfinite(loss):
            progress.best_loss = loss if progress.best_loss is None else min(loss, progress.best_loss)
        metrics: Metrics = {"loss": loss, **validation, "learning_rate": state.scheduled_rate(number)}
        record = EpochRecord(epoch=state.epoch, step=state.step, metrics=metrics, seconds=seconds)
        progress.history.append(record)
        self._members[number].after_epoch(state.epoch, loss)
        self._members[number].report.epoch(
            record,
            epochs=self._settings.training.length,
            best_loss=progress.best_loss,
            steps_per_second=steps_per_second,
            eta_seconds=eta_seconds,
        )

    def _remaining(self, epoch: int, seconds: float) -> float | None:
        """Seconds until the last epoch, from the median of the newest 20; the process's first one is a warm-up."""
        if self._is_warm:
            self._recent_seconds.append(seconds)
        self._is_warm = True
        left = self._settings.training.length - epoch
        if left == 0:
            return 0.0
        return left * statistics.median(self._recent_seconds) if self._recent_seconds else None
