"""A run as files for TensorBoard."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from event_reader import read_events
from growing_runs import GrowingRun
from run_directories import RunMaker, loss_at
from running import forge

from forge_tui import client
from forge_tui.cli import main
from forge_tui.errors import ForgeError
from forge_tui.exporters import tensorboard
from forge_tui.exporters.output import MARKER, OutputDirectory
from forge_tui.exporters.target import values_of
from forge_tui.exporters.tensorboard_records import figures_record
from forge_tui.protocol.phases import RunState, TrainingPhase


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory."""
    path = tmp_path / "here"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


def drawn(directory: Path) -> dict[str, list[tuple[int, float, float]]]:
    """(step, time, value) of every tag, without what a later start of a session discards."""
    found: dict[str, list[tuple[int, float, float]]] = {}
    for path in sorted(directory.iterdir()):
        assert path.name.startswith("events.out.tfevents.")  # TensorBoard looks for that
        first, *events = read_events(path)
        assert first.version == "brain.Event:2"
        for event in events:
            if event.starts:
                found = {tag: [one for one in values if one[0] < event.step] for tag, values in found.items()}
            for tag, value in event.figures.items():
                found.setdefault(tag, []).append((event.step, event.time, value))
    return found


def tensorboard_values(run: GrowingRun) -> dict[str, float]:
    """What is written of the last epoch."""
    (history,) = run.expected().values()
    return {name: value for name, value in values_of(history[-1]).items() if value is not None}


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
    assert sorted(item.name for item in written.iterdir()) == ["cognate_planner_1", "cognate_planner_2", MARKER]
    with client.attach(path) as run:
        for index in (1, 2):
            found, history = drawn(written / f"cognate_planner_{index}"), run.history(index)
            assert sorted(found) == [
                "best_loss", "learning_rate", "loss", "seconds", "steps_per_second", "validation_accuracy",
                "validation_loss",
            ]  # fmt: skip
            for tag, values in found.items():
                assert [step for step, _, _ in values] == [epoch.epoch for epoch in history]
                assert [time for _, time, _ in values] == [epoch.time for epoch in history]
                expected = [epoch.metrics[tag] if tag in epoch.metrics else getattr(epoch, tag) for epoch in history]
                assert [value for _, _, value in values] == pytest.approx(expected, rel=1e-6)


def test_it_is_continued_and_another_runs_is_not_written_over(
    maker: RunMaker, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = maker.make("one", count=1)
    for _ in range(2):
        assert main(["report", str(path), "--format", "tensorboard"]) == 0
        assert capsys.readouterr().out == f"{here / 'one-tensorboard'}\n"
        assert [step for step, _, _ in drawn(here / "one-tensorboard" / "cognate_planner_1")["loss"]] == [
            *range(1, 101)
        ]
    other = maker.make("other/one", count=1, run="one", created=5.0)
    assert main(["report", str(other), "--format", "tensorboard"]) == 0
    assert capsys.readouterr().out == f"{here / 'one-tensorboard-2'}\n"


def test_a_loss_that_is_not_a_number_stays_one(maker: RunMaker, here: Path) -> None:
    run = GrowingRun(maker, models=1)
    run.train(1, [1], {"loss": math.nan})
    run.train(1, [2])
    assert main(["export", str(run.path), "--to", "tensorboard"]) == 0
    losses = drawn(here / "growing-tensorboard" / "cognate_planner_1")["loss"]
    assert math.isnan(losses[0][2])
    assert losses[1][2] == pytest.approx(loss_at(2), rel=1e-6)


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


def test_files_are_only_appended_to(maker: RunMaker, here: Path) -> None:
    run = GrowingRun(maker, models=1)
    before = b""
    for epochs, shift in (((1, 2, 3), 0.0), ((3, 4), 0.0), ((2, 3, 4), 0.5), ((), 0.0)):
        run.train(1, epochs, shift=shift)
        assert main(["export", str(run.path), "--to", "tensorboard"]) == 0
        (path,) = (here / "growing-tensorboard" / "cognate_planner_1").iterdir()
        content = path.read_bytes()
        assert content.startswith(before)
        assert (len(content) > len(before)) == bool(epochs)
        before = content
    steps = [event.step for event in read_events(path) if event.figures]
    assert steps == [1, 2, 3, 4, 2, 3, 4]  # the exact repetition of 3 is not written
    assert [(event.step, event.starts) for event in read_events(path) if event.starts] == [(0, True), (2, True)]
    (history,) = run.expected().values()
    assert [(step, value) for step, _, value in drawn(path.parent)["loss"]] == [
        (epoch.epoch, pytest.approx(epoch.loss, rel=1e-6)) for epoch in history
    ]


@pytest.mark.parametrize("left", [1, 11, 12, 40, -1])
def test_what_a_killed_export_has_left_of_a_record_stays_and_a_new_file_continues(
    maker: RunMaker, here: Path, left: int
) -> None:
    run = GrowingRun(maker, models=1)
    run.train(1, [1, 2, 3])
    assert main(["export", str(run.path), "--to", "tensorboard"]) == 0
    (path,) = (here / "growing-tensorboard" / "cognate_planner_1").iterdir()
    whole = path.read_bytes()
    last = len(whole) - len(figures_record(0.0, 3, tensorboard_values(run)))
    cut = whole[:-1] if left < 0 else whole[: last + left]
    path.write_bytes(cut)
    for _ in range(2):
        assert main(["export", str(run.path), "--to", "tensorboard"]) == 0
        first, second = sorted(path.parent.iterdir())
        assert first.read_bytes() == cut
        assert [event.step for event in read_events(second) if event.figures] == [3]


def test_a_damaged_file_is_reported(maker: RunMaker, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = GrowingRun(maker, models=1)
    run.train(1, [1])
    assert main(["export", str(run.path), "--to", "tensorboard"]) == 0
    (path,) = (here / "growing-tensorboard" / "cognate_planner_1").iterdir()
    content = path.read_bytes()
    path.write_bytes(content[:-20] + b"\0" * 20)
    run.train(1, [2])
    assert main(["export", str(run.path), "--to", "tensorboard"]) == 1
    said = capsys.readouterr().err
    assert f"{path} is damaged; delete the directory {path.parent}, and export again" in said


def test_settings_end_and_figures_of_the_test_split_are_there_once(maker: RunMaker, here: Path) -> None:
    run = GrowingRun(maker, models=1)
    run.train(1, [1, 2])
    run.end_model(1, TrainingPhase.COMPLETED, best_epoch=1, metrics={"loss": 0.1, "test/loss": 0.25})
    run.end()
    for _ in range(2):
        assert main(["export", str(run.path), "--to", "tensorboard"]) == 0
    (path,) = (here / "growing-tensorboard" / "cognate_planner_1").iterdir()
    events = read_events(path)
    assert [tag for event in events for tag in event.plugins] == [
        "_hparams_/session_start_info", "_hparams_/session_end_info",
    ]  # fmt: skip
    assert [(event.step, event.figures) for event in events if "test/loss" in event.figures] == [
        (1, {"test/loss": 0.25})
    ]


def test_two_exports_do_not_write_the_same_files(maker: RunMaker, here: Path) -> None:
    run = GrowingRun(maker, models=1)
    run.train(1, [1])
    with client.attach(run.path) as attached:
        info = attached.snapshot().run
    held = OutputDirectory.open(info, "tensorboard", here)
    done = forge("export", run.path, "--to", "tensorboard", cwd=here, status=2)
    assert f"another export is writing {here / 'growing-tensorboard'}; end it, or choose" in done.stderr
    held.close()
    forge("export", run.path, "--to", "tensorboard", cwd=here)
