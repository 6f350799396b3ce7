"""At a rung the trainer asks whether its models go on, and does as it is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from trained import KillAt, Killed, bytes_of, jobs_of

from forge_tui.protocol.events import EpochFinished, Event, ModelCompleted, ResourceWarned
from forge_tui.protocol.job import Control, Job, Outcome
from forge_tui.training import checkpoint as checkpoints
from forge_tui.training.trainer import Trainer


class Judged:
    """A trainer's run with a runner that ends the models `ended`; what it was told of, and the events."""

    def __init__(self, jobs: list[Job], ended: set[int], control: Control | None = None) -> None:
        self.control = control or Control()
        self.asked: list[tuple[int, int, float | None]] = []
        self.events: list[Event] = []
        self.left: list[int] = []
        self._ended = ended
        self._trainer = Trainer(
            jobs, self.events.append, self.control, lambda job, why: self.left.append(job.index), self._answer
        )

    def run(self) -> Outcome:
        return self._trainer.run()

    def _answer(self, job: Job, epoch: int, loss: float | None) -> None:
        self.asked.append((job.index, epoch, loss))
        self.control.rung(job.index, epoch, job.index not in self._ended)

    def epochs(self, index: int) -> list[EpochFinished]:
        return [event for event in self.events if isinstance(event, EpochFinished) and event.index == index]


def newest(job: Job) -> checkpoints.Checkpoint:
    found = checkpoints.newest_valid(Path(job.directory) / "checkpoints" / job.model)
    assert found is not None
    return found


def test_a_model_that_goes_on_is_asked_at_every_rung(make_job: Any) -> None:
    job = make_job(training={"epochs": 6}, rungs=(1, 3))
    judged = Judged([job], set())
    assert judged.run() is Outcome.COMPLETED
    losses = {event.epoch: event.metrics.get("validation_loss") for event in judged.epochs(1)}
    assert judged.asked == [(1, 1, losses[1]), (1, 3, losses[3])]
    assert len(losses) == 6


def test_a_rung_compares_the_metric_that_is_chosen(make_job: Any) -> None:
    job = make_job(training={"epochs": 3, "select_by": "validation_accuracy"}, rungs=(1,))
    judged = Judged([job], set())
    judged.run()
    (accuracy, *_) = [event.metrics["validation_accuracy"] for event in judged.epochs(1)]
    assert accuracy is not None
    assert judged.asked == [(1, 1, -accuracy)]


def test_a_model_that_ends_has_a_checkpoint_of_the_rung_and_can_be_trained_further(make_job: Any, train: Any) -> None:
    training = {"epochs": 6, "checkpoint_interval": 5}
    job, alone = make_job(training=training, rungs=(3,)), make_job("alone", training)
    judged = Judged([job], {1})
    assert judged.run() is Outcome.STOPPED
    assert [event.epoch for event in judged.epochs(1)] == [1, 2, 3]
    assert newest(job).epoch == 3
    again = Judged([job], set())
    assert again.run() is Outcome.COMPLETED
    assert [epoch for _, epoch, _ in again.asked] == [3]  # where it stands at a rung, it asks again
    train(alone)
    assert bytes_of([job]) == bytes_of([alone])


def test_a_stop_while_a_model_waits_is_not_waited_for(make_job: Any) -> None:
    control = Control()

    def no_answer(job: Job, epoch: int, loss: float | None) -> None:
        control.request_stop()

    job = make_job(training={"epochs": 6}, rungs=(2,))
    assert Trainer([job], lambda event: None, control, None, no_answer).run() is Outcome.STOPPED
    assert newest(job).epoch == 2


def test_those_of_a_group_that_end_leave_it_and_a_kill_changes_no_bytes(make_job: Any) -> None:
    training = {"epochs": 7, "checkpoint_interval": 5}

    def jobs(where: str) -> list[Job]:
        return jobs_of(make_job, where, training=training, rungs=(3,))

    whole = jobs("whole")
    judged = Judged(whole, {2})
    assert judged.run() is Outcome.COMPLETED
    assert judged.left == [2]
    assert [index for index, _, _ in judged.asked] == [1, 2, 3]
    assert [len(judged.epochs(index)) for index in (1, 2, 3)] == [7, 3, 7]
    assert sorted(event.index for event in judged.events if isinstance(event, ModelCompleted)) == [1, 3]
    broken = jobs("broken")
    with pytest.raises(Killed):
        Judged(broken, {2}, KillAt(4 * 4 + 1)).run()
    del broken[1]  # as the runner goes on: it remembers who ended
    rest = Judged(broken, {2})
    assert rest.run() is Outcome.COMPLETED
    assert [event for event in rest.events if isinstance(event, ResourceWarned)] == []
    assert bytes_of(broken) == bytes_of([whole[0], whole[2]])
    for job in broken:
        assert json.loads((Path(job.directory) / f"{job.model}.json").read_bytes())["exact"]


def test_when_all_of_a_group_end_it_stops_with_checkpoints(make_job: Any) -> None:
    found = jobs_of(make_job, "group", training={"epochs": 6}, rungs=(2,))
    judged = Judged(found, {1, 2, 3})
    assert judged.run() is Outcome.STOPPED
    assert judged.left == []
    assert [newest(job).epoch for job in found] == [2, 2, 2]
