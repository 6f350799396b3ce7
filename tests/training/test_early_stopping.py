"""Early stopping: when a model stops, which weights it leaves, alone and in a group, and through a kill."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from trained import KillAt, Killed, jobs_of, run
from trained import record_of as record

from forge_tui.protocol.events import EpochFinished, Event, ModelCompleted, PhaseChanged
from forge_tui.protocol.job import Control, Job, Outcome
from forge_tui.training.early_stopping import BestEpoch
from forge_tui.training.patience import exceeds_patience
from forge_tui.training.trainer import Trainer

EPOCHS, PATIENCE = 40, 3
# Small data and a high rate: the validation loss has its least after a few epochs.
FAST = {"learning_rate": 0.02, "epochs": EPOCHS, "checkpoint_interval": 4}


def weights(job: Job) -> bytes:
    return (Path(job.directory) / f"{job.model}.safetensors").read_bytes()


def expected_end(history: list[dict[str, Any]], patience: int, measure: str) -> tuple[int, int]:
    """The last epoch and the best one of a model that would go on as `history` does."""
    best, best_epoch = math.inf, 0
    for epoch in history:
        if epoch[measure] < best:
            best, best_epoch = epoch[measure], epoch["epoch"]
        if epoch["epoch"] - best_epoch == patience:
            return epoch["epoch"], best_epoch
    return len(history), best_epoch


def test_the_best_epoch_is_the_least_finite_measure() -> None:
    best = BestEpoch()
    taken = [best.take(epoch, value) for epoch, value in enumerate([math.nan, 2.0, math.inf, 1.0, 1.0, 1.5], 1)]
    assert taken == [False, True, False, True, False, False]
    assert (best.epoch, best.measure) == (4, 1.0)
    assert [exceeds_patience(3, epoch, 4) for epoch in (4, 6, 7)] == [False, False, True]
    assert not exceeds_patience(0, 1_000, 0)


@pytest.mark.parametrize(
    ("options", "data", "measure"),
    [
        ({}, {}, "validation_loss"),
        ({"weights_average": 0.8}, {}, "validation_loss"),
        ({"learning_rate": 0.3}, {"validation_fraction": 0.0}, "loss"),
    ],
    ids=["validated", "averaged weights", "nothing held back"],
)
def test_a_model_stops_when_nothing_got_better_and_its_file_is_its_best_epochs(
    make_job: Any, train: Any, options: dict[str, Any], data: dict[str, Any], measure: str
) -> None:
    training = {**FAST, **options}
    whole = make_job("whole", training, data)
    train(whole)
    last, best = expected_end(record(whole)["history"], PATIENCE, measure)
    assert best < last < EPOCHS, "the test needs a model that gets worse"

    job, until_best = (
        make_job("run", {**training, "patience": PATIENCE}, data),
        make_job("best", {**training, "epochs": best}, data),
    )
    outcome, events = train(job)
    train(until_best)

    assert outcome is Outcome.COMPLETED
    assert [event.epoch for event in events if isinstance(event, EpochFinished)] == list(range(1, last + 1))
    assert weights(job) == weights(until_best)
    found = record(job)
    assert (found["epochs_completed"], found["best_epoch"], found["stopped_early"]) == (last, best, True)
    assert len(found["history"]) == last
    assert found["loss"] == found["history"][best - 1]["loss"]
    assert found["validation"]["loss"] == found["history"][best - 1]["validation_loss"]
    completed = next(event for event in events if isinstance(event, ModelCompleted))
    assert (completed.best_epoch, completed.metrics["loss"]) == (best, found["loss"])
    assert completed.metrics.get("validation_accuracy") == found["history"][best - 1]["validation_accuracy"]
    end = [event for event in events if isinstance(event, PhaseChanged)][-1]
    assert end.reason == (
        f"stopped early at epoch {last}: its loss was not better since epoch {best} (training.patience = {PATIENCE})"
    )


def test_with_patience_left_the_last_epoch_ends_it_and_the_best_one_is_kept(make_job: Any, train: Any) -> None:
    whole = make_job("whole", FAST)
    train(whole)
    _, best = expected_end(record(whole)["history"], PATIENCE, "validation_loss")
    job = make_job("run", {**FAST, "epochs": best + PATIENCE - 1, "patience": PATIENCE})
    _, events = train(job)
    assert [record(job)[name] for name in ("epochs_completed", "best_epoch", "stopped_early")] == [
        best + PATIENCE - 1, best, False,
    ]  # fmt: skip
    assert [event for event in events if isinstance(event, PhaseChanged)][-1].reason is None
    # Trained further it is what it would be at once: it stops one epoch later.
    further, at_once = (
        make_job("run", {**FAST, "patience": PATIENCE}),
        make_job("at once", {**FAST, "patience": PATIENCE}),
    )
    _, events = train(further)
    train(at_once)
    assert [event.epoch for event in events if isinstance(event, EpochFinished)] == [best + PATIENCE]
    assert weights(further) == weights(at_once)


def test_one_that_stopped_early_is_done_however_many_epochs_there_are(make_job: Any, train: Any) -> None:
    job = make_job("run", {**FAST, "patience": PATIENCE})
    _, first = train(job)
    before = weights(job)
    outcome, events = train(make_job("run", {**FAST, "patience": PATIENCE, "epochs": 2 * EPOCHS}))
    assert outcome is Outcome.COMPLETED
    assert [event.event for event in events] == ["phase_changed", "model_completed", "phase_changed"]
    again, once = ([e for e in found if isinstance(e, ModelCompleted | PhaseChanged)] for found in (events, first))
    assert (again[-2].best_epoch, again[-2].metrics) == (once[-2].best_epoch, once[-2].metrics)  # type: ignore[union-attr]
    assert again[-1].reason == once[-1].reason  # type: ignore[union-attr]
    assert weights(job) == before


@pytest.mark.parametrize(("select_by", "sign"), [("validation_accuracy", -1.0), ("validation_loss", 1.0)])
def test_the_metric_that_is_chosen_decides(make_job: Any, train: Any, select_by: str, sign: float) -> None:
    training = {**FAST, "learning_rate": 0.1}
    whole, job = make_job("whole", training), make_job("run", {**training, "patience": 3, "select_by": select_by})
    train(whole)
    history = [
        {"epoch": epoch["epoch"], "measure": sign * epoch["metrics"][select_by]} for epoch in record(whole)["history"]
    ]
    last, best = expected_end(history, 3, "measure")
    _, events = train(job)
    assert last < EPOCHS, "the test needs a model that stops"
    assert [record(job)[name] for name in ("epochs_completed", "best_epoch")] == [last, best]
    reason = [event for event in events if isinstance(event, PhaseChanged)][-1].reason
    assert reason == (
        f"stopped early at epoch {last}: its {select_by} was not better since epoch {best} (training.patience = 3)"
    )


def test_an_epoch_is_better_only_by_more_than_min_delta(make_job: Any, train: Any) -> None:
    best = BestEpoch()
    values = [2.0, 1.95, 1.9, 1.85, None, 1.8]
    taken = [best.take(epoch, value, 0.125) for epoch, value in enumerate(values, 1)]
    assert taken == [True, False, False, True, False, False]
    job = make_job("run", {**FAST, "patience": 2, "min_delta": 1e9})
    train(job)
    assert [record(job)[name] for name in ("epochs_completed", "best_epoch")] == [3, 1]


# --- through kills


def test_killed_after_its_best_epoch_it_ends_with_the_same_bytes(make_job: Any, train: Any) -> None:
    training = {**FAST, "patience": 6, "checkpoint_interval": 2}
    alone, broken = make_job("alone", training), make_job("broken", training)
    train(alone)
    found = record(alone)
    assert found["stopped_early"]
    # After the first checkpoint beyond the best epoch; 99 samples: 4 steps an epoch.
    with pytest.raises(Killed):
        run([broken], KillAt(4 * (found["best_epoch"] + 3) + 1))
    _, events = train(broken)
    assert next(event.epoch for event in events if isinstance(event, EpochFinished)) > found["best_epoch"]
    assert weights(broken) == weights(alone)
    assert record(broken)["epochs_completed"] == found["epochs_completed"]


@pytest.mark.usefixtures("float64")
def test_members_of_a_group_leave_it_one_by_one_as_if_alone(make_job: Any) -> None:
    training = {**FAST, "patience": PATIENCE, "weight_decay": 0.01}
    jobs, alone = jobs_of(make_job, "group", training=training), jobs_of(make_job, "alone", training=training)
    events: list[Event] = []
    left: list[str] = []
    outcome = Trainer(jobs, events.append, Control(), lambda job, why: left.append(job.model)).run()
    assert outcome is Outcome.COMPLETED
    for job in alone:
        run([job])
    ends = {job.model: record(job)["epochs_completed"] for job in alone}
    assert len(set(ends.values())) > 1, "the test needs models that stop at different epochs"
    for job, one in zip(jobs, alone, strict=True):
        found, expected = record(job), record(one)
        names = ("epochs_completed", "best_epoch", "stopped_early", "exact")
        assert [found[name] for name in names] == [expected[name] for name in names]
        assert [epoch["validation_loss"] for epoch in found["history"]] == pytest.approx(
            [epoch["validation_loss"] for epoch in expected["history"]], rel=1e-9
        )
        assert found["loss"] == pytest.approx(expected["loss"], rel=1e-9)
    assert sorted(left) == sorted(name for name, end in ends.items() if end < max(ends.values()))


def test_a_group_killed_anywhere_ends_with_the_same_bytes(make_job: Any) -> None:
    """Before a member leaves, between two that leave, and when one alone is left."""
    training = {**FAST, "patience": PATIENCE, "checkpoint_interval": 5}
    whole = jobs_of(make_job, "whole", training=training)
    run(whole)
    ends = sorted(record(job)["epochs_completed"] for job in whole)
    assert ends[0] < ends[-1], "the test needs models that stop at different epochs"
    for number, epoch in enumerate(range(1, ends[-1])):
        broken = jobs_of(make_job, f"broken {number}", training=training)
        with pytest.raises(Killed):
            run(broken, KillAt(4 * epoch + 2))
        run(broken)
        assert [weights(job) for job in broken] == [weights(job) for job in whole], f"killed in epoch {epoch + 1}"
        assert all(record(job)["exact"] for job in broken)
