"""Files beside run.db: SQLite does what they say, so they are looked at first."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile_files import journal_that_names
from run_directories import RunMaker

from forge_tui.errors import RunDirectoryError
from forge_tui.runs.reader import RunReader
from forge_tui.runs.store import RunStore

PLACED: dict[str, Callable[[Path, Path], object]] = {
    "a link out": lambda path, mine: path.symlink_to(mine),
    "a dangling link": lambda path, mine: path.symlink_to(mine.with_name("nothing")),
    "a pipe": lambda path, mine: os.mkfifo(path),
    "a directory": lambda path, mine: path.mkdir(),
}


@pytest.fixture
def run(maker: RunMaker, tmp_path: Path) -> Path:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    return maker.make("run", count=1)


def refused(run: Path) -> list[str]:
    told = []
    for use in (RunReader, RunStore.open):
        with pytest.raises(RunDirectoryError) as error:
            use(run / "run.db")
        told.append(str(error.value))
    return told


@pytest.mark.parametrize("ending", ["-journal", "-wal", "-shm"])
@pytest.mark.parametrize("kind", PLACED)
def test_what_is_no_file_is_refused(run: Path, tmp_path: Path, kind: str, ending: str) -> None:
    PLACED[kind](run / f"run.db{ending}", tmp_path / "mine.txt")
    for told in refused(run):
        assert f"run.db{ending} is " in told
    assert (tmp_path / "mine.txt").read_text(encoding="utf-8") == "mine"
    assert not (tmp_path / "nothing").exists()


def test_a_journal_that_names_a_file_is_not_followed(run: Path, tmp_path: Path) -> None:
    journal_that_names(run, tmp_path / "nothing")
    for told in refused(run):
        assert "run.db-journal names another file, which would be deleted" in told


def test_the_journal_of_a_crash_is_rolled_back(run: Path, tmp_path: Path) -> None:
    """As on file systems without shared memory, where runs are written without WAL."""
    database = run / "run.db"
    connection = sqlite3.connect(database, isolation_level=None)
    connection.executescript("PRAGMA journal_mode=DELETE; PRAGMA cache_size=1; BEGIN;")
    connection.execute("UPDATE models SET record = 'half' || record")
    connection.execute("CREATE TABLE large AS SELECT randomblob(100000)")
    (copy := tmp_path / "copy").mkdir()
    for name in ("run.db", "run.db-journal"):
        (copy / name).write_bytes((run / name).read_bytes())
    connection.close()
    assert (copy / "run.db-journal").stat().st_size > 0
    RunStore.open(copy / "run.db").close()
    with RunReader(copy / "run.db") as reader:
        assert len(reader.models()[0]) == 1
        assert reader.problems == ()
