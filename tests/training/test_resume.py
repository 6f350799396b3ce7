"""A model that was killed or stopped anywhere ends with the same bytes as one left alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from trained import KillAt, Killed

from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.events import CheckpointSaved, EpochFinished, Event, ModelStarted, ResourceWarned
from forge_tui.protocol.job import Control, Job, Outcome
from forge_tui.training import checkpoint as checkpoints
from forge_tui.training import state
from forge_tui.training.trainer import Trainer

CONFIGS: dict[str, dict[str, Any]] = {
    "adam": {},
    "adam, grokfast ema": {"grokfast_enabled": True},
    "adamw, grokfast ma": {
        "optimizer": "adamw",
        "weight_decay": 0.01,
        "grokfast_enabled": True,
        "grokfast_filter": "ma",
        "grokfast_window": 6,
    },
    "sgd with momentum": {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.05},
    "sgd": {"optimizer": "sgd", "learning_rate": 0.05},
    "cosine with a warm-up": {"schedule": "cosine", "warmup_steps": 9},
    "one cycle, clipped": {"schedule": "one_cycle", "gradient_clip": 0.3},
    "accumulated, smoothed labels": {"accumulate": 4, "label_smoothing": 0.1, "gradient_clip": 0.3},
    "averaged weights": {"weights_average": 0.9},
    "accumulated, averaged, grokfast": {"accumulate": 2, "weights_average": 0.9, "grokfast_enabled": True},
    "memory": {"model_type": "memory"},
    "reasoner": {"model_type": "reasoner"},
}


def weights(job: Job) -> bytes:
    return (Path(job.directory) / f"{job.model}.safetensors").read_bytes()


def history(job: Job) -> list[dict[str, Any]]:
    record = json.loads((Path(job.directory) / f"{job.model}.json").read_bytes())
    return [{key: value for key, value in epoch.items() if key != "seconds"} for epoch in record["history"]]


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_stopped_mid_epoch_and_killed_between_checkpoints(
    make_job: Any, train: Any, stop_after: Any, config: dict[str, Any]
) -> None:
    training = {**config, "batch_size": 16, "epochs": 5, "checkpoint_interval": 2}  # 99 samples: 7 steps an epoch
    alone, broken = make_job("alone", training), make_job("broken", training)
    train(alone)

    assert Trainer([broken], lambda event: None, stop_after(10)).run() is Outcome.STOPPED
    stopped = checkpoints.newest_valid(Path(broken.directory) / "checkpoints" / broken.model)
    assert stopped is not None
    assert (stopped.step, stopped.epoch, stopped.record["step_in_epoch"]) == (10, 1, 3)
    with pytest.raises(Killed):  # after the checkpoint of epoch 2 (step 14), inside epoch 4
        Trainer([broken], lambda event: None, KillAt(13)).run()
    events: list[Event] = []
    assert Trainer([broken], events.append, Control()).run() is Outcome.COMPLETED

    epochs = [event for event in events if isinstance(event, EpochFinished)]
    assert [event.epoch for event in epochs] == [3, 4, 5]
    assert [event.step for event in epochs] == [21, 28, 35]
    assert weights(broken) == weights(alone)
    assert history(broken) == history(alone)
    assert [epoch["epoch"] for epoch in history(broken)] == [1, 2, 3, 4, 5]


def test_a_damaged_newest_checkpoint_costs_only_the_way_back_to_the_one_before(make_job: Any, train: Any) -> None:
    training = {"epochs": 6, "checkpoint_interval": 2}  # 99 samples: 4 steps an epoch
    alone, broken = make_job("alone", training), make_job("broken", training)
    train(alone)
    with pytest.raises(Killed):
        Trainer([broken], lambda event: None, KillAt(18)).run()
    newest, before = checkpoints.paths(Path(broken.directory) / "checkpoints" / broken.model)
    data = bytearray(newest.read_bytes())
    data[-5] ^= 1
    newest.write_bytes(data)

    outcome, events = train(broken)
    assert outcome is Outcome.COMPLETED
    warnings = [event for event in events if isinstance(event, ResourceWarned)]
    assert [warning.kind for warning in warnings] == ["checkpoint"]
    assert newest.name in warnings[0].message
    assert before.name in warnings[0].message
    assert next(event.epoch for event in events if isinstance(event, EpochFinished)) == 3
    assert weights(broken) == weights(alone)


def test_trained_further_equals_trained_at_once(make_job: Any, train: Any) -> None:
    short, long = make_job("run", {"epochs": 3}), make_job("run", {"epochs": 5})
    at_once = make_job("at once", {"epochs": 5})
    train(short)
    _, events = train(long)
    train(at_once)
    assert [event.epoch for event in events if isinstance(event, EpochFinished)] == [4, 5]
    assert weights(long) == weights(at_once)


def test_a_finished_model_is_not_trained_again(make_job: Any, train: Any) -> None:
    job = make_job()
    train(job)
    before = weights(job)
    outcome, events = train(job)
    assert outcome is Outcome.COMPLETED
    assert [event.event for event in events] == ["phase_changed", "model_completed", "phase_changed"]
    assert weights(job) == before


def test_damaged_weights_are_written_again_from_the_last_checkpoint(make_job: Any, train: Any) -> None:
    job = make_job()
    train(job)
    before = weights(job)
    (Path(job.directory) / f"{job.model}.safetensors").write_bytes(before[:-1])
    outcome, events = train(job)
    assert outcome is Outcome.COMPLETED
    assert not [event for event in events if isinstance(event, EpochFinished | CheckpointSaved)]
    assert weights(job) == before


def test_resuming_with_other_threads_warns_and_is_recorded(make_job: Any, train: Any, stop_after: Any) -> None:
    Trainer([make_job()], lambda event: None, stop_after(6)).run()
    other = make_job(threads=2)
    _, events = train(other)
    warning = next(event for event in events if isinstance(event, ResourceWarned))
    assert warning.kind == "exactness"
    assert "threads 1 → 2" in warning.message
    assert json.loads((Path(other.directory) / f"{other.model}.json").read_bytes())["exact"] is False


def test_resuming_on_another_processor_is_not_exact(
    make_job: Any, train: Any, stop_after: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same instructions: products of matrices come from other kernels there."""
    monkeypatch.setattr(state, "processor", lambda: "x86_64 GenuineIntel 6 106")
    Trainer([make_job()], lambda event: None, stop_after(6)).run()
    monkeypatch.setattr(state, "processor", lambda: "x86_64 AuthenticAMD 25 17")
    job = make_job()
    _, events = train(job)
    (warning,) = [event for event in events if isinstance(event, ResourceWarned)]
    assert "hardware x86_64 GenuineIntel 6 106 → x86_64 AuthenticAMD 25 17" in warning.message
    assert json.loads((Path(job.directory) / f"{job.model}.json").read_bytes())["exact"] is False


def test_a_checkpoint_of_other_settings_is_refused(make_job: Any, train: Any, stop_after: Any) -> None:
    Trainer([make_job()], lambda event: None, stop_after(6)).run()
    with pytest.raises(RunDirectoryError, match="another model than these settings"):
        train(make_job(training={"model_size": 4_000}))
    with pytest.raises(RunDirectoryError, match=r"seed 0, not of .* seed 5"):
        train(make_job(seed=5))


def test_a_stop_before_the_first_step_leaves_nothing_behind(make_job: Any, stop_after: Any) -> None:
    job = make_job()
    events: list[Event] = []
    assert Trainer([job], events.append, stop_after(0)).run() is Outcome.STOPPED
    assert any(isinstance(event, ModelStarted) for event in events)
    assert checkpoints.paths(Path(job.directory) / "checkpoints" / job.model) == []


def test_epochs_that_a_killed_runner_could_not_record_are_reported_again(make_job: Any, train: Any) -> None:
    training = {"epochs": 6, "checkpoint_interval": 2}  # 99 samples: 4 steps an epoch
    alone, broken = make_job("alone", training), make_job("broken", training)
    _, undisturbed = train(alone)
    with pytest.raises(Killed):  # after the checkpoint of epoch 4
        Trainer([broken], lambda event: None, KillAt(18)).run()

    _, events = train(replace(broken, epochs_recorded=1))
    told, whole = ([event for event in found if isinstance(event, EpochFinished)] for found in (events, undisturbed))
    assert [event.epoch for event in told] == [2, 3, 4, 5, 6]
    assert [(event.step, event.loss, event.best_loss) for event in told] == [
        (event.step, event.loss, event.best_loss) for event in whole[1:]
    ]

    _, events = train(replace(broken, epochs_recorded=4))  # finished, and its runner killed before it heard of that
    kinds = [event.epoch if isinstance(event, EpochFinished) else event.event for event in events]
    assert kinds == ["phase_changed", 5, 6, "model_completed", "phase_changed"]
