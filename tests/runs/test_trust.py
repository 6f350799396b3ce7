"""What is kept of the runs that this user has started, and what it says."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.run_info import RunInfo
from forge_tui.runs import trust
from forge_tui.runs.layout import RunDirectory
from forge_tui.settings.files import settings_digest, write_settings
from forge_tui.settings.schema import EngineSettings, RunSettings, Settings, TrainingConfig

CODE = {"code": {"project/net.py": "a" * 64}, "code_roots": {"project": "/there"}, "working_directory": "/there"}


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    found = RunDirectory(tmp_path / "run")
    found.create()
    write_settings(Settings(training=TrainingConfig(model_type="/there/net.py")), found.settings)
    return found


@pytest.fixture
def info(directory: RunDirectory) -> RunInfo:
    return RunInfo(
        run="run", path=str(directory.path), mode="series", policy="shared", model_type="net", models=1, epochs=1,
        created=1.0, key=trust.new_key(), settings_sha256=settings_digest(directory.settings), **CODE,
    )  # fmt: skip


def kept(state: Path) -> Path:
    (file,) = (state / "trust").iterdir()
    return file


def test_a_run_is_trusted_by_its_key_until_that_is_forgotten(
    directory: RunDirectory, info: RunInfo, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    assert "you have not started here" in (trust.doubt(directory, info, state) or "")
    trust.record(info, state)
    assert trust.doubt(directory, info, state) is None
    assert info.key not in kept(state).name + kept(state).read_text(encoding="utf-8")
    trust.forget_key(info.key, state)
    trust.forget_key(info.key, state)
    assert "you have not started here" in (trust.doubt(directory, info, state) or "")


def test_a_kill_between_two_records_leaves_a_trusted_run(
    directory: RunDirectory, info: RunInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is trusted is written first, and the run's own record later: both states of that are good."""
    trust.record(info, tmp_path)
    added = replace(info, code={**info.code, "project/more.py": "b" * 64})
    trust.record(added, tmp_path)
    assert trust.doubt(directory, info, tmp_path) is None
    assert trust.doubt(directory, added, tmp_path) is None
    monkeypatch.setattr(trust, "_KEPT", 3)
    for number in range(2):
        trust.record(replace(info, code={"project/net.py": f"{number:064}"}), tmp_path)
    assert "other code" in (trust.doubt(directory, info, tmp_path) or "")
    assert len(json.loads(kept(tmp_path).read_bytes())["marks"]) == 3


CHANGES: dict[str, dict[str, Any]] = {
    "code": {"code": {"project/net.py": "c" * 64}},
    "a file less": {"code": {}},
    "a file more": {"code": {**CODE["code"], "project/x.py": "d" * 64}},  # type: ignore[dict-item]
    "roots": {"code_roots": {"project": "/elsewhere"}},
    "the order of roots": {"code_roots": {"other": "/there", "project": "/there"}},
    "modules": {"code_modules": {"os": ""}},
    "where commands run": {"working_directory": "/elsewhere"},
}


@pytest.mark.parametrize("change", CHANGES)
def test_all_that_decides_what_runs_is_part_of_it(
    directory: RunDirectory, info: RunInfo, tmp_path: Path, change: str
) -> None:
    start = replace(info, code_roots={"project": "/there", "other": "/there"}) if "order" in change else info
    trust.record(start, tmp_path)
    assert trust.doubt(directory, start, tmp_path) is None
    assert "other code" in (trust.doubt(directory, replace(start, **CHANGES[change]), tmp_path) or "")


def test_where_a_run_lies_and_how_long_it_trains_is_no_part_of_it(
    directory: RunDirectory, info: RunInfo, tmp_path: Path
) -> None:
    trust.record(info, tmp_path / "state")
    write_settings(Settings(training=TrainingConfig(model_type="/there/net.py", epochs=500)), directory.settings)
    directory.path.rename(tmp_path / "moved")
    moved = RunDirectory(tmp_path / "moved")
    assert trust.doubt(moved, replace(info, run="moved", path="/nowhere", epochs=500), tmp_path / "state") is None


def test_other_settings_are_not_trusted(directory: RunDirectory, info: RunInfo, tmp_path: Path) -> None:
    trust.record(info, tmp_path / "state")
    write_settings(Settings(training=TrainingConfig(model_type="/there/other.py")), directory.settings)
    for record in (info, replace(info, settings_sha256=settings_digest(directory.settings))):
        assert "other settings" in (trust.doubt(directory, record, tmp_path / "state") or "")
    directory.settings.write_bytes(b"\0")
    assert "no readable settings" in (trust.doubt(directory, info, tmp_path / "state") or "")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:20]),
    "a list": lambda path: path.write_bytes(b"[]"),
    "deep": lambda path: path.write_bytes(b"[" * 60_000),
    "another version": lambda path: path.write_text(json.dumps({**json.loads(path.read_bytes()), "v": 2})),
    "a link": lambda path: (path.rename(path.with_name("x")), path.symlink_to("x")),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a directory": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_not_whole_says_nothing(directory: RunDirectory, info: RunInfo, tmp_path: Path, damage: str) -> None:
    trust.record(info, tmp_path)
    DAMAGES[damage](kept(tmp_path))
    assert "you have not started here" in (trust.doubt(directory, info, tmp_path) or "")


def test_a_directory_that_others_may_write_says_nothing(directory: RunDirectory, info: RunInfo, tmp_path: Path) -> None:
    trust.record(info, tmp_path)
    for mode, trusted in ((0o770, False), (0o702, False), (0o755, True), (0o700, True)):
        (tmp_path / "trust").chmod(mode)
        assert (trust.doubt(directory, info, tmp_path) is None) is trusted


def test_what_cannot_be_written_is_said(info: RunInfo, tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(RunDirectoryError, match="cannot create the directory"):
        trust.record(info, tmp_path / "state")
    trust.forget_key(info.key, tmp_path / "state")


def test_what_runs_is_said_with_every_function_of_a_sweep() -> None:
    settings = Settings(
        training=TrainingConfig(dataset="data\x1b[2J.py", loss="pkg.mod:loss"),
        run=RunSettings(on_finish=("notify", "a b")),
        sweep={"training.model_type": ("net.py", "net.py:other", "planner")},
    )
    assert trust.what_runs(settings) == [
        "--model-type net.py", "--model-type net.py:other", "--dataset data\\u001b[2J.py", "--loss pkg.mod:loss",
        'on_finish ["notify", "a b"]',
    ]  # fmt: skip
    assert trust.what_runs(Settings()) == []
    engine = EngineSettings(name="ray", address="head:6379")
    assert trust.what_runs(Settings(engine=engine)) == ["--address head:6379"]  # who answers there can run code here
