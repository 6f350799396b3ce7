"""`--after RUN`: which run is waited for, and for how long."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_directories import RunMaker

from forge_tui.errors import ForgeError, UsageError
from forge_tui.protocol.label import Label
from forge_tui.protocol.phases import RunState
from forge_tui.runner.queue_after import predecessor, waiting_for
from forge_tui.runs.label import write_label
from forge_tui.runs.layout import RunDirectory


def test_no_run_to_wait_for_is_no_waiting(tmp_path: Path) -> None:
    assert predecessor(None, tmp_path / "own", tmp_path) is None
    assert waiting_for(None)() is None


def test_a_run_is_found_by_its_directory_or_its_name_and_waited_for_until_nobody_holds_it(tmp_path: Path) -> None:
    maker = RunMaker(tmp_path / "runs")
    path = maker.make("earlier", RunState.RUNNING)
    by_path = predecessor("runs/earlier", tmp_path / "own", tmp_path)
    by_name = predecessor("earlier", tmp_path / "own", tmp_path)
    assert by_path is not None
    assert by_name is not None
    assert by_path.path == by_name.path == path
    waits = waiting_for(by_path)
    assert waits() == "waits until earlier has ended (--after)"
    maker.close()
    assert waits() is None


def test_a_run_is_found_by_the_name_that_it_was_given_unless_that_is_a_run_directory_too(tmp_path: Path) -> None:
    maker = RunMaker(tmp_path / "runs")
    path = maker.make("earlier", count=1)
    write_label(RunDirectory(path), Label("night"))
    found = predecessor("night", tmp_path / "own", tmp_path)
    assert found is not None
    assert found.path == path
    RunMaker(tmp_path).make("night", count=1)
    with pytest.raises(UsageError, match="'night' is a run directory here, and the name of another run, earlier"):
        predecessor("night", tmp_path / "own", tmp_path)


def test_a_run_that_has_died_is_not_waited_for(tmp_path: Path) -> None:
    maker = RunMaker(tmp_path)
    maker.make("died", RunState.DIED)
    assert waiting_for(predecessor("died", tmp_path / "own", tmp_path))() is None


def test_neither_itself_nor_a_run_that_is_not_there_can_be_waited_for(tmp_path: Path) -> None:
    maker = RunMaker(tmp_path)
    path = maker.make("own", RunState.STOPPED)
    with pytest.raises(UsageError, match="cannot wait for itself"):
        predecessor("own", path, tmp_path)
    with pytest.raises(ForgeError, match="nowhere"):
        predecessor("nowhere", path, tmp_path)
