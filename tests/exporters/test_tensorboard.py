"""A run as files for TensorBoard."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from event_reader import read_events
from measured import remeasured
from run_directories import RunMaker

from forge_tui import client
from forge_tui.cli import main
from forge_tui.errors import ForgeError
from forge_tui.exporters import tensorboard
from forge_tui.protocol.phases import RunState, TrainingPhase


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory."""
    path = tmp_path / "here"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


def read_back(directory: Path) -> dict[str, list[tuple[int, float, float]]]:
    """(step, time, value) of every tag."""
    (path,) = directory.iterdir()
    assert path.name.startswith("events.out.tfevents.")  # TensorBoard looks for that
    first, *events = read_events(path)
    assert first.version == "brain.Event:2"
    found: dict[str, list[tuple[int, float, float]]] = {}
    for event in events:
        for tag, value in event.figures.items():
            found.setdefault(tag, []).append((event.step, event.time, value))
    return found


def test_a_comparison_has_no_event_files(maker: RunMaker, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = maker.make("one"), maker.make("two")
    assert main(["report", str(one), "--against", str(two), "--format", "tensorboard"]) == 2
    assert "a comparison has no event files; use --format text or --format json" in capsys.readouterr().err


def test_every_figure_of_every_epoch_is_read_back(
    maker: RunMaker, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = [maker.model(1, epoch=3), maker.failed(2, epoch=2), maker.model(3, TrainingPhase.QUEUED)]
    path = maker.make("a run", RunState.FAILED, models)
    assert main(["report", str(path), "--format", "tensorboard"]) == 0
    written = here / "a_run-tensorboard"
    out, said = capsys.readouterr()
    assert out == f"{written}\n"
    assert f"`tensorboard --logdir {written}`" in said
    assert sorted(item.name for item in written.iterdir()) == ["cognate_planner_1", "cognate_planner_2"]
    with client.attach(path) as run:
        for index in (1, 2):
            found, history = read_back(written / f"cognate_planner_{index}"), run.history(index)
            assert sorted(found) == [
                "best_loss", "learning_rate", "loss", "seconds", "steps_per_second", "validation_accuracy",
                "validation_loss",
            ]  # fmt: skip
            for tag, values in found.items():
                assert [step for step, _, _ in values] == [epoch.epoch for epoch in history]
                assert [time for _, time, _ in values] == [epoch.time for epoch in history]
                expected = [epoch.metrics[tag] if tag in epoch.metrics else getattr(epoch, tag) for epoch in history]
                assert [value for _, _, value in values] == pytest.approx(expected, rel=1e-6)


def test_what_is_there_is_not_written_over(maker: RunMaker, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = maker.make("one", count=1)
    for name in ("one-tensorboard", "one-tensorboard-2"):
        assert main(["report", str(path), "--format", "tensorboard"]) == 0
        assert capsys.readouterr().out == f"{here / name}\n"
    assert read_back(here / "one-tensorboard" / "cognate_planner_1").keys() == (
        read_back(here / "one-tensorboard-2" / "cognate_planner_1").keys()
    )


def test_a_loss_that_is_not_a_number_stays_one(maker: RunMaker, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with client.attach(maker.make("one", count=1)) as run:
        first, *others = run.history(1)

        def histories(models: Any) -> Iterator[Any]:
            yield [remeasured(first, loss=math.nan), *others]

        monkeypatch.setattr(run, "histories", histories)
        written = tensorboard.write_event_files(run, here)
    losses = read_back(written / "cognate_planner_1")["loss"]
    assert math.isnan(losses[0][2])
    assert losses[1][2] == pytest.approx(others[0].loss, rel=1e-6)


def test_a_run_without_epochs_and_a_directory_that_takes_nothing(maker: RunMaker, tmp_path: Path, here: Path) -> None:
    queued = maker.make("queued", RunState.STOPPED, [maker.model(1, TrainingPhase.QUEUED)])
    with client.attach(queued) as run, pytest.raises(ForgeError, match="no model has finished an epoch yet"):
        tensorboard.write_event_files(run, here)
    with (
        client.attach(maker.make("one")) as run,
        pytest.raises(ForgeError, match=r"cannot write .*nowhere.*: No such"),
    ):
        tensorboard.write_event_files(run, tmp_path / "nowhere")
    assert list(here.iterdir()) == []


def test_half_a_run_is_not_left_behind(maker: RunMaker, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(directory: Path, history: object) -> None:
        directory.mkdir()
        raise OSError(28, "No space left on device", str(directory))

    monkeypatch.setattr(tensorboard, "_write_events", full)
    with client.attach(maker.make("one")) as run, pytest.raises(ForgeError, match=r"cannot write .*: No space left"):
        tensorboard.write_event_files(run, here)
    assert list(here.iterdir()) == []
