"""Trains one model: epochs, checkpoints, and the finished model's files."""

from __future__ import annotations

import errno
import math
import os
import statistics
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import torch

from forge_tui.errors import RunDirectoryError
from forge_tui.progress.events import Event
from forge_tui.progress.phases import TrainingPhase
from forge_tui.runs.layout import RunDirectory
from forge_tui.settings.schema import from_plain
from forge_tui.training import checkpoint as checkpoints
from forge_tui.training import model_file
from forge_tui.training.data.dataset import Dataset
from forge_tui.training.data.load import load_dataset
from forge_tui.training.failures import Diverged
from forge_tui.training.history import EpochRecord
from forge_tui.training.job import Control, Job, Outcome
from forge_tui.training.losses import Validation, loss_of, validate
from forge_tui.training.metadata import config_record, describe
from forge_tui.training.models.network import count_parameters, named_weights
from forge_tui.training.placed_data import PlacedData
from forge_tui.training.reporter import Reporter
from forge_tui.training.state import TrainingState, environment

_RECENT_EPOCHS = 20
# A disk that is full, read-only or out of order may come right again; a directory that is gone does not.
_MAY_PASS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ESTALE})
_DISK_SECONDS = 2.0


class Trainer:
    """One attempt at one model; it is used once, in a process of its own.

    It goes on from the newest checkpoint that verifies, and then gives the same bytes as if it had never stopped.
    `emit` is called with every event, `control` is looked at before every step.
    """

    def __init__(self, job: Job, emit: Callable[[Event], None], control: Control) -> None:
        self._job = job
        self._control = control
        self._report = Reporter(job, emit)
        self._settings = from_plain(job.settings)
        directory = RunDirectory(Path(job.directory))
        self._stem = directory.stem(job.model)
        self._checkpoints = directory.checkpoint_directory(job.model)
        self._device = torch.device(job.device)
        self._environment = environment(job.threads, self._device)
        self._saved_step = 0
        self._recent_seconds: deque[float] = deque(maxlen=_RECENT_EPOCHS)
        self._is_warm = False
        self._disk_problem: str | None = None
        control.on_hold = self._hold

    def run(self) -> Outcome:
        """Train to the last epoch, or until a stop is asked for.

        Raises `Diverged` after an epoch whose loss is NaN or infinite, `DataError`, `SettingsError`,
        `RunDirectoryError`, and whatever training code raises. A disk that takes no checkpoint ends nothing: training
        goes on, and at the end waits for room.
        """
        self._report.enter(TrainingPhase.INITIALIZING)
        if self._is_finished():
            return Outcome.COMPLETED
        _prepare_process(self._device)
        training = self._settings.training
        dataset = load_dataset(self._settings, Path(self._job.working_directory))
        state = TrainingState.create(training, dataset, self._job.seed, self._device)
        state.started = time.time()
        self._resume(state)
        state.set_learning_rate(training.learning_rate * self._job.learning_rate_factor)
        data = PlacedData(dataset, state.network, training.batch_size, self._device)
        self._report.started(config_record(training), count_parameters(state.network))
        self._report.enter(TrainingPhase.TRAINING)
        while state.epoch < training.epochs:
            if not self._train_epoch(state, data):
                self._try_checkpoint(state, "it stops without one: the steps since the last are lost")
                return Outcome.STOPPED
            self._finish_epoch(state, data)
            if state.epoch < training.epochs and state.epoch % training.checkpoint_interval == 0:
                self._try_checkpoint(state, "training goes on; the next checkpoint is tried as usual")
        return self._finish(state, dataset)

    def _train_epoch(self, state: TrainingState, data: PlacedData) -> bool:
        """Train the epoch's remaining steps; False if a stop came first."""
        begun, paused = time.perf_counter(), self._control.paused_seconds
        body, optimizer, gradient_filter = state.network.body, state.optimizer, state.filter
        parameters = list(body.parameters())
        loss_function, loss_sum = loss_of(data.task), state.loss_sum
        going_on = True
        for inputs, targets in data.batches.epoch(self._job.seed, state.epoch + 1, state.step_in_epoch):
            if not self._control.goes_on():
                going_on = False
                break
            loss = loss_function(body(inputs), targets)
            loss.backward()
            gradient_filter.apply()
            optimizer.step()
            for parameter in parameters:
                parameter.grad = None
            # Summed on the device: reading a number back in every step would wait for the device each time.
            loss_sum.add_(loss.detach(), alpha=len(inputs))
            state.step += 1
            state.step_in_epoch += 1
        spent = time.perf_counter() - begun - (self._control.paused_seconds - paused)
        state.epoch_seconds += spent
        state.seconds += spent
        return going_on

    def _hold(self, paused: bool) -> None:
        self._report.enter(TrainingPhase.PAUSED if paused else TrainingPhase.TRAINING)

    def _finish_epoch(self, state: TrainingState, data: PlacedData) -> None:
        """Validate, report the epoch, and make ready for the next. Raises `Diverged`."""
        begun = time.perf_counter()
        loss = state.loss_sum.item() / data.batches.samples
        measured = Validation()
        if data.validation is not None:
            measured = validate(state.network.body, data.task, *data.validation)
        spent = time.perf_counter() - begun
        state.seconds += spent
        state.epoch += 1
        if math.isfinite(loss):
            state.best_loss = loss if state.best_loss is None else min(loss, state.best_loss)
        record = EpochRecord(
            epoch=state.epoch,
            step=state.step,
            loss=loss,
            validation_loss=measured.loss,
            validation_accuracy=measured.accuracy,
            validation_perplexity=measured.perplexity,
            learning_rate=state.learning_rate,
            seconds=state.epoch_seconds + spent,
        )
        state.history.append(record)
        self._report.epoch(
            record,
            epochs=self._settings.training.epochs,
            best_loss=state.best_loss,
            steps_per_second=state.step_in_epoch / state.epoch_seconds if state.epoch_seconds > 0 else None,
            eta_seconds=self._remaining(record),
        )
        state.step_in_epoch = 0
        state.epoch_seconds = 0.0
        state.loss_sum.zero_()
        if not math.isfinite(loss):
            raise Diverged(f"the loss of epoch {state.epoch} is {loss}", state.epoch, record.learning_rate)

    def _remaining(self, record: EpochRecord) -> float | None:
        """Seconds until the last epoch, from the median of the newest 20; this process's first is warm-up."""
        if self._is_warm:
            self._recent_seconds.append(record.seconds)
        self._is_warm = True
        left = self._settings.training.epochs - record.epoch
        if left == 0:
            return 0.0
        return left * statistics.median(self._recent_seconds) if self._recent_seconds else None

    def _resume(self, state: TrainingState) -> None:
        found = checkpoints.newest_valid(self._checkpoints, lambda problem: self._report.warn("checkpoint", problem))
        if found is None:
            return
        whose, wanted = (found.record["model"], found.record["seed"]), (self._job.model, self._job.seed)
        if whose != wanted:
            raise RunDirectoryError(
                f"{found.path} is of {whose[0]} with seed {whose[1]}, not of {wanted[0]} with seed {wanted[1]}; "
                "start anew with --overwrite"
            )
        state.restore(found)
        self._saved_step = state.step
        before = found.record["environment"]
        changed = [name for name, value in self._environment.items() if before.get(name) != value]
        if changed:
            state.exact = False
            what = ", ".join(f"{name} {before.get(name)} → {self._environment[name]}" for name in changed)
            self._report.warn(
                "exactness", f"{self._job.model} goes on under other conditions ({what}): its bytes may differ slightly"
            )

    def _try_checkpoint(self, state: TrainingState, otherwise: str) -> None:
        """Save a checkpoint; one that cannot be written is told about (once), with what follows from that."""
        try:
            self._save_checkpoint(state)
            self._disk_problem = None
        except RunDirectoryError as error:
            self._report.enter(TrainingPhase.TRAINING)
            problem = f"{error}; {otherwise}"
            if self._disk_problem != problem:
                self._report.warn("disk", f"{self._job.model} has no checkpoint at epoch {state.epoch}: {problem}")
            self._disk_problem = problem

    def _finish(self, state: TrainingState, dataset: Dataset) -> Outcome:
        """Write the last checkpoint and the model. Hours of training may hang on a disk that is full: wait for room."""
        while True:
            try:
                self._save_checkpoint(state)
                self._complete(state, dataset)
                return Outcome.COMPLETED
            except RunDirectoryError as error:
                if error.errno not in _MAY_PASS:
                    raise
                if self._disk_problem != str(error):
                    self._disk_problem = str(error)
                    self._report.warn("disk", f"{self._job.model} is trained and waits to be written: {error}")
                self._report.enter(TrainingPhase.SAVING, f"waits for the disk: {error}")
            if not self._control.wait(_DISK_SECONDS):
                return Outcome.STOPPED

    def _save_checkpoint(self, state: TrainingState) -> None:
        """Save and prune, unless this very step is saved already. Raises `Diverged` rather than save such weights."""
        if state.step == self._saved_step:
            return
        if not state.weights_are_finite():
            raise Diverged(f"weights are NaN or infinite after epoch {state.epoch}", state.epoch, state.learning_rate)
        self._report.enter(TrainingPhase.CHECKPOINTING)
        begun = time.perf_counter()
        about = {"model": self._job.model, "seed": self._job.seed, "environment": self._environment}
        path = checkpoints.save(self._checkpoints, state.step, state.tensors(), {**state.record(), **about})
        checkpoints.prune(self._checkpoints, self._settings.run.keep_checkpoints)
        self._saved_step = state.step
        self._report.checkpoint(path, epoch=state.epoch, step=state.step, seconds=time.perf_counter() - begun)
        self._report.enter(TrainingPhase.TRAINING)

    def _complete(self, state: TrainingState, dataset: Dataset) -> None:
        self._report.enter(TrainingPhase.SAVING)
        record = describe(self._job, self._settings.training, state, dataset)
        model_file.write_model(self._stem, named_weights(state.network), record)
        checkpoints.prune(self._checkpoints, 1)
        last = state.history[-1]
        validation = Validation(
            loss=last.validation_loss, accuracy=last.validation_accuracy, perplexity=last.validation_perplexity
        )
        self._report.completed(
            self._stem, loss=last.loss, validation=validation, seconds=state.seconds, exact=state.exact
        )

    def _is_finished(self) -> bool:
        """Whether an earlier attempt wrote the model whole; then what it could not report is reported now."""
        try:
            record = model_file.read_record(self._stem)
            if record["seed"] != self._job.seed or record["epochs_completed"] < self._settings.training.epochs:
                return False
            model_file.read_weights(self._stem, record["sha256"])
            told = {
                "loss": record["loss"],
                "validation": Validation(**record["validation"]),
                "seconds": record["seconds"],
                "exact": record["exact"],
            }
        except (RunDirectoryError, KeyError, TypeError):
            return False  # not there, or not whole: it is written again from the last checkpoint
        self._report.completed(self._stem, **told)
        return True


def _prepare_process(device: torch.device) -> None:
    # Late in training moments and gradients sink below 1e-38, where CPUs compute a hundred times slower.
    torch.set_flush_denormal(True)
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
