"""Going back after divergences: which checkpoints are used, kept and discarded, and that a kill changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import exploding_code
import pytest
from trained import KillAt, Killed, bytes_of, record_of, run

from forge_tui.protocol.events import CheckpointSaved, EpochFinished, Event, ModelFailed, ModelRetried, ResourceWarned
from forge_tui.protocol.job import Control, Job
from forge_tui.protocol.model_state import ModelState, apply
from forge_tui.protocol.rollback import Rollback, Saved
from forge_tui.runner.divergence import rolled_back
from forge_tui.runs.checkpoint_files import saved_in
from forge_tui.training import checkpoint as checkpoints
from forge_tui.training.failures import Diverged
from forge_tui.training.trainer import Trainer

CODE = exploding_code.__file__
EPOCHS = 12
TRAINING = {
    "dataset": f"{CODE}:dataset", "model_type": f"{CODE}:model", "loss": f"{CODE}:loss", "batch_size": 2,
    "optimizer": "sgd", "learning_rate": 1.0, "epochs": EPOCHS, "checkpoint_interval": 1, "on_divergence": "lower",
}  # fmt: skip
DATA = {"validation_fraction": 0.0, "normalise": False}
KEEP = 2


@pytest.fixture
def job_for(make_job: Any) -> Callable[..., Job]:
    def make(where: str, **training: Any) -> Job:
        return make_job(where, {**TRAINING, **training}, DATA, {"keep_checkpoints": KEEP}, model="cognate_m_1")

    return make


def files_of(job: Job) -> list[Saved]:
    return saved_in(Path(job.directory) / "checkpoints" / job.model)


@dataclass
class Runner:
    """What the runner does with one model, in this process: its record is what a viewer would have.

    `kills` are the steps (counted over all attempts) before which everything dies; what was recorded since the last
    `lost` events before a kill never reached the disk.
    """

    job: Job
    kills: set[int] = field(default_factory=set)
    lost: int = 0
    steps: int = 0
    attempts: list[tuple[int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.events: list[Event] = []

    @property
    def state(self) -> ModelState:
        model = ModelState(name=self.job.model, index=1, seed=0, epochs=EPOCHS)
        for event in self.events:
            model = apply(model, event)
        return model

    def attempt(self) -> BaseException | None:
        """One attempt, as the record says; what ended it."""
        state = self.state
        job = replace(
            self.job, learning_rate_factor=state.learning_rate_factor, rollbacks=state.rollbacks,
            rollback=state.rollback, epochs_recorded=state.epoch, attempt=state.attempt,
        )  # fmt: skip
        control = CountAndKill(self)
        try:
            Trainer([job], self.events.append, control).run()
        except (Diverged, Killed) as error:
            return error
        return None

    def carry_out(self) -> None:
        """Until the model is done."""
        for _ in range(200):
            end = self.attempt()
            if end is None:
                return
            if isinstance(end, Killed):
                if self.lost:
                    del self.events[-self.lost :]
                continue
            about: dict[str, Any] = {"time": 1.0, "model": self.job.model, "index": 1}
            before = self.state
            failed = ModelFailed(kind="diverged", message=str(end), attempt=before.attempt, **about)
            retried = ModelRetried(from_epoch=0, reason="", attempt=before.attempt + 1, **about)
            self.events.append(failed)
            self.events.append(rolled_back(retried, before, files_of(self.job), 0.5))
            self.attempts.append((self.state.epoch, self.state.learning_rate_factor))
        raise AssertionError("it does not end")


class CountAndKill(Control):
    def __init__(self, runner: Runner) -> None:
        super().__init__()
        self._runner = runner

    def may_continue(self) -> bool:
        runner = self._runner
        runner.steps += 1
        if runner.steps in runner.kills:
            raise Killed
        return super().may_continue()


@pytest.fixture
def undisturbed(job_for: Callable[..., Job]) -> Runner:
    runner = Runner(job_for("undisturbed"))
    runner.carry_out()
    return runner


def test_it_goes_back_further_each_time_and_then_ends(undisturbed: Runner) -> None:
    """The weight is 5 and 10 after two epochs, and NaN comes of 12: from the second checkpoint at any rate."""
    assert undisturbed.attempts == [(2, 0.5), (1, 0.25), (0, 0.125)]
    record = record_of(undisturbed.job)
    assert record["epochs_completed"] == EPOCHS
    assert record["learning_rate_factor"] == 0.125
    assert [epoch["epoch"] for epoch in record["history"]] == list(range(1, EPOCHS + 1))
    assert {epoch["learning_rate"] for epoch in record["history"]} == {0.125}
    assert undisturbed.state.rollbacks == 3
    assert undisturbed.state.rollback is not None  # its loss never got as low as in the first epoch again
    told = [event for event in undisturbed.events if isinstance(event, EpochFinished)][-EPOCHS:]
    assert [event.epoch for event in told] == list(range(1, EPOCHS + 1))


def test_a_lower_rate_from_the_start_is_as_if_it_had_begun_so(undisturbed: Runner, job_for: Callable[..., Job]) -> None:
    other = job_for("other", learning_rate=0.125)
    run([other])
    assert bytes_of([other]) == bytes_of([undisturbed.job])


@pytest.mark.parametrize(("lost", "stride"), [(0, 4), (1, 9), (3, 9), (6, 9)])
def test_a_kill_at_any_step_changes_nothing(
    undisturbed: Runner, job_for: Callable[..., Job], lost: int, stride: int
) -> None:
    """In all attempts; what the runner had not written yet (the last `lost` events) the checkpoints tell."""
    total = undisturbed.steps
    assert total > 80
    for step in range(1 + lost % stride, total + 1, stride):
        runner = Runner(job_for(f"killed {step}"), {step}, lost)
        runner.carry_out()
        assert bytes_of([runner.job]) == bytes_of([undisturbed.job]), f"killed before step {step}"
        found, expected = record_of(runner.job), record_of(undisturbed.job)
        assert found["learning_rate_factor"] == expected["learning_rate_factor"]
        assert found["exact"] is True
        assert [{**epoch, "seconds": 0} for epoch in found["history"]] == [
            {**epoch, "seconds": 0} for epoch in expected["history"]
        ]


@pytest.mark.parametrize(("loss", "kept"), [(-1.0, [7, 6, 3]), (1e9, [7, 6])], ids=["not beyond it", "beyond it"])
def test_what_is_older_is_kept_until_the_model_is_beyond_its_rollback(
    job_for: Callable[..., Job], loss: float, kept: list[int]
) -> None:
    """Exploded weights give new checkpoints: they may not push out those that are yet to be gone back to."""
    job = job_for("run", learning_rate=0.1)
    with pytest.raises(Killed):
        run([job], KillAt(4 * exploding_code.STEPS + 1))
    assert [one.epoch for one in files_of(job)] == [4, 3]
    rollback = Rollback(step=4 * exploding_code.STEPS, diverged_epoch=6, loss=loss)
    with pytest.raises(Killed):
        run([replace(job, rollbacks=1, rollback=rollback)], KillAt(3 * exploding_code.STEPS + 1))
    assert [one.epoch for one in files_of(job)] == kept
    told = checkpoints.load_checkpoint(checkpoints.paths(Path(job.directory) / "checkpoints" / job.model)[0]).record
    assert told["rollbacks"] == 1
    assert told["rollback"] == (None if loss > 0 else {"step": 20, "diverged_epoch": 6, "loss": -1.0})


def test_only_checkpoints_of_earlier_times_are_discarded(job_for: Callable[..., Job]) -> None:
    job = replace(job_for("run"), learning_rate_factor=0.1)
    directory = Path(job.directory) / "checkpoints" / job.model
    with pytest.raises(Killed):
        run([job], KillAt(4 * exploding_code.STEPS + 1))
    assert [one.epoch for one in files_of(job)] == [4, 3]
    newest, before = checkpoints.paths(directory)
    kept = checkpoints.load_checkpoint(newest)
    assert "rollbacks" not in kept.record
    checkpoints.save_checkpoint(
        directory, 21, kept.tensors, {**kept.record, "step": 21, "rollbacks": 1, "rollback": None}
    )
    (directory / "step-000000000022.safetensors").write_bytes(b"damaged")
    assert [path.name for path in checkpoints.discard(directory, 15, 1)] == [
        "step-000000000022.safetensors", newest.name,
    ]  # fmt: skip
    assert [path.name for path in checkpoints.paths(directory)] == [
        "step-000000000021-attempt-1.safetensors",
        before.name,
    ]
    assert checkpoints.discard(directory, 15, 1) == []


def test_a_record_that_lags_behind_is_put_right_by_the_checkpoint(job_for: Callable[..., Job]) -> None:
    rollback = Rollback(step=0, diverged_epoch=9, loss=6.0)
    job = replace(job_for("run"), learning_rate_factor=0.125, rollbacks=3, rollback=rollback)
    with pytest.raises(Killed):
        run([job], KillAt(3 * exploding_code.STEPS + 1))
    _, events = run([replace(job, learning_rate_factor=1.0, rollbacks=0, rollback=None, epochs_recorded=3)])
    # What it records of the first three epochs is of before they were trained again.
    assert [event.epoch for event in events if isinstance(event, EpochFinished)][:3] == [1, 2, 3]
    (retried,) = [event for event in events if isinstance(event, ModelRetried)]
    assert (retried.from_epoch, retried.learning_rate_factor, retried.rollbacks) == (3, 0.125, 3)
    assert retried.rollback == rollback
    assert {event.metrics.get("learning_rate") for event in events if isinstance(event, EpochFinished)} == {0.125}
    assert record_of(job)["learning_rate_factor"] == 0.125


@pytest.mark.parametrize(
    ("rollback", "exact"),
    [
        (None, False),
        (Rollback(step=10, diverged_epoch=9, loss=6.0), False),
        (Rollback(step=0, diverged_epoch=9, loss=6.0), True),
    ],
)
def test_a_model_whose_checkpoints_since_it_went_back_are_lost_is_not_exact(
    job_for: Callable[..., Job], rollback: Rollback | None, exact: bool
) -> None:
    """It begins anew with the lower learning rate. Where it had gone back to the start, nothing is lost by that."""
    _, events = run([replace(job_for("run"), learning_rate_factor=0.125, rollbacks=3, rollback=rollback)])
    assert record_of(job_for("run"))["exact"] is exact
    told = [event.message for event in events if isinstance(event, ResourceWarned) and event.kind == "exactness"]
    assert len(told) == (0 if exact else 1)
    assert exact or "had gone back 3 times after divergences, and its checkpoints since then are lost" in told[0]


def test_one_of_a_group_goes_back_alone(make_job: Any) -> None:
    """The others are not touched; it ends as if it had begun with the lower rate."""
    rates = (1.0, 0.01, 0.02)
    jobs = [
        make_job("group", {**TRAINING, "learning_rate": rate}, DATA, model=f"cognate_m_{n}", index=n)
        for n, rate in enumerate(rates, 1)
    ]
    left: list[tuple[Job, Diverged | None]] = []
    events: list[Event] = []
    Trainer(jobs, events.append, Control(), lambda job, why: left.append((job, why))).run()
    ((job, why),) = left
    assert job is jobs[0]
    assert isinstance(why, Diverged)
    assert [record_of(one)["exact"] for one in jobs[1:]] == [True, True]
    runner = Runner(job)
    runner.events = [event for event in events if getattr(event, "index", 0) == 1]
    assert [event.epoch for event in runner.events if isinstance(event, CheckpointSaved)] == [1, 2]
    retried = ModelRetried(from_epoch=0, reason="", attempt=2, time=1.0, model=job.model, index=1)
    runner.events.append(rolled_back(retried, runner.state, files_of(job), 0.5))
    runner.carry_out()
    assert runner.attempts == [(1, 0.25), (0, 0.125)]
    other = make_job("other", {**TRAINING, "learning_rate": 0.125}, DATA, model="cognate_m_1")
    run([other])
    assert bytes_of([job]) == bytes_of([other])
