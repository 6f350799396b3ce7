"""Helpers for tests that train in this process: data in float64, jobs of a group, kills, and what they leave."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from forge_tui.protocol.events import Event
from forge_tui.protocol.job import Control, Job, Outcome
from forge_tui.protocol.run_data import Fingerprint
from forge_tui.settings.schema import Settings
from forge_tui.training.data import load_dataset
from forge_tui.training.data.dataset import Dataset
from forge_tui.training.trainer import Trainer


def dataset_of(
    settings: Settings,
    where: Path,
    own: Callable[[], Any] | None = None,
    known: Sequence[Fingerprint] = (),
    copies: Mapping[str, str] | None = None,
) -> Dataset:
    """The dataset of the settings, in float64 where it has real numbers."""
    found = load_dataset(settings, where, own, known, copies=copies)
    if found.vocabulary is not None:
        return found
    targets = {
        name: value.double()
        for name in ("train_targets", "validation_targets")
        if (value := getattr(found, name)) is not None and value.is_floating_point()
    }
    inputs = {name: getattr(found, name).double() for name in ("train_inputs", "validation_inputs")}
    return dataclasses.replace(found, **inputs, **targets)


def jobs_of(make_job: Any, directory: str, **settings: Any) -> list[Job]:
    """The jobs of three planners with seeds 0, 1 and 2."""
    return [
        make_job(directory, model=f"cognate_planner_{index}", index=index, seed=index - 1, **settings)
        for index in (1, 2, 3)
    ]


def run(jobs: list[Job], control: Control | None = None, left: Any = None) -> tuple[Outcome, list[Event]]:
    """Train them as one group; the outcome and the events."""
    events: list[Event] = []
    return Trainer(jobs, events.append, control or Control(), left).run(), events


def bytes_of(jobs: list[Job]) -> list[bytes]:
    """Each one's weights."""
    return [(Path(job.directory) / f"{job.model}.safetensors").read_bytes() for job in jobs]


def record_of(job: Job) -> dict[str, Any]:
    """What NAME.json says."""
    return json.loads((Path(job.directory) / f"{job.model}.json").read_bytes())


class Killed(BaseException):
    """Stands for a SIGKILL: nothing is caught or tidied up after it."""


class KillAt(Control):
    """Kills the trainer before step `looks`, counted from 0."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._left = looks

    def may_continue(self) -> bool:
        self._left -= 1
        if self._left < 0:
            raise Killed
        return super().may_continue()
