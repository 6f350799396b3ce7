"""Trains one model, or a group of like models in step: epochs, checkpoints, and the finished models' files."""

from __future__ import annotations

import errno
import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import torch

from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.events import Event
from forge_tui.protocol.job import Control, Job, Outcome
from forge_tui.protocol.metrics import Metrics, table_of
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.protocol.run_data import Fingerprint
from forge_tui.safe_io.printing import named
from forge_tui.settings.schema import from_plain
from forge_tui.training import checkpoint as checkpoints
from forge_tui.training.checkpoint import Checkpoint
from forge_tui.training.checkpoint_writer import CheckpointWriter, is_copied
from forge_tui.training.data.dataset import Dataset
from forge_tui.training.data.load import load_dataset
from forge_tui.training.data.unchanged import require_same, require_untouched
from forge_tui.training.early_stopping import has_run_out
from forge_tui.training.failures import Diverged
from forge_tui.training.finished import complete, is_finished
from forge_tui.training.group_state import GroupState
from forge_tui.training.history import EpochRecord
from forge_tui.training.member import Member, Publish, publish_here
from forge_tui.training.metadata import config_record
from forge_tui.training.models.network import count_parameters
from forge_tui.training.optimizers import Rates
from forge_tui.training.own_code import NONE, load_own_code
from forge_tui.training.placed_data import PlacedData
from forge_tui.training.process import prepare_process
from forge_tui.training.state import SingleState, TrainingState, environment

_RECENT_EPOCHS = 20
# A disk that is full, read-only or out of order may come right again; a directory that is gone does not. Where it was
# moved (ESTALE), the runner tells where it is.
_MAY_PASS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ESTALE})
_DISK_SECONDS = 2.0


class Trainer:
    """One attempt at one model, or at a group of like models; it is used once, in a process of its own.

    It goes on from the newest checkpoint that verifies, of a group the newest step that verifies for all, and then
    gives the same bytes as if it had never stopped. `emit` is called with every event, those of checkpoints from
    the thread that writes them; `control` is looked at before every step. `left` is called with a model that leaves its
    group early, and why: what ended it, or None for one that was let go or is completed. `at_rung` gets a
    model's epoch at a rung and its measure there (`MetricTable.measure`); `control` then hears whether it continues.
    `publish` gives finished models their final names.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        emit: Callable[[Event], None],
        control: Control,
        left: Callable[[Job, Diverged | None], None] | None = None,
        at_rung: Callable[[Job, int, float | None], None] | None = None,
        publish: Publish = publish_here,
    ) -> None:
        """`jobs` are of one run and share all settings but for learning rate and weight decay."""
        first = jobs[0]
        self._members = [Member(job, emit, publish) for job in jobs]
        self._control = control
        self._left = left
        self._at_rung = at_rung
        self._judged_epoch = 0
        self._settings = from_plain(first.settings)
        self._metrics = table_of(self._settings.training)
        self._own = NONE
        self._working_directory = Path(first.working_directory)
        self._device = torch.device(first.device)
        self._environment = {**environment(first.threads, self._device), "group": len(jobs)}
        self._group = [job.model for job in jobs] if len(jobs) > 1 else None
        self._writer = CheckpointWriter(self._environment, self._settings.run.keep_checkpoints)
        self._recent_seconds: deque[float] = deque(maxlen=_RECENT_EPOCHS)
        self._is_warm = False
        self._disk_problem: tuple[int | None, str] | None = None
        control.on_hold = self._hold

    def run(self) -> Outcome:
        """Train to the last epoch, until patience runs out, or until a stop is asked for.

        Raises `Diverged` after an epoch whose loss is NaN or infinite (the last model's; others of a group only leave
        it), `DataError`, `ChangedError`, `SettingsError`, `RunDirectoryError`, and whatever training code raises. A
        disk that takes no checkpoint ends nothing: training goes on, and at the end waits for room.
        """
        try:
            return self._run()
        finally:
            self._writer.close()

    def _run(self) -> Outcome:
        self._enter(TrainingPhase.INITIALIZING)
        for member in self._members:
            member.require_place()
        self._members = [member for member in self._members if not is_finished(member)]
        if not self._members:
            return Outcome.COMPLETED
        prepare_process(self._device)
        training = self._settings.training
        self._own = load_own_code(self._settings)
        dataset = self._load()
        state = self._new_state(dataset)
        self._resume(state)
        for member in self._members:
            member.report.started(
                config_record(member.training), count_parameters(state.network), state.step, self._group
            )
        data = PlacedData(dataset, state.network, training.batch_size, self._device)
        self._enter(TrainingPhase.TRAINING)
        for member, progress in zip(self._members, state.progress, strict=True):
            member.report.unrecorded(progress.history, training.epochs)
        is_due = False
        while len(finished := self._finished(state)) < len(self._members):
            if finished:
                smaller = self._finish_early(state, dataset)
                if smaller is None:
                    return Outcome.STOPPED
                state, is_due = smaller, False
            pruned = self._pruned(state)
            if pruned:
                state, is_due = self._let_go_pruned(state, dataset, pruned), False
            if is_due:
                self._checkpoint(state)
            going_on = self._train_epoch(state, data)
            require_untouched(dataset)
            if not going_on:
                self._move()
                self._try_checkpoint(state, "it stops without one: the steps since the last are lost")
                return Outcome.STOPPED
            self._finish_epoch(state, data)
            is_due = state.epoch % training.checkpoint_interval == 0
        return Outcome.COMPLETED if self._write_finished(state, dataset) else Outcome.STOPPED

    def _load(self) -> Dataset:
        """The data that the run was started with. Raises `ChangedError` where it has changed since."""
        record, own = self._members[0].job.data, self._own.dataset
        recorded = None if record is None else Fingerprint.from_record(record)
        known = () if recorded is None else (recorded,)
        load = partial(load_dataset, self._settings, self._working_directory, own, known)
        dataset = load()
        require_same(self._settings.training.dataset, dataset, recorded, None if own is None else load)
        return dataset

    def _new_state(self, dataset: Dataset) -> TrainingState:
        training, seeds = self._members[0].training, [member.job.seed for member in self._members]
        state: TrainingState
        if len(seeds) == 1:
            state = SingleState(training, dataset, seeds[0], self._device, self._own)
        else:
            rates = [Rates(member.training.learning_rate, member.training.weight_decay) for member in self._members]
            state = GroupState(training, dataset, seeds, self._device, self._own, rates)
        for number, (member, progress) in enumerate(zip(self._members, state.progress, strict=True)):
            progress.started, progress.exact = time.time(), member.job.exact
            self._set_learning_rate(state, number, member)
        return state

    @staticmethod
    def _set_learning_rate(state: TrainingState, number: int, member: Member) -> None:
        state.set_learning_rate(number, member.training.learning_rate * member.learning_rate_factor)

    def _finished(self, state: TrainingState) -> list[int]:
        """The models that have had all their epochs, or whose patience has run out."""
        training = self._settings.training
        return [
            number
            for number, progress in enumerate(state.progress)
            if state.epoch >= training.epochs or has_run_out(training.patience, state.epoch, progress.best.epoch)
        ]

    def _train_epoch(self, state: TrainingState, data: PlacedData) -> bool:
        """Train the epoch's remaining steps; False if a stop came first."""
        begun, paused = time.perf_counter(), self._control.paused_seconds
        going_on = True
        for inputs, targets in state.batches(data, [member.job.seed for member in self._members]):
            if not self._control.goes_on():
                going_on = False
                break
            state.loss(data, inputs, targets).backward()
            state.update()
        spent = time.perf_counter() - begun - (self._control.paused_seconds - paused)
        state.epoch_seconds += spent
        state.seconds += spent
        return going_on

    def _enter(self, phase: TrainingPhase, reason: str | None = None, only: Iterable[int] | None = None) -> None:
        """All models, or `only` those of these numbers, are in `phase` from now on."""
        for number in range(len(self._members)) if only is None else only:
            self._members[number].report.enter(phase, reason)

    def _hold(self, paused: bool) -> None:
        self._enter(TrainingPhase.PAUSED if paused else TrainingPhase.TRAINING)

    def _finish_epoch(self, state: TrainingState, data: PlacedData) -> None:
        """Validate, report the epoch, let go of those that have diverged, and make ready for the next."""
        begun = time.perf_counter()
        losses = [loss / data.batches.samples for loss in state.loss_sum.reshape(-1).tolist()]
        measured = state.validate(data)
        self._keep_best(state, losses, measured)
        spent = time.perf_counter() - begun
        state.seconds += spent
        state.epoch += 1
        rate = state.step_in_epoch / state.epoch_seconds if state.epoch_seconds > 0 else None
        eta = self._remaining(state.epoch, state.epoch_seconds + spent)
        for number, (loss, validation) in enumerate(zip(losses, measured, strict=True)):
            self._tell_epoch(state, number, loss, validation, state.epoch_seconds + spent, rate, eta)
        state.step_in_epoch = 0
        state.epoch_seconds = 0.0
        state.loss_sum.zero_()
        diverged = [number for number, loss in enumerate(losses) if not math.isfinite(loss)]
        for number in reversed(diverged):
            what = f"the loss of epoch {state.epoch} is {losses[number]}"
            self._let_go(state, number, Diverged(what, state.epoch, state.learning_rate(number)))
        for number in reversed(
            [n for n, member in enumerate(self._members) if self._control.pop_leave_request(member.job.index)]
        ):
            self._let_go(state, number, None)

    def _keep_best(self, state: TrainingState, losses: Sequence[float], measured: Sequence[Metrics]) -> None:
        """Where patience is set, keep what the epoch made of those models for which it is the best so far."""
        if not self._settings.training.patience:
            return
        found = [self._metrics.measure({"loss": loss, **one}) for loss, one in zip(losses, measured, strict=True)]
        epoch, least = state.epoch + 1, self._settings.training.min_delta
        state.keep_best([n for n, progress in enumerate(state.progress) if progress.best.take(epoch, found[n], least)])

    def _tell_epoch(
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
            epochs=self._settings.training.epochs,
            best_loss=progress.best_loss,
            steps_per_second=steps_per_second,
            eta_seconds=eta_seconds,
        )

    def _let_go(self, state: TrainingState, number: int, why: Diverged | None) -> None:
        """A model leaves its group: with a checkpoint, or because it has diverged. The last one ends the attempt."""
        if not isinstance(state, GroupState) or len(self._members) == 1:
            if why is not None:
                raise why
            self._control.request_stop()
            return
        # Once it has left, another worker may have it: nothing may be written of it then.
        self._wait_for_writer()
        if why is None:
            state.progress[number].exact = False
            self._writer.save_some(state, self._members, [number])
        self._leave(state, number, why)

    def _remaining(self, epoch: int, seconds: float) -> float | None:
        """Seconds until the last epoch, from the median of the newest 20; this process's first is warm-up."""
        if self._is_warm:
            self._recent_seconds.append(seconds)
        self._is_warm = True
        left = self._settings.training.epochs - epoch
        if left == 0:
            return 0.0
        return left * statistics.median(self._recent_seconds) if self._recent_seconds else None

    # --- checkpoints

    def _resume(self, state: TrainingState) -> None:
        first = self._members[0]
        for member in self._members:
            if member.rollback is not None:
                checkpoints.discard(member.checkpoints, member.rollback.step, member.rollbacks)
        found = checkpoints.newest_common(
            [member.checkpoints for member in self._members],
            lambda problem: first.report.warn("checkpoint", problem),
            [member.fence for member in self._members],
        )
        if not found:
            for number, member in enumerate(self._members):
                member.note_where_from(0, 0, state.progress[number])
            return
        for member, checkpoint in zip(self._members, found, strict=True):
            job, record = member.job, checkpoint.record
            if (record["model"], record["seed"]) != (job.model, job.seed):
                raise RunDirectoryError(
                    f"{named(checkpoint.path)} is of {record['model']} with seed {record['seed']}, not of {job.model} "
                    f"with seed {job.seed}; start anew with --overwrite"
                )
        state.restore(found)
        for number, (member, checkpoint) in enumerate(zip(self._members, found, strict=True)):
            member.take_rollbacks(checkpoint.record, checkpoint.epoch)
            self._set_learning_rate(state, number, member)
            progress = state.progress[number]
            progress.exact = progress.exact and member.job.exact
            member.note_where_from(state.step, checkpoint.record.get("rollbacks", 0), progress)
        self._writer.resumed(state.step)
        going_on = set(range(len(found))) - set(self._finished(state))
        self._environment["group"] = len(going_on)
        for number in going_on:
            self._compare_conditions(state, number, found[number].record["environment"])

    def _compare_conditions(self, state: TrainingState, number: int, before: dict[str, object]) -> None:
        changed = [name for name, value in self._environment.items() if before.get(name, value) != value]
        if changed:
            state.progress[number].exact = False
            member = self._members[number]
            what = ", ".join(f"{name} {before.get(name)} → {self._environment[name]}" for name in changed)
            member.report.warn(
                "exactness",
                f"{member.job.model} goes on under other conditions ({what}): its bytes may differ slightly",
            )

    def _checkpoint(self, state: TrainingState) -> None:
        """Save a checkpoint of all models; training goes on while it is written, unless it is too large to be copied.

        What cannot be written is told about, and tried again at the next checkpoint.
        """
        self._wait_for_writer()
        otherwise = "training goes on; the next checkpoint is tried as usual"
        if not is_copied(state):
            self._try_checkpoint(state, otherwise)
            return
        self._let_go_of_infinite(state)
        epoch = state.epoch
        self._writer.save_beside(state, self._members, lambda error: self._told_disk(error, epoch, otherwise))

    def _try_checkpoint(self, state: TrainingState, otherwise: str) -> None:
        """Save checkpoints while training stands still; what cannot be written is told about."""
        problem = None
        try:
            self._save_checkpoints(state)
        except RunDirectoryError as error:
            problem = error
            self._enter(TrainingPhase.TRAINING)
        self._told_disk(problem, state.epoch, otherwise)

    def _save_checkpoints(self, state: TrainingState) -> None:
        """Save and prune, unless this very step is saved already. Raises `RunDirectoryError`."""
        self._wait_for_writer()
        if self._writer.is_saved(state.step):
            return
        self._let_go_of_infinite(state)
        self._enter(TrainingPhase.CHECKPOINTING)
        self._writer.save(state, self._members)
        self._enter(TrainingPhase.TRAINING)

    def _let_go_of_infinite(self, state: TrainingState) -> None:
        """Weights that are not finite are never saved."""
        for number in reversed(range(len(self._members))):
            if not state.weights_are_finite(number):
                what = f"weights are NaN or infinite after epoch {state.epoch}"
                self._let_go(state, number, Diverged(what, state.epoch, state.learning_rate(number)))

    def _wait_for_writer(self) -> None:
        """Stand still while checkpoints are being written beside the training."""
        stands_still = self._writer.is_busy
        if stands_still:
            self._enter(TrainingPhase.CHECKPOINTING)
        self._writer.wait()
        if stands_still:
            self._enter(TrainingPhase.TRAINING)

    def _told_disk(self, error: RunDirectoryError | None, epoch: int, otherwise: str) -> None:
        """Checkpoints were written, or not: then that is told about once, with what follows from it."""
        if error is None:
            self._disk_problem = None
            return
        what = f"{self._members[0].job.model} has no checkpoint at epoch {epoch}"
        self._tell_disk(error, otherwise, f"{what}: {error}; {otherwise}")

    # --- the end

    def _tell_disk(self, error: RunDirectoryError, otherwise: str, words: str) -> None:
        """Warn once of what is wrong with the disk, and again when something else follows from it."""
        problem = (error.errno, otherwise)
        if problem != self._disk_problem:
            self._disk_problem = problem
            self._members[0].report.warn("disk", words)

    def _write_finished(self, state: TrainingState, dataset: Dataset) -> bool:
        """Write checkpoints of all models and the files of those that have finished; False where a stop came first.

        Hours may hang on a disk that is full: wait for room.
        """
        while True:
            try:
                self._save_checkpoints(state)
                self._enter(TrainingPhase.SAVING, only=self._finished(state))
                complete(state, self._members, self._finished(state), dataset, self._group)
                return True
            except RunDirectoryError as error:
                if error.errno not in _MAY_PASS:
                    raise
                finished = self._finished(state)
                model = self._members[finished[0]].job.model
                self._tell_disk(error, "waits", f"{model} is trained and waits to be written: {error}")
                self._enter(TrainingPhase.SAVING, f"waits for the disk: {error}", only=finished)
            if not self._control.wait(_DISK_SECONDS) and not self._move():
                return False

    def _move(self) -> bool:
        """Work in the run directory where it is by now; whether it was moved since it was last looked for."""
        directory = self._control.take_move()
        if directory is None:
            return False
        for member in self._members:
            member.move(Path(directory))
        return True

    def _finish_early(self, state: TrainingState, dataset: Dataset) -> TrainingState | None:
        """Write those of a group whose patience has run out, and go on with the others; None where a stop came first.

        The others have a checkpoint of this step then: a smaller group may round otherwise, and a resume is to begin
        with it where it began here.
        """
        assert isinstance(state, GroupState)
        self._environment["group"] = len(self._members) - len(self._finished(state))
        if not self._write_finished(state, dataset):
            return None
        finished = self._finished(state)
        if len(finished) == len(self._members):  # the others have diverged meanwhile
            return state
        return self._without(state, dataset, finished)

    def _without(self, state: GroupState, dataset: Dataset, numbers: Sequence[int]) -> TrainingState:
        """Go on without some of a group."""
        for number in reversed(numbers):
            self._leave(state, number, None)
        if len(self._members) > 1:
            return state
        # Alone, as a resume would find it.
        (member,) = self._members
        left = Checkpoint(path=member.checkpoints, record=state.record(0), tensors=state.tensors(0))
        single = self._new_state(dataset)
        single.restore([left])
        return single

    def _pruned(self, state: TrainingState) -> set[int]:
        """The models (by index) that end here because others did better; at a rung the runner is asked, once."""
        epoch, rungs = state.epoch, self._members[0].job.rungs
        if self._at_rung is None or epoch not in rungs or epoch == self._judged_epoch or state.step_in_epoch:
            return set()
        self._judged_epoch = epoch
        for member, progress in zip(self._members, state.progress, strict=True):
            self._at_rung(member.job, epoch, self._metrics.measure(progress.history[-1].metrics))
        indexes = [member.job.index for member in self._members]
        return {index for index in indexes if not self._control.goes_on_from(index, epoch)}

    def _let_go_pruned(self, state: TrainingState, dataset: Dataset, pruned: set[int]) -> TrainingState:
        """End models at a rung, with a checkpoint; if all of them end, the training does."""
        if len(pruned) == len(self._members) or not isinstance(state, GroupState):
            self._control.request_stop()
            return state
        for number in self._numbers(pruned):
            state.progress[number].exact = False  # if it is ever trained further, then alone
        # As in `_finish_early`, for the others.
        self._environment["group"] = len(self._members) - len(pruned)
        self._try_checkpoint(state, "training goes on; the next checkpoint is tried as usual")
        numbers = self._numbers(pruned)
        if len(numbers) == len(self._members):
            self._control.request_stop()
            return state
        return self._without(state, dataset, numbers)

    def _numbers(self, indexes: set[int]) -> list[int]:
        """Where the models of these indexes are now."""
        return [number for number, member in enumerate(self._members) if member.job.index in indexes]

    def _leave(self, state: GroupState, number: int, why: Diverged | None) -> None:
        """A model is no longer one of its group."""
        member = self._members.pop(number)
        state.remove(number)
        if self._left is not None:
            self._left(member.job, why)
