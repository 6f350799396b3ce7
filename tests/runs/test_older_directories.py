"""What runs of version 0.1.0 have made in their directories: known by its names, for there is no record of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from older_runs import OldRun, install
from running import SMALL, forge

from forge_tui.errors import RunDirectoryError
from forge_tui.runs import removal, starting, tables
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.lock import RunLock
from forge_tui.runs.reader import RunReader
from forge_tui.runs.record import read_record
from forge_tui.runs.store import RunStore

FOREIGN = (
    "notes.txt",
    "logs/app.log",
    "checkpoints/best.pt",
    "checkpoints/cognate_planner_1/notes.txt",
    "cognate_planner_9.json",
    "previous-1/notes.txt",
    "previous-1/logs/app.log",
    "previous-3/thesis.tex",
    "previous-3/run.db",
)


def put(run: Path) -> None:
    for name in FOREIGN:
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text("mine")


def files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


@pytest.fixture
def old(tmp_path: Path) -> OldRun:
    """A run with an earlier one in `previous-1`."""
    return install("overwritten", tmp_path / "old")


def test_it_is_removed_by_the_names_of_its_models(old: OldRun) -> None:
    put(old.run)
    stayed = removal.remove_run(RunDirectory(old.run))
    assert files(old.run) == set(FOREIGN)
    assert {str(path.relative_to(old.run)) for path in stayed} == {*FOREIGN[:-2], "previous-3"}


def test_it_records_its_paths_when_it_is_continued(old: OldRun) -> None:
    """Removed then, the same goes and the same stays."""
    put(old.run)
    by_name = read_record(old.run / "run.db")
    assert by_name.is_older
    RunStore.open(old.run / "run.db").close()
    recorded = read_record(old.run / "run.db")
    assert not recorded.is_older
    assert (recorded.files, recorded.directories) == (by_name.files, by_name.directories)
    assert recorded.directories == {".", "checkpoints", "commands", "logs", "previous-1"}
    with contextlib.closing(sqlite3.connect(old.run / "run.db")) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (tables.VERSION,)
    with RunReader(old.run) as reader:
        assert reader.problems == ()
    removal.remove_run(RunDirectory(old.run))
    assert files(old.run) == set(FOREIGN)


def test_a_migration_is_whole_or_not_at_all(old: OldRun, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (old.run / "run.db").read_bytes()

    def fails(*_: object) -> None:
        raise RunDirectoryError("killed here")

    with monkeypatch.context() as patch:
        patch.setattr("forge_tui.runs.transaction.put_paths", fails)
        with pytest.raises(RunDirectoryError, match="killed here"):
            RunStore.open(old.run / "run.db")
    assert read_record(old.run / "run.db").is_older
    with contextlib.closing(sqlite3.connect(old.run / "run.db")) as database:
        names = {name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        database.execute("PRAGMA journal_mode=DELETE")
    assert "paths" not in names
    assert len(before) == (old.run / "run.db").stat().st_size
    RunStore.open(old.run / "run.db").close()
    assert not read_record(old.run / "run.db").is_older


def test_it_is_moved_away_as_a_whole(old: OldRun) -> None:
    before = {path.name: path.read_bytes() for path in old.run.glob("cognate_*")}
    forge("--no-ui", "--epochs", "1", "--models", "1", *SMALL, "--overwrite", "--output", old.run)
    assert {path.name: path.read_bytes() for path in (old.run / "previous-2").glob("cognate_*")} == before
    forge("rm", "--yes", old.run)
    assert not old.run.exists()


# --- a move that was interrupted in that version


def move_as_before(run: Path, count: int, *, into_a_directory: bool = False) -> None:
    """The first `count` renames of `--overwrite` in version 0.1.0, which moves the database last."""
    moving = run / ".previous.moving"
    moving.mkdir()
    own = ("checkpoints", "logs", "settings.toml", *sorted(path.name for path in run.glob("cognate_*")), "run.db")
    for name in own[:count]:
        os.replace(run / name, moving / name)
    if into_a_directory:
        for name in ("checkpoints", "logs"):  # as the next start made them, and left a file there
            (run / name).mkdir(exist_ok=True)
            (run / name / "notes.txt").write_text("mine")


@pytest.mark.parametrize("into_a_directory", [False, True], ids=["alone", "among others"])
@pytest.mark.parametrize("count", [0, 1, 3, 7, 8])
def test_an_interrupted_move_of_that_version_is_undone(
    count: int, into_a_directory: bool, old: OldRun, tmp_path: Path
) -> None:
    before = files(old.run)
    mine = {"checkpoints/notes.txt", "logs/notes.txt"} if into_a_directory else set()
    move_as_before(old.run, count, into_a_directory=into_a_directory)
    removed = tmp_path / "removed" / "run"
    shutil.copytree(old.run, removed)
    directory = RunDirectory(old.run)
    assert directory.may_hold_run()
    with RunLock.acquire(directory.lock):
        starting.recover(directory)
    assert files(old.run) == before | mine
    assert not (old.run / ".previous.moving").exists()
    with RunReader(old.run) as reader:
        assert {model.name for model in reader.models()[0]} == set(old.models)
    removal.remove_run(RunDirectory(removed))
    assert files(removed) == mine


def test_overwriting_after_an_interrupted_move_of_that_version(old: OldRun) -> None:
    """That version could never again: `Directory not empty`."""
    move_as_before(old.run, 8, into_a_directory=True)
    forge("--no-ui", "--epochs", "1", "--models", "1", *SMALL, "--overwrite", "--output", old.run)
    assert (old.run / "previous-2" / "run.db").exists()
    assert (old.run / "logs" / "notes.txt").read_text() == "mine"
