"""The run directory: names, modes and owners."""

from __future__ import annotations

import os
import shutil
import stat
from datetime import datetime
from pathlib import Path

import pytest

from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.run_info import RunInfo
from forge_tui.runs import layout
from forge_tui.runs.layout import RunDirectory, default_run_path, model_name, write_atomically
from forge_tui.runs.reader import RunReader
from forge_tui.runs.store import RunStore
from forge_tui.safe_io.whole_files import path_bytes

NOON = datetime(2026, 11, 23, 15, 2, 10)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_names() -> None:
    assert model_name("planner", 1) == "cognate_planner_1"
    assert model_name("package.models:small", 12) == "cognate_small_12"


def test_default_path_is_date_time_type_and_counts_up(tmp_path: Path) -> None:
    first = default_run_path("planner", NOON, tmp_path)
    assert first == tmp_path / "20261123-150210-planner"
    assert default_run_path("planner", NOON.timestamp(), tmp_path) == first
    first.mkdir()
    (tmp_path / "20261123-150210-planner-2").mkdir()
    assert default_run_path("planner", NOON, tmp_path).name == "20261123-150210-planner-3"


def test_create_new_never_shares_a_directory(tmp_path: Path) -> None:
    made = [RunDirectory.create_new("planner", NOON, tmp_path / "runs").id for _ in range(3)]
    assert made == ["20261123-150210-planner", "20261123-150210-planner-2", "20261123-150210-planner-3"]


def test_create_is_private_and_leaves_the_users_mode(tmp_path: Path) -> None:
    fresh = RunDirectory(tmp_path / "a" / "b")
    assert fresh.create() == [".", "checkpoints", "commands", "logs"]
    assert fresh.create() == []
    created = [fresh.path, fresh.path.parent, fresh.checkpoints, fresh.commands, fresh.logs]
    assert [mode(path) for path in created] == [0o700] * 5
    own = tmp_path / "own"
    own.mkdir(mode=0o755)
    own.chmod(0o755)
    RunDirectory(own).create()
    assert mode(own) == 0o755


def test_relative_paths_and_home_are_resolved_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert RunDirectory(Path("runs/x")).path == tmp_path / "runs" / "x"
    assert RunDirectory(Path("~/x")).path == tmp_path / "home" / "x"
    assert RunDirectory(Path("runs/x/")).id == "x"


def test_paths(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    found = [run.database, run.settings, run.lock, run.checkpoint_directory("m"), run.json("m"), run.weights("m")]
    names = ["run.db", "settings.toml", "lock", "checkpoints/m", "m.json", "m.safetensors"]
    assert found == [tmp_path / name for name in names]
    assert run.log("runner") == tmp_path / "logs" / "runner.log"
    assert run.stem("m") == tmp_path / "m"


def test_a_file_in_the_way_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(RunDirectoryError, match=r"taken is not a directory"):
        RunDirectory(tmp_path / "taken").create()
    with pytest.raises(RunDirectoryError, match="taken"):
        RunDirectory(tmp_path / "taken" / "below").create()


def test_another_users_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout.os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(RunDirectoryError, match="belongs to another user"):
        RunDirectory(tmp_path).create()
    with pytest.raises(RunDirectoryError, match="belongs to another user"):
        RunDirectory(tmp_path).check_writable()


def test_check_writable_leaves_nothing_and_names_what_fails(tmp_path: Path) -> None:
    RunDirectory(tmp_path).check_writable()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RunDirectoryError, match="gone"):
        RunDirectory(tmp_path / "gone").check_writable()


def test_write_atomically_replaces_or_leaves_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    assert mode(path) == 0o600
    write_atomically(path, b"new", mode=0o640)
    assert path.read_bytes() == b"new"
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(RunDirectoryError, match=r"cannot write .*file: No space left on device; free some space") as e:
        write_atomically(path, b"newer")
    assert e.value.errno == 28
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_whether_a_directory_can_be_made_is_tried_and_leaves_nothing(tmp_path: Path) -> None:
    RunDirectory(tmp_path / "a" / "b" / "c").check_makeable()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(RunDirectoryError, match=r"file is not a directory; choose another with --output"):
        RunDirectory(tmp_path / "file" / "b").check_makeable()
    with pytest.raises(RunDirectoryError, match=r"cannot create the directory .*x{20}: .*choose a shorter name"):
        RunDirectory(tmp_path / "a" / ("x" * 300)).check_makeable()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_where_the_kernel_lets_nobody_make_one_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"cannot create the directory /proc/nothing-here"):
        RunDirectory(Path("/proc/nothing-here/run")).check_makeable()


def test_a_path_that_sqlite_cannot_take_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    base = tmp_path / "a"
    while path_bytes(base) < 400:
        base = base / ("x" * 40)
    fits = base / ("y" * (482 - path_bytes(base)))
    RunDirectory(fits).create()
    info = RunInfo(
        run="y", path=str(fits), mode="series", policy="shared", model_type="planner", models=0, epochs=1, created=0.0
    )
    RunStore.create(RunDirectory(fits).database, info, ()).close()
    shutil.rmtree(tmp_path / "a")
    long = RunDirectory(fits.with_name(f"{fits.name}é"))
    for do in (long.create, long.check_makeable, lambda: RunDirectory.create_new("planner", NOON, long.path)):
        with pytest.raises(RunDirectoryError, match=r"has \d+ bytes, and SQLite, .*takes at most 483 here"):
            do()
    assert list(tmp_path.iterdir()) == []


def test_a_database_whose_path_became_too_long_says_so(tmp_path: Path) -> None:
    base = tmp_path
    while path_bytes(base) < 500:
        base = base / ("x" * 40)
    base.mkdir(parents=True)
    (base / "run.db").write_bytes(b"SQLite")
    with pytest.raises(RunDirectoryError, match=r"SQLite opens no path of more than 504; move the run"):
        RunReader(base / "run.db")
