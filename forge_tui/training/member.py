"""One of the models that a trainer has."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.events import Event, finite
from forge_tui.protocol.job import Job
from forge_tui.protocol.rollback import Rollback
from forge_tui.runs.checkpoint_files import Fence
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.location import Identity
from forge_tui.runs.results import Result, publish
from forge_tui.safe_io.whole_files import directory_error
from forge_tui.settings.schema import from_plain
from forge_tui.training.module_state import ModuleState
from forge_tui.training.reporter import Reporter
from forge_tui.training.state import Progress


class Publish(Protocol):
    """Gives a finished model's files their final names in the run directory. Raises `RunDirectoryError`."""

    def __call__(self, directory: Path, job: Job, /, *, has_weights: bool = True) -> None:
        """`has_weights`: whether there are weights beside the metadata."""


def publish_here(directory: Path, job: Job, *, has_weights: bool = True) -> None:
    """As `Publish`, without a runner."""
    result = Result(job.model, job.attempt, has_weights)
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise directory_error(error, "write in", directory) from error
    try:
        for refused in publish(descriptor, [result]).values():
            raise refused
    finally:
        os.close(descriptor)


class Member:
    """A model's job, config, files and reporter."""

    def __init__(self, job: Job, emit: Callable[[Event], None], publish: Publish = publish_here) -> None:
        self.job = job
        self.fence = Fence(job.attempt, job.inherited_step)
        self._publish = publish
        self.training = from_plain(job.settings).training
        self.report = Reporter(job, emit)
        self.learning_rate_factor = job.learning_rate_factor
        self.rollbacks, self.rollback = job.rollbacks, job.rollback
        self._place = None if job.place is None else Identity(*job.place)
        self._unkept: set[str] = set()
        self._reported: set[str] = set()
        self.move(Path(job.directory))

    def move(self, path: Path) -> None:
        """Set the new path of the run directory."""
        self._directory = directory = RunDirectory(path)
        self.stem = directory.stem(self.job.model)
        self.checkpoints = directory.checkpoint_directory(self.job.model)

    def publish(self, *, has_weights: bool = True) -> None:
        """Give the finished model's files their final names. Raises `RunDirectoryError`."""
        self._publish(self._directory.path, self.job, has_weights=has_weights)

    def require_place(self) -> None:
        """Raise `RunDirectoryError` unless the run directory is in place.

        Its `errno` is ESTALE: the runner will report the new place soon, or end this process.
        """
        if self._place is not None:
            self._place.require(self._directory.path, self._directory.database)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """As `require_place`, also for errors inside that are caused by a move of the directory."""
        self.require_place()
        try:
            yield
        except RunDirectoryError:
            self.require_place()
            raise
        except OSError as error:
            self.require_place()
            raise directory_error(error, "write in", self._directory.path) from error

    def after_epoch(self, epoch: int, loss: float) -> None:
        """Update the rollback after an epoch: the model may have recovered."""
        if self.rollback is not None and self.rollback.is_over(epoch, loss):
            self.rollback = None

    def rollback_record(self) -> dict[str, Any]:
        """The rollback fields of a checkpoint, JSON-able; empty without rollbacks."""
        if not self.rollbacks:
            return {}
        rollback = None if self.rollback is None else finite(asdict(self.rollback))
        return {
            "rollbacks": self.rollbacks, "rollback": rollback, "learning_rate_factor": self.learning_rate_factor,
        }  # fmt: skip

    def take_rollbacks(self, record: Mapping[str, Any], epoch: int) -> None:
        """Adopt the checkpoint's rollbacks if there are more than in the run's record.

        That happens if the runner was killed, or its disk failed, before it recorded them. They are reported again.
        """
        if record.get("rollbacks", 0) <= self.rollbacks:
            return
        self.rollbacks, self.learning_rate_factor = record["rollbacks"], record["learning_rate_factor"]
        self.rollback = None if record["rollback"] is None else Rollback(**record["rollback"])
        self.report.rolled_back(
            epoch,
            "its checkpoint was saved after it had diverged and gone back",
            factor=self.learning_rate_factor,
            rollbacks=self.rollbacks,
            rollback=self.rollback,
        )

    def note_where_from(self, step: int, rollbacks: int, progress: Progress) -> None:
        """Check the checkpoint of `step` (0: the start), saved after `rollbacks` rollbacks.

        After a rollback it must be its target or a later one; otherwise a checkpoint is lost, and steps before it are
        repeated with the lower learning rate: the model is then not exact.
        """
        if rollbacks >= self.rollbacks or (self.rollback is not None and step == self.rollback.step):
            return
        progress.exact = False
        self.report.warn(
            "exactness",
            f"{self.job.model} had gone back {self.rollbacks} times after divergences, and its checkpoints since then "
            f"are lost: it continues from step {step} with {self.learning_rate_factor:g} times its learning rate, and "
            "had another one there",
        )

    def continues_alike(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
        """Whether the conditions that bytes depend on are those of the checkpoint; a difference is reported."""
        changed = [name for name, value in now.items() if before.get(name, value) != value]
        if changed:
            what = ", ".join(f"{name} {before.get(name)} → {now[name]}" for name in changed)
            words = f"{self.job.model} continues under other conditions ({what}): its bytes may differ slightly"
            self.report.warn("exactness", words)
        return not changed

    def warn_once(self, kind: str, words: str) -> None:
        """Report a warning once."""
        if words not in self._reported:
            self._reported.add(words)
            self.report.warn(kind, words)

    def note_unkept(self, module: ModuleState, progress: Progress) -> None:
        """Report state of a custom module that cannot be kept, once each; the model is then not exact."""
        for place, why in module.problems.items():
            progress.exact = False
            if place not in self._unkept:
                self._unkept.add(place)
                self.report.warn(
                    "exactness",
                    f"{self.job.model}: {why}. A checkpoint lacks it: what continues from one, and the finished model, "
                    "begin with what its function builds",
                )
