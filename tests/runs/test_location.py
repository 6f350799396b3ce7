"""Where a run directory is: by device and inode, whatever it is called."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from forge_tui.errors import RunDirectoryError
from forge_tui.runs import location as places
from forge_tui.runs.location import Identity, Location, Lost


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "parent" / "run"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def place(run: Path) -> Iterator[Location]:
    made = Location(run)
    yield made
    made.close()


def test_a_directory_that_is_where_it_was_is_not_lost(place: Location, run: Path) -> None:
    (run / "file").touch()
    assert place.look() is None
    assert place.is_here()


@pytest.mark.parametrize("what", ["directory", "parent"])
def test_a_moved_one_is_found_and_found_again(what: str, place: Location, run: Path, tmp_path: Path) -> None:
    moved = run if what == "directory" else run.parent
    os.rename(moved, tmp_path / "new")
    now = tmp_path / "new" if what == "directory" else tmp_path / "new" / "run"
    assert place.look() == Lost(f"its directory {run} was moved to {now} while the run was live", now)
    assert place.path == now
    assert place.look() is None
    os.rename(tmp_path / "new", tmp_path / "newer")
    lost = place.look()
    assert lost is not None
    assert lost.path == Path(str(now).replace("new", "newer"))


def test_another_directory_at_its_path_is_told(place: Location, run: Path, tmp_path: Path) -> None:
    os.rename(run, tmp_path / "new")
    run.mkdir()
    lost = place.look()
    assert lost is not None
    assert lost.path == tmp_path / "new"
    assert lost.reason.endswith("while the run was live; another one is there now")


@pytest.mark.parametrize("again", [False, True])
def test_a_deleted_one_is_gone_whatever_is_at_its_path(again: bool, place: Location, run: Path) -> None:
    shutil.rmtree(run.parent)
    if again:
        run.mkdir(parents=True)
    assert place.look() == Lost(f"its directory {run} was deleted while the run was live")


def test_a_name_that_cannot_be_found_may_come_back(
    place: Location, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(places.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(places.os, "readlink", lambda path: str(run))  # a file server's name: it does not follow a move
    os.rename(run, tmp_path / "away")
    assert place.look() is None
    os.rename(tmp_path / "away", run)
    now[0] += 10.0
    assert place.look() is None
    os.rename(run, tmp_path / "away")
    assert place.look() is None
    now[0] += 3.0
    assert place.look() == Lost(f"its directory {run} was moved or deleted while the run was live")


def test_a_path_that_cannot_be_looked_at_may_pass(place: Location, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: object) -> os.stat_result:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(places.os, "stat", broken)
    assert place.look() is None


def test_who_writes_by_path_is_stopped_where_directory_or_database_is_another(run: Path, tmp_path: Path) -> None:
    identity, database = Identity.of(run), run / "run.db"
    database.touch()
    identity.require(run, database)
    database.unlink()  # it is being deleted
    with pytest.raises(RunDirectoryError, match="was moved or deleted") as raised:
        identity.require(run, database)
    assert raised.value.errno == errno.ESTALE
    os.rename(run, tmp_path / "new")
    run.mkdir()
    database.touch()
    with pytest.raises(RunDirectoryError, match="is not the run's directory any more"):
        identity.require(run, database)
