"""A model's place in the run directory: its files, and the way that a finished one gets its final names. No torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.job import Job
from forge_tui.runs.inside import refuse_links
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.location import Identity
from forge_tui.runs.results import Result, publish
from forge_tui.safe_io.whole_files import directory_error


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


class ModelPlace:
    """The paths of a job's model, and whether they are still in the run directory."""

    def __init__(self, job: Job, publish: Publish = publish_here) -> None:
        self.job = job
        self._publish = publish
        self._place = None if job.place is None else Identity(*job.place)
        self.move(Path(job.directory))

    def move(self, path: Path) -> None:
        """Set the new path of the run directory."""
        self._directory = directory = RunDirectory(path)
        self.stem = directory.stem(self.job.model)
        self.checkpoints = directory.checkpoint_directory(self.job.model)
        self.files = directory.files(self.job.model)

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

    def make_directory(self) -> None:
        """Make the directory of the model's checkpoints, as `make_model_directory`."""
        make_model_directory(self.checkpoints)

    def own_directory(self) -> Path:
        """The directory for the files of a training function or a command, made if missing.

        Raises `RunDirectoryError`.
        """
        place = self.files
        with self.in_place():
            self.make_directory()
            refuse_links(place, place.parent)
            try:
                place.mkdir(mode=0o700, exist_ok=True)
            except OSError as error:
                raise directory_error(error, "create the directory", place) from error
        return place


def make_model_directory(directory: Path) -> None:
    """Make a model's directory and its parent if missing, but not the run directory, which may have been moved.

    Raises `RunDirectoryError`.
    """
    refuse_links(directory, directory.parent.parent)
    try:
        for path in (directory.parent, directory):
            path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise directory_error(error, "create the directory", directory) from error
