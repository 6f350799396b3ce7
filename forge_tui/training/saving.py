"""Saves a trainer's models: checkpoints, in the background or at a stop, and finished models; handles disk errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.job import Control
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.tables.encoder import Encoder
from forge_tui.training.checkpoint_writer import CheckpointWriter, is_copied
from forge_tui.training.final_figures import FinalMeasurement
from forge_tui.training.finished import complete
from forge_tui.training.members import Members
from forge_tui.training.patient_writes import write_patiently
from forge_tui.training.state import TrainingState

NEXT_IS_TRIED = "training continues; the next checkpoint is tried as usual"


class Saving:
    """Saves the models of a trainer. Failures are reported once, and do not end training."""

    def __init__(
        self,
        members: Members,
        control: Control,
        environment: dict[str, Any],
        keep: int,
        drop_infinite: Callable[[TrainingState], None],
    ) -> None:
        """`drop_infinite` removes models with infinite weights, which are never saved.

        `environment` and `keep` are those of `CheckpointWriter`.
        """
        self._members = members
        self._control = control
        self._drop_infinite = drop_infinite
        self._writer = CheckpointWriter(environment, keep)
        self._problem: tuple[int | None, str] | None = None

    def encodes(self, encoder: Encoder | None) -> None:
        """Checkpoints have this encoder of a table from now on."""
        self._writer.table = None if encoder is None else encoder.to_record()

    def close(self) -> None:
        """Wait for a running write."""
        self._writer.close()

    def resumed(self, step: int) -> None:
        """Record that training continues from the checkpoints of `step`."""
        self._writer.resumed(step)

    def checkpoint(self, state: TrainingState) -> None:
        """Save all models; training continues meanwhile, unless they are too large to copy.

        A failure is reported, and retried at the next checkpoint.
        """
        self.wait()
        if not is_copied(state):
            self.try_now(state, NEXT_IS_TRIED)
            return
        self._drop_infinite(state)
        epoch = state.epoch
        self._writer.save_beside(state, self._members, lambda error: self._report(error, epoch, NEXT_IS_TRIED))

    def try_now(self, state: TrainingState, otherwise: str) -> None:
        """Save all models while training waits. `otherwise`: the consequence of a failure, in words."""
        problem = None
        try:
            self._save_now(state)
        except RunDirectoryError as error:
            problem = error
            self._members.enter(TrainingPhase.TRAINING)
        self._report(problem, state.epoch, otherwise)

    def save_one(self, state: TrainingState, number: int) -> None:
        """Save a model that leaves its group. Raises `RunDirectoryError`."""
        self._writer.save_some(state, self._members, [number])

    def wait(self) -> None:
        """Wait for checkpoints that are being written in the background."""
        stands_still = self._writer.is_busy
        if stands_still:
            self._members.enter(TrainingPhase.CHECKPOINTING)
        self._writer.wait()
        if stands_still:
            self._members.enter(TrainingPhase.TRAINING)

    def finish(
        self, state: TrainingState, final: FinalMeasurement, finished: Callable[[TrainingState], list[int]]
    ) -> bool:
        """Save all models, and write the files of `finished` ones; False if a stop came first.

        On a full disk it waits for space, to save hours of work.
        """
        members = self._members

        def write() -> None:
            self._save_now(state)
            members.enter(TrainingPhase.SAVING, only=finished(state))
            complete(state, members, finished(state), final, members.group)

        def waits(error: RunDirectoryError) -> None:
            numbers = finished(state)
            model = members[numbers[0]].job.model
            self._warn(error, "waits", f"{model} is trained and waits to be written: {error}")
            members.enter(TrainingPhase.SAVING, f"waits for the disk: {error}", only=numbers)

        return write_patiently(write, self._control, self.follow_move, waits)

    def follow_move(self) -> bool:
        """Switch to the run directory's new place, if it was moved; returns whether it was."""
        directory = self._control.take_move()
        if directory is None:
            return False
        self._members.move(directory)
        return True

    def _save_now(self, state: TrainingState) -> None:
        """Save and prune, unless this step is saved already. Raises `RunDirectoryError`."""
        self.wait()
        if self._writer.is_saved(state.step):
            return
        self._drop_infinite(state)
        self._members.enter(TrainingPhase.CHECKPOINTING)
        self._writer.save(state, self._members)
        self._members.enter(TrainingPhase.TRAINING)

    def _report(self, error: RunDirectoryError | None, epoch: int, otherwise: str) -> None:
        """Handle the result of writing checkpoints: a failure is reported with its consequence."""
        if error is None:
            self._problem = None
            return
        what = f"{self._members[0].job.model} has no checkpoint at epoch {epoch}"
        self._warn(error, otherwise, f"{what}: {error}; {otherwise}")

    def _warn(self, error: RunDirectoryError, otherwise: str, words: str) -> None:
        """Warn once about a disk problem, and again if its consequence changes."""
        problem = (error.errno, otherwise)
        if problem != self._problem:
            self._problem = problem
            self._members[0].report.warn("disk", words)
