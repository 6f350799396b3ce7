"""`CognateCreator(progress=True)` outside a notebook: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from run_directories import RunMaker

from forge_tui import CognateCreator, TrainingConfig, client
from forge_tui.compat.progress_display import progress_display
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.protocol.snapshot import Snapshot


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def snapshot(maker: RunMaker) -> Snapshot:
    models = [maker.model(1), maker.model(2, TrainingPhase.TRAINING, epoch=50)]
    with client.attach(maker.make("one", RunState.RUNNING, models)) as run:
        return run.snapshot()


def test_a_terminal_has_a_bar_for_the_run_and_for_each_model(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "150")
    with progress_display() as show:
        show(snapshot)
    drawn = terminal.getvalue()
    assert "━" in drawn
    for text in ("one running 75%, 1/2 done, 1 training", "cognate_planner_2", "training 50/100 loss"):
        assert text in drawn


def test_elsewhere_lines_are_written_and_nothing_after_the_end(
    snapshot: Snapshot, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_display() as show:
        show(snapshot)
    assert "one running 75%, 1/2 done, 1 training" in capsys.readouterr().err
    show(snapshot)
    assert capsys.readouterr().err == ""


def test_a_stream_that_cannot_be_written_ends_the_display_only(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(io.StringIO):
        calls = 0

        def write(self, text: str) -> int:
            self.calls += 1
            raise BrokenPipeError

    broken = Broken()
    monkeypatch.setattr(sys, "stderr", broken)
    with progress_display() as show:
        show(snapshot)
        show(snapshot)
    assert broken.calls == 1


def test_training_shows_its_progress_on_stderr_and_ends_with_the_result(
    run_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = TrainingConfig(model_size=1_000, epochs=2)
    stems = CognateCreator(config, progress=True).create_three_models(run_directory)
    assert len(stems) == 3
    told = capsys.readouterr()
    assert told.out == ""
    assert "run completed 100%, 3/3 done" in told.err.splitlines()[-1]
