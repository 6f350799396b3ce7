"""Jobs of the trainer's tests, in a run directory of their own and with one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from trained import dataset_of

from forge_tui.protocol.events import Event
from forge_tui.protocol.job import Control, Job, Outcome
from forge_tui.settings.schema import DataSettings, RunSettings, Settings, TrainingConfig, to_plain
from forge_tui.training import trainer
from forge_tui.training.trainer import Trainer


@pytest.fixture(autouse=True)
def _process_as_it_was() -> Iterator[None]:
    """One thread; afterwards the floating point numbers that a worker does without, and the threads, are back."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    torch.set_flush_denormal(False)


@pytest.fixture
def float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Models, and the data that a trainer loads, are in float64."""
    torch.set_default_dtype(torch.float64)
    monkeypatch.setattr(trainer, "load_dataset", dataset_of)
    yield
    torch.set_default_dtype(torch.float32)


JobMaker = Callable[..., Job]


@pytest.fixture
def make_job(tmp_path: Path) -> JobMaker:
    """Jobs for small planners; `training`, `data` and `run` override settings, the others fields of the job."""

    def make(
        directory: str = "run",
        training: dict[str, Any] | None = None,
        data: dict[str, Any] | None = None,
        run: dict[str, Any] | None = None,
        **fields: Any,
    ) -> Job:
        (tmp_path / directory).mkdir(exist_ok=True)
        settings = Settings(
            training=TrainingConfig(**{"model_size": 2_000, "epochs": 4, **(training or {})}),
            data=DataSettings(**{"samples": 110, "features": 12, "classes": 4, **(data or {})}),
            run=RunSettings(**(run or {})),
        )
        values: dict[str, Any] = {
            "run": directory,
            "directory": str(tmp_path / directory),
            "working_directory": str(tmp_path),
            "model": "cognate_planner_1",
            "index": 1,
            "attempt": 1,
            "seed": 0,
            "settings": to_plain(settings),
            "threads": 1,
            "device": "cpu",
        }
        return Job(**{**values, **fields})

    return make


@pytest.fixture
def train() -> Callable[[Job], tuple[Outcome, list[Event]]]:
    """Train a job to its end; returns the outcome and the events."""

    def run(job: Job) -> tuple[Outcome, list[Event]]:
        events: list[Event] = []
        return Trainer([job], events.append, Control()).run(), events

    return run


class StopAfter(Control):
    """Asks for a stop once the trainer has looked `looks` times: before step `looks`, counted from 0."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._left = looks

    def goes_on(self) -> bool:
        self._left -= 1
        if self._left < 0:
            self.request_stop()
        return super().goes_on()


@pytest.fixture
def stop_after() -> type[StopAfter]:
    """The control that asks for a stop at a given step."""
    return StopAfter
