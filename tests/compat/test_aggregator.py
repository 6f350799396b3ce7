"""The kept interface's progress tracker."""

from __future__ import annotations

import json
import math
import threading
from pathlib import Path
from typing import Any

import pytest

from forge_tui.compat.aggregator import ProgressAggregator, create_progress_tracker
from forge_tui.protocol.phases import TrainingPhase

TRAINING, COMPLETED, FAILED = TrainingPhase.TRAINING, TrainingPhase.COMPLETED, TrainingPhase.FAILED


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_before_anything_happened() -> None:
    tracker = create_progress_tracker()
    progress = tracker.get_overall_progress()
    assert set(progress) == {
        "overall_percent", "completed_models", "total_models", "phase", "time_elapsed", "estimated_remaining", "models",
    }  # fmt: skip
    assert (progress["overall_percent"], progress["completed_models"], progress["total_models"]) == (0.0, 0, 3)
    assert (progress["phase"], progress["time_elapsed"], progress["estimated_remaining"]) == ("queued", 0.0, None)
    assert list(progress["models"]) == [1, 2, 3]
    assert not tracker.is_training_complete()
    assert not tracker.has_failed_models()
    assert tracker.format_progress_message("series") == "Training model 1/3: Epoch 0/100 (0.0%)"
    assert tracker.format_progress_message("parallel") == "Training 0 models in parallel: Overall 0.0%"


def test_the_described_messages() -> None:
    tracker = ProgressAggregator(total_models=3)
    tracker.update_model_progress(model_id=1, phase=TRAINING, current_epoch=50, total_epochs=100, loss_value=0.24)
    assert tracker.format_progress_message("series") == "Training model 1/3: Epoch 50/100 (50.0%)"
    tracker.update_model_progress(2, TRAINING, 46, 100)
    tracker.update_model_progress(3, COMPLETED, 100, 100)
    assert tracker.format_progress_message("parallel") == "Training 2 models in parallel: Overall 65.3%"
    with pytest.raises(ValueError, match="mode must be one of series, parallel, not 'both'"):
        tracker.format_progress_message("both")


def test_series_follows_the_model_at_work() -> None:
    tracker = ProgressAggregator(2)
    tracker.update_model_progress(1, TRAINING, 9, 10)
    tracker.update_model_progress(1, COMPLETED, 10, 10)
    assert tracker.format_progress_message("series") == "Training model 1/2: Epoch 10/10 (100.0%)"
    assert tracker.get_overall_progress()["phase"] == "training"
    tracker.update_model_progress(2, TRAINING, 3, 10)
    assert tracker.format_progress_message("series") == "Training model 2/2: Epoch 3/10 (30.0%)"


def test_overall_progress_is_the_mean() -> None:
    tracker = ProgressAggregator(4)
    tracker.update_model_progress(1, COMPLETED)
    tracker.update_model_progress(2, TRAINING, 5, 20, loss_value=0.5, learning_rate=0.01)
    progress = tracker.get_overall_progress()
    assert progress["overall_percent"] == pytest.approx(125 / 4)
    assert progress["completed_models"] == 1
    assert tracker._calculate_progress_variance() == pytest.approx(
        sum((value - 31.25) ** 2 for value in (100, 25, 0, 0)) / 4
    )
    second = tracker.get_model_progress(2)
    assert second is not None
    assert (second["current_epoch"], second["total_epochs"], second["progress_percent"]) == (5, 20, 25.0)
    assert (second["loss_value"], second["learning_rate"], second["phase"]) == (0.5, 0.01, "training")
    assert tracker.get_model_progress(9) is None


def test_the_end_and_failures() -> None:
    tracker = ProgressAggregator(2)
    tracker.update_model_progress(1, TRAINING, 4, 10)
    tracker.update_model_progress(1, FAILED)
    assert tracker.has_failed_models()
    assert tracker.get_model_progress(1)["current_epoch"] == 4  # type: ignore[index]
    assert not tracker.is_training_complete()
    tracker.update_model_progress(2, "completed")
    assert tracker.is_training_complete()
    assert tracker.get_overall_progress()["phase"] == "failed"
    assert tracker.get_overall_progress()["estimated_remaining"] == 0.0
    tracker.update_model_progress(1, TRAINING, 0, 10)
    tracker.update_model_progress(1, COMPLETED, 10, 10)
    assert not tracker.has_failed_models()
    assert tracker.get_overall_progress()["phase"] == "completed"


def test_time_left_comes_from_measured_epochs_without_the_first(clock: Clock) -> None:
    tracker = ProgressAggregator(2, clock=clock)
    tracker.update_model_progress(1, TRAINING, 0, 10)
    assert tracker.get_overall_progress()["estimated_remaining"] is None
    clock.now += 30.0
    tracker.update_model_progress(1, TRAINING, 1, 10)
    for epoch in (2, 3):
        clock.now += 2.0
        tracker.update_model_progress(1, TRAINING, epoch, 10)
    progress = tracker.get_overall_progress()
    assert progress["time_elapsed"] == 34.0
    assert progress["estimated_remaining"] == pytest.approx(7 * 2.0 + 10 * 2.0)
    clock.now += 1.0
    assert tracker.get_overall_progress()["estimated_remaining"] == pytest.approx(33.0)
    # The other one's estimate is as old as what it told itself.
    tracker.update_model_progress(2, TRAINING, 0, 10)
    clock.now += 8.0
    tracker.update_model_progress(2, TRAINING, 1, 10)
    for epoch in (2, 3):
        clock.now += 4.0
        tracker.update_model_progress(2, TRAINING, epoch, 10)
    assert tracker.get_overall_progress()["estimated_remaining"] == pytest.approx(7 * 4.0)


def test_durations_do_not_follow_a_wall_clock_that_is_set(clock: Clock) -> None:
    wall = Clock()
    tracker = ProgressAggregator(1, clock=wall, monotonic=clock)
    for epoch in range(4):
        tracker.update_model_progress(1, TRAINING, epoch, 10)
        reported = wall.now
        clock.now += 2.0
        wall.now += 2.0 + (3600.0 if epoch == 1 else -7200.0 if epoch == 2 else 0.0)
    progress = tracker.get_overall_progress()
    assert progress["time_elapsed"] == 8.0
    assert progress["estimated_remaining"] == pytest.approx(7 * 2.0 - 2.0)
    model = tracker.get_model_progress(1)
    assert model is not None
    assert (model["epoch_seconds"], model["last_update"]) == (2.0, reported)


def test_elapsed_stands_still_at_the_end_and_never_runs_backwards(clock: Clock) -> None:
    tracker = ProgressAggregator(1, clock=clock)
    tracker.update_model_progress(1, TRAINING, 1, 2)
    clock.now += 5.0
    tracker.update_model_progress(1, COMPLETED, 2, 2)
    clock.now += 100.0
    assert tracker.get_overall_progress()["time_elapsed"] == 5.0
    again = ProgressAggregator(1, clock=clock)
    again.update_model_progress(1, TRAINING, 1, 4)
    clock.now -= 500.0
    again.update_model_progress(1, TRAINING, 2, 4)
    assert again.get_overall_progress()["time_elapsed"] == 0.0
    assert again.get_overall_progress()["estimated_remaining"] >= 0.0


@pytest.mark.parametrize(
    ("ids", "order"),
    [
        ([1, 2, 3], [1, 2, 3]), ([0, 1, 2], [0, 1, 2]), ([3, 1], [1, 2, 3]), (["a", "b", "c"], ["a", "b", "c"]),
        ([1, 2, 3, 4, 9], [1, 2, 3, 4, 9]), (["a", "b", "c", "d"], ["a", "b", "c", "d"]), ([2, "x"], ["x", 2, 3]),
    ],
)  # fmt: skip
def test_models_are_numbered_or_named_and_more_of_them_are_welcome(ids: list[Any], order: list[Any]) -> None:
    tracker = ProgressAggregator(3)
    for identity in ids:
        tracker.update_model_progress(identity, TRAINING, 10, 100)
    progress = tracker.get_overall_progress()
    assert list(progress["models"]) == order
    assert progress["total_models"] == tracker.total_models == len(order)
    assert progress["overall_percent"] == pytest.approx(10.0 * len(ids) / len(order))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"model_id": -1}, "model_id must be a whole number, at least 0, not -1"),
        ({"model_id": True}, "model_id"), ({"model_id": 1.5}, "model_id"), ({"model_id": ""}, "empty string"),
        ({"phase": "resting"}, "phase must be one of queued, initializing, .*, not 'resting'"),
        ({"phase": None}, "phase must be one of"),
        ({"current_epoch": -1}, "current_epoch must be a whole number, at least 0, not -1"),
        ({"current_epoch": 101}, r"current_epoch must be at most total_epochs \(100\), not 101"),
        ({"current_epoch": 1.5}, "current_epoch"),
        ({"total_epochs": 0}, "total_epochs must be a whole number, at least 1"),
        ({"loss_value": "low"}, "loss_value must be a number or None, not 'low'"), ({"loss_value": True}, "loss_value"),
        ({"learning_rate": -0.1}, "learning_rate must be a finite"), ({"learning_rate": math.nan}, "learning_rate"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_and_changes_nothing(arguments: dict[str, Any], words: str) -> None:
    tracker = ProgressAggregator(3)
    before = tracker.get_overall_progress()
    with pytest.raises(ValueError, match=words):
        tracker.update_model_progress(**{"model_id": 1, "phase": TRAINING, **arguments})
    assert tracker.get_overall_progress() == before


@pytest.mark.parametrize("count", [0, -1, True, 1.5, "3"])
def test_the_number_of_models_must_be_one(count: Any) -> None:
    with pytest.raises(ValueError, match="total_models must be a whole number, at least 1"):
        ProgressAggregator(count)


def test_a_diverged_loss_is_no_number(tmp_path: Path) -> None:
    tracker = ProgressAggregator(1)
    tracker.update_model_progress(1, TRAINING, 1, 10, loss_value=0.5)
    tracker.update_model_progress(1, TRAINING, 2, 10, loss_value=math.nan)
    found = tracker.get_model_progress(1)
    assert found is not None
    assert (found["loss_value"], found["best_loss"], found["diverged"]) == (None, 0.5, True)
    tracker.export_progress_log(tmp_path / "log.json")
    assert "NaN" not in (tmp_path / "log.json").read_text()


def test_the_exported_log_holds_every_report(tmp_path: Path, clock: Clock) -> None:
    tracker = ProgressAggregator(2, clock=clock)
    for epoch in range(1, 5):
        clock.now += 1.0
        tracker.update_model_progress(1, TRAINING, epoch, 4, loss_value=1.0 / epoch)
    tracker.update_model_progress(1, COMPLETED, 4, 4)
    tracker.export_progress_log(str(tmp_path / "log.json"))
    log = json.loads((tmp_path / "log.json").read_text())
    assert log["format"] == 1
    assert [entry["current_epoch"] for entry in log["history"]] == [1, 2, 3, 4, 4]
    assert [entry["time"] for entry in log["history"]] == [1001.0, 1002.0, 1003.0, 1004.0, 1004.0]
    assert log["report"]["overall"]["completed_models"] == 1
    assert log["report"]["summary"]["best_loss"] == 0.25
    assert [path.name for path in tmp_path.iterdir()] == ["log.json"]
    with pytest.raises(OSError, match="No such file"):
        tracker.export_progress_log(tmp_path / "missing" / "log.json")


def test_the_report_is_json_able() -> None:
    tracker = ProgressAggregator(2)
    tracker.update_model_progress(2, FAILED)
    report = json.loads(json.dumps(tracker.generate_progress_report()))
    assert report["summary"]["failed_models"] == [2]
    assert [model["model_id"] for model in report["models"]] == [1, 2]


def test_many_threads_lose_no_report() -> None:
    tracker = ProgressAggregator(8)
    broken: list[BaseException] = []

    def train(identity: int) -> None:
        try:
            for epoch in range(1, 101):
                tracker.update_model_progress(identity, TRAINING, epoch, 100)
                tracker.get_overall_progress()
        except BaseException as error:
            broken.append(error)

    threads = [threading.Thread(target=train, args=(identity,)) for identity in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert broken == []
    assert tracker.get_overall_progress()["overall_percent"] == 100.0
    assert tracker.generate_progress_report()["history_length"] == 800
