"""One of the models that a trainer has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from forge_tui.progress.events import Event
from forge_tui.runs.layout import RunDirectory
from forge_tui.settings.schema import from_plain
from forge_tui.training.job import Job
from forge_tui.training.reporter import Reporter


class Member:
    """A model's job and config, its files, and who tells of it."""

    def __init__(self, job: Job, emit: Callable[[Event], None]) -> None:
        directory = RunDirectory(Path(job.directory))
        self.job = job
        self.training = from_plain(job.settings).training
        self.report = Reporter(job, emit)
        self.stem = directory.stem(job.model)
        self.checkpoints = directory.checkpoint_directory(job.model)
