"""Jobs of the trainer's tests, in a run directory of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from made_jobs import make_job as make_job
from trained import dataset_of

from forge_tui.protocol.events import Event
from forge_tui.protocol.job import Control, Job, Outcome
from forge_tui.training import trainer
from forge_tui.training.trainer import Trainer


@pytest.fixture
def float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Models, and the data that a trainer loads, are in float64."""
    torch.set_default_dtype(torch.float64)
    monkeypatch.setattr(trainer, "load_dataset", dataset_of)
    yield
    torch.set_default_dtype(torch.float32)


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

    def may_continue(self) -> bool:
        self._left -= 1
        if self._left < 0:
            self.request_stop()
        return super().may_continue()


@pytest.fixture
def stop_after() -> type[StopAfter]:
    """The control that asks for a stop at a given step."""
    return StopAfter
