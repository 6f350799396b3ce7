"""`status --watch`: lines in a pipe, JSON lines, a redrawn block on a terminal, and the run's exit status."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pyte
import pytest
from run_directories import RunMaker
from running import forge

from forge_tui.batch.progress import progress_line
from forge_tui.cli import look, watch_status
from forge_tui.client.run import Run
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.protocol.snapshot import Snapshot


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Followed:
    """A run that has these snapshots one after the other."""

    def __init__(self, snapshots: Sequence[Snapshot]) -> None:
        self._snapshots = snapshots

    def follow(self, _interval: float) -> Iterator[Snapshot]:
        yield from self._snapshots

    def wait(self) -> Snapshot:
        return self._snapshots[-1]


@pytest.fixture
def snapshots(maker: RunMaker) -> list[Snapshot]:
    """Of a live run with two models of which one is done, and of its end."""
    models = [maker.model(1), maker.model(2, TrainingPhase.TRAINING, epoch=50)]
    with Run(maker.make("night", RunState.RUNNING, models), clock=lambda: maker.now) as run:
        live = run.snapshot()
    further = (live.models[0], replace(live.models[1], epoch=75))
    ended = (live.models[0], replace(live.models[1], epoch=100, phase=TrainingPhase.COMPLETED))
    return [
        live,
        replace(live, models=further, revision=live.revision + 1),
        replace(live, models=ended, revision=live.revision + 2, state=RunState.COMPLETED, eta_seconds=None),
    ]


def watched(
    snapshots: Sequence[Snapshot], out: io.StringIO, monkeypatch: pytest.MonkeyPatch, *, as_json: bool = False
) -> str:
    monkeypatch.setattr(watch_status.sys, "stdout", out)
    last = watch_status.watch_status(Followed(snapshots), look._status_lines, as_json=as_json)  # type: ignore[arg-type]
    assert last is snapshots[-1]
    return out.getvalue()


def test_a_pipe_gets_a_line_for_each_change(snapshots: list[Snapshot], monkeypatch: pytest.MonkeyPatch) -> None:
    first, further, ended = snapshots
    lines = watched([first, first, further, ended], io.StringIO(), monkeypatch).splitlines()
    assert [line.partition(" ")[2] for line in lines] == [progress_line(one) for one in (first, further, ended)]
    assert "75%" in lines[0]
    assert "88%" in lines[1]
    assert "completed 100%, 2/2 done" in lines[2]


def test_json_lines_are_the_records_of_status(snapshots: list[Snapshot], monkeypatch: pytest.MonkeyPatch) -> None:
    records = [json.loads(line) for line in watched(snapshots, io.StringIO(), monkeypatch, as_json=True).splitlines()]
    assert [(record["state"], record["completed"]) for record in records] == [
        ("running", 1), ("running", 1), ("completed", 2),
    ]  # fmt: skip
    assert records[2]["best"]["metric"] == "validation_accuracy"


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 6), (120, 40)])
def test_a_terminal_is_redrawn_in_place_and_left_clean(
    snapshots: list[Snapshot], monkeypatch: pytest.MonkeyPatch, width: int, height: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("LINES", str(height))
    monkeypatch.setenv("TERM", "xterm")
    screen = pyte.Screen(width, height)
    stream = pyte.Stream(screen)
    stream.feed("$ forge-tui status --watch\r\n")

    class Drawn(Terminal):
        def write(self, text: str) -> int:
            stream.feed(text.replace("\n", "\r\n"))
            shown = [line for line in screen.display if "running" in line]
            assert len(shown) <= 1, "the line of the whole run stands there once"
            return super().write(text)

    text = watched(snapshots, Drawn(), monkeypatch)

    assert "88%" in text
    assert "ETA" in text
    # On the low terminal the line above has left the screen, as below any output of that length.
    left = [] if height == 6 else ["$ forge-tui status --watch"]
    assert [line.rstrip() for line in screen.display if line.strip()] == left


def test_of_many_models_those_that_train_come_first(maker: RunMaker) -> None:
    models = [maker.model(number, TrainingPhase.QUEUED) for number in range(1, 31)]
    models[19] = maker.model(20, TrainingPhase.TRAINING, epoch=3)
    with Run(maker.make("many", RunState.RUNNING, models)) as run:
        snapshot = run.snapshot()
    lines = watch_status.fitted(look._status_lines(snapshot), snapshot, 79, 10)
    assert len(lines) == 10
    assert any(line.startswith("cognate_planner_20 ") for line in lines)
    shown = sum(line.startswith("cognate_planner_") for line in lines)
    assert lines[-1] == f"… and {30 - shown} more models"
    assert all(len(line) <= 79 for line in lines)


@pytest.mark.parametrize(("state", "status"), [(RunState.COMPLETED, 0), (RunState.STOPPED, 1), (RunState.FAILED, 1)])
def test_the_exit_status_is_the_runs(maker: RunMaker, state: RunState, status: int) -> None:
    maker.make("night", state, count=1)
    assert f"night {state}" in forge("status", "night", "--watch", status=status).stdout
    found = forge("status", "night", "--watch", "--json", status=status).stdout.splitlines()
    assert [json.loads(line)["state"] for line in found] == [state.value]


def test_a_run_that_died_says_how_it_continues(maker: RunMaker) -> None:
    maker.make("night", RunState.DIED, [maker.model(1, TrainingPhase.TRAINING, epoch=3)])
    assert "to continue: forge-tui resume night" in forge("status", "night", "--watch", status=1).stderr


def test_it_follows_a_real_run_to_its_end(run_directory: Path) -> None:
    tiny = (
        "--models",
        "1",
        "--epochs",
        "3",
        "--model-size",
        "1000",
        "--samples",
        "64",
        "--threads",
        "1",
        "--fuse",
        "1",
    )
    forge("--no-ui", "--detach", *tiny, "--policy", "dedicated", "--output", run_directory)
    lines = forge("status", run_directory, "--watch").stdout.splitlines()
    assert "completed 100%, 1/1 done" in lines[-1]
