"""One of the models that a trainer has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from forge_tui.progress.events import Event
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.place import Identity
from forge_tui.settings.schema import from_plain
from forge_tui.training.job import Job
from forge_tui.training.module_state import ModuleState
from forge_tui.training.reporter import Reporter
from forge_tui.training.state import Progress


class Member:
    """A model's job and config, its files, and who tells of it."""

    def __init__(self, job: Job, emit: Callable[[Event], None]) -> None:
        self.job = job
        self.training = from_plain(job.settings).training
        self.report = Reporter(job, emit)
        self._place = None if job.place is None else Identity(*job.place)
        self._unkept: set[str] = set()
        self.move(Path(job.directory))

    def move(self, path: Path) -> None:
        """The run directory is at `path` from now on."""
        self._directory = directory = RunDirectory(path)
        self.stem = directory.stem(self.job.model)
        self.checkpoints = directory.checkpoint_directory(self.job.model)

    def require_place(self) -> None:
        """Raise `RunDirectoryError` unless the run directory is where it was.

        Its `errno` is ESTALE: the runner tells soon where the directory is, or ends this process.
        """
        if self._place is not None:
            self._place.require(self._directory.path, self._directory.database)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Raise as `require_place` does, too, where what is done inside fails because the directory moves just then."""
        self.require_place()
        try:
            yield
        except OSError:
            self.require_place()
            raise

    def note_unkept(self, module: ModuleState, progress: Progress) -> None:
        """What cannot be kept of a custom module makes the model inexact; each is reported once."""
        for place, why in module.problems.items():
            progress.exact = False
            if place not in self._unkept:
                self._unkept.add(place)
                self.report.warn(
                    "exactness",
                    f"{self.job.model}: {why}. A checkpoint lacks it: what continues from one, and the finished model, "
                    "begin with what its function builds",
                )
