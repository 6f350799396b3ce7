"""Warnings while a run goes on: once each, in words, with the figures they are about."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_tui.protocol.events import EpochFinished
from forge_tui.runner.alerts import HISTORY_BYTES, DiskWatch, HistoryWatch, SpeedWatch


def epoch(rate: float | None, seconds: float | None = 5.0, index: int = 1) -> EpochFinished:
    return EpochFinished(
        time=1.0, model=f"planner_{index}", index=index, attempt=1, epoch=1, epochs=9, step=1, best_loss=1.0,
        metrics={"loss": 1.0, "steps_per_second": rate}, seconds=seconds,
    )  # fmt: skip


def test_a_model_at_less_than_half_of_its_own_speed_is_told_of_once_and_again_after_it_recovered() -> None:
    watch = SpeedWatch()
    rates = [100.0, 40.0, 40.0, 40.0, 90.0, 40.0, 40.0]
    told = [watch.take(epoch(rate)) for rate in rates]
    assert [warning is not None for warning in told] == [False, False, True, False, False, False, True]
    assert told[2] is not None
    assert (told[2].kind, told[2].value, told[2].threshold) == ("speed", 40.0, 50.0)
    assert told[2].message == "planner_1 makes 40.0 steps/s, less than half of its earlier 100.0"


def test_half_of_the_speed_is_no_reason_and_one_slow_window_neither() -> None:
    watch = SpeedWatch()
    assert [watch.take(epoch(rate)) for rate in (100.0, 50.0, 50.0, 50.0, 20.0, 60.0, 20.0, 60.0)] == [None] * 8


def test_short_epochs_are_taken_together() -> None:
    watch = SpeedWatch()
    assert watch.take(epoch(100.0)) is None
    slow = [watch.take(epoch(10.0, seconds=0.5)) for _ in range(20)]
    assert [number for number, warning in enumerate(slow) if warning] == [19]  # two windows of five seconds


def test_a_new_attempt_does_not_count_with_what_was_begun_before_and_models_are_apart() -> None:
    watch = SpeedWatch()
    watch.take(epoch(100.0))
    watch.take(epoch(10.0, seconds=4.9))
    watch.forget(1)
    assert [watch.take(epoch(100.0, seconds=2.5)) for _ in range(4)] == [None] * 4
    assert [watch.take(epoch(10.0, index=2)) for _ in range(4)] == [None] * 4
    watch.forget(3)


def test_an_epoch_that_tells_no_speed_is_left_out() -> None:
    watch = SpeedWatch()
    assert watch.take(epoch(None)) is watch.take(epoch(1.0, None)) is watch.take(epoch(1.0, 0.0)) is None


@given(st.lists(st.floats(50.0, 100.0), max_size=30))
def test_a_speed_that_never_halves_is_never_told_of(rates: list[float]) -> None:
    watch = SpeedWatch()
    assert [watch.take(epoch(rate)) for rate in rates] == [None] * len(rates)


def test_a_disk_without_room_for_the_next_checkpoints_is_told_of_once_and_again_after_it_had(tmp_path: Path) -> None:
    free = {"bytes": 10_000}
    watch = DiskWatch(tmp_path, lambda _: free["bytes"] + HISTORY_BYTES)
    assert watch.look(1.0, 3) is None  # no checkpoint yet, no size to go by
    watch.checkpoint(1_000)
    watch.checkpoint(500)
    assert watch.look(1.0, 5) is None  # just enough: two for each of five
    warning = watch.look(2.0, 6)
    assert warning is not None
    assert (warning.kind, warning.value, warning.threshold) == (
        "disk",
        10_000.0 + HISTORY_BYTES,
        12_000.0 + HISTORY_BYTES,
    )
    assert f"of {tmp_path}; the next checkpoints and the history need about" in warning.message
    assert watch.look(3.0, 6) is None
    free["bytes"] = 12_000
    assert watch.look(4.0, 6) is None
    free["bytes"] = 1
    assert watch.look(5.0, 6) is not None


def test_a_disk_that_cannot_be_asked_and_one_without_models_at_work(tmp_path: Path) -> None:
    watch = DiskWatch(tmp_path / "gone")
    watch.checkpoint(1_000)
    assert watch.look(1.0, 1) is None
    watch = DiskWatch(tmp_path, lambda _: 1_999 + HISTORY_BYTES)
    watch.checkpoint(1_000)
    assert watch.look(1.0, 0) is not None


def test_what_is_not_being_recorded_is_said_once_for_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    watch = HistoryWatch()
    for problem in (None, "run.db: disk I/O error", "run.db: disk I/O error, 2 s", None, "run.db: it is full", None):
        watch.look(problem)
    assert capsys.readouterr().err.splitlines() == ["run.db: disk I/O error", "run.db: it is full"]
