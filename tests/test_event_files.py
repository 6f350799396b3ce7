"""A run as files for TensorBoard; they are read back by TensorBoard where it is installed."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from run_directories import RunMaker

from forge_tui import session
from forge_tui.cli import main
from forge_tui.errors import ForgeError
from forge_tui.progress.phases import RunState, TrainingPhase


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[RunMaker]:
    made = RunMaker(tmp_path / "runs", now=100_000.0)
    yield made
    made.close()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory."""
    path = tmp_path / "here"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


def read_back(directory: Path) -> dict[str, list[tuple[int, float, float]]]:
    """(step, time, value) of every tag, as TensorBoard finds them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(directory), size_guidance={"scalars": 0})
    found.Reload()
    return {
        tag: [(item.step, item.wall_time, item.value) for item in found.Scalars(tag)] for tag in found.Tags()["scalars"]
    }


def test_without_the_extra_its_name_is_told_and_nothing_written(
    maker: RunMaker, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = maker.make("one")
    for name in [name for name in sys.modules if name.partition(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    assert main(["report", str(path), "--format", "tensorboard"]) == 2
    out, said = capsys.readouterr()
    assert out == ""
    assert "install the extra: pip install 'forge-tui[tensorboard]'" in said
    assert list(here.iterdir()) == []


def test_a_comparison_has_no_event_files(maker: RunMaker, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = maker.make("one"), maker.make("two")
    assert main(["report", str(one), "--against", str(two), "--format", "tensorboard"]) == 2
    assert "a comparison has no event files; use --format text or --format json" in capsys.readouterr().err


def test_every_figure_of_every_epoch_is_read_back(
    maker: RunMaker, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")
    models = [maker.model(1, epoch=3), maker.failed(2, epoch=2), maker.model(3, TrainingPhase.QUEUED)]
    path = maker.make("a run", RunState.FAILED, models)
    assert main(["report", str(path), "--format", "tensorboard"]) == 0
    written = here / "a_run-tensorboard"
    out, said = capsys.readouterr()
    assert out == f"{written}\n"
    assert f"`tensorboard --logdir {written}`" in said
    assert sorted(item.name for item in written.iterdir()) == ["cognate_planner_1", "cognate_planner_2"]
    with session.attach(path) as run:
        for index in (1, 2):
            found, history = read_back(written / f"cognate_planner_{index}"), run.history(index)
            assert sorted(found) == [
                "best_loss", "learning_rate", "loss", "seconds", "steps_per_second", "validation_accuracy",
                "validation_loss",
            ]  # fmt: skip
            for tag, values in found.items():
                assert [step for step, _, _ in values] == [epoch.epoch for epoch in history]
                assert [time for _, time, _ in values] == [epoch.time for epoch in history]
                expected = [getattr(epoch, tag) for epoch in history]
                assert [value for _, _, value in values] == pytest.approx(expected, rel=1e-6)


def test_what_is_there_is_not_written_over(maker: RunMaker, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorboard")
    path = maker.make("one", count=1)
    for name in ("one-tensorboard", "one-tensorboard-2"):
        assert main(["report", str(path), "--format", "tensorboard"]) == 0
        assert capsys.readouterr().out == f"{here / name}\n"
    assert read_back(here / "one-tensorboard" / "cognate_planner_1").keys() == (
        read_back(here / "one-tensorboard-2" / "cognate_planner_1").keys()
    )


def test_a_loss_that_is_not_a_number_stays_one(maker: RunMaker, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    from forge_tui.event_files import write_event_files

    with session.attach(maker.make("one", count=1)) as run:
        first, *others = run.history(1)

        def histories(models: Any) -> Iterator[Any]:
            yield [dataclasses.replace(first, loss=math.nan), *others]

        monkeypatch.setattr(run, "histories", histories)
        written = write_event_files(run, here)
    losses = read_back(written / "cognate_planner_1")["loss"]
    assert math.isnan(losses[0][2])
    assert losses[1][2] == pytest.approx(others[0].loss, rel=1e-6)


def test_a_run_without_epochs_and_a_directory_that_takes_nothing(maker: RunMaker, tmp_path: Path, here: Path) -> None:
    pytest.importorskip("tensorboard")
    from forge_tui.event_files import write_event_files

    queued = maker.make("queued", RunState.STOPPED, [maker.model(1, TrainingPhase.QUEUED)])
    with session.attach(queued) as run, pytest.raises(ForgeError, match="no model has finished an epoch yet"):
        write_event_files(run, here)
    with (
        session.attach(maker.make("one")) as run,
        pytest.raises(ForgeError, match=r"cannot write .*nowhere.*: No such"),
    ):
        write_event_files(run, tmp_path / "nowhere")
    assert list(here.iterdir()) == []


def test_half_a_run_is_not_left_behind(maker: RunMaker, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    from forge_tui import event_files

    def full(directory: Path, history: object) -> None:
        directory.mkdir()
        raise OSError(28, "No space left on device", str(directory))

    monkeypatch.setattr(event_files, "_write_events", full)
    with session.attach(maker.make("one")) as run, pytest.raises(ForgeError, match=r"cannot write .*: No space left"):
        event_files.write_event_files(run, here)
    assert list(here.iterdir()) == []
