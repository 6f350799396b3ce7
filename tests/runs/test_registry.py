"""Known runs: named by directory, id, beginning of an id, or not at all."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from forge_tui.errors import RunDirectoryError, UsageError
from forge_tui.protocol.run_info import RunInfo
from forge_tui.runs import registry
from forge_tui.runs.registry import finished, forget, known, register, resolve
from forge_tui.settings.user_file import state_directory


def made(base: Path, name: str, created: float, state: Path) -> Path:
    path = base / name
    path.mkdir(parents=True, exist_ok=True)
    (path / "run.db").write_bytes(b"x")
    info = RunInfo(
        run=name, path=str(path), mode="series", policy="shared", model_type="planner", models=3, epochs=5,
        created=created, host="here",
    )  # fmt: skip
    register(info, state)
    return path


def test_the_newest_comes_first_and_its_end_is_known(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert known(state) == []
    first, second = made(tmp_path, "a", 1.0, state), made(tmp_path, "b", 2.0, state)
    finished(first, "completed", 9.0, state)
    assert [(run.run, run.path, run.status, run.finished) for run in known(state)] == [
        ("b", second, None, None), ("a", first, "completed", 9.0),
    ]  # fmt: skip
    newest = known(state)[0]
    assert (newest.mode, newest.model_type, newest.models, newest.host) == ("series", "planner", 3, "here")
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert stat.S_IMODE((state / "runs.jsonl").stat().st_mode) == 0o600


def test_forgotten_and_deleted_runs_are_gone(tmp_path: Path) -> None:
    state = tmp_path / "state"
    first, second = made(tmp_path, "a", 1.0, state), made(tmp_path, "b", 2.0, state)
    made(tmp_path, "c", 3.0, state)
    forget(second, state)
    (first / "run.db").unlink()
    assert [run.run for run in known(state)] == ["c"]


def test_a_directory_that_is_used_again_is_one_run(tmp_path: Path) -> None:
    state = tmp_path / "state"
    path = made(tmp_path, "a", 1.0, state)
    finished(path, "failed", 2.0, state)
    made(tmp_path, "a", 3.0, state)
    assert [(run.created, run.status) for run in known(state)] == [(3.0, None)]


def test_damaged_lines_hide_no_other(tmp_path: Path) -> None:
    state = tmp_path / "state"
    made(tmp_path, "a", 1.0, state)
    with (state / "runs.jsonl").open("ab") as file:
        file.write(b'[1]\n{"event":"registered","path":"/x"}\n\xff\xfe\nnull\n{"event":"registered","pa')
    made(tmp_path, "b", 2.0, state)
    assert [run.run for run in known(state)] == ["b", "a"]


def test_resolving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "state"
    with pytest.raises(UsageError, match="no run is known"):
        resolve(None, state)
    with pytest.raises(UsageError, match="none is known"):
        resolve("x", state)
    first = made(tmp_path, "20260101-100000-planner", 1.0, state)
    second = made(tmp_path, "20260102-100000-memory", 2.0, state)
    third = made(tmp_path, "20260102-100000-memory-2", 1.5, state)
    monkeypatch.chdir(tmp_path)
    assert resolve(None, state) == second
    assert resolve("20260101", state) == first
    assert resolve("20260102-100000-memory", state) == second
    assert resolve(str(third), state) == third
    assert resolve("./20260102-100000-memory-2/", state) == third
    with pytest.raises(UsageError, match=r"fits 2 runs: 20260102-100000-memory, 20260102-100000-memory-2; name"):
        resolve("20260102", state)
    with pytest.raises(UsageError, match=r"no run '20260101-100000-plannr'; the nearest are 20260101-100000-planner"):
        resolve("20260101-100000-plannr", state)
    with pytest.raises(UsageError, match="is empty"):
        resolve("", state)
    with pytest.raises(UsageError, match=r"no run 'aaa.*'; the newest are 20260102-100000-memory, "):
        resolve("a" * 300, state)
    with pytest.raises(UsageError, match="no run"):
        resolve("a\0b", state)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunDirectoryError, match="there is no run in"):
        resolve("empty", state)
    made(tmp_path / "other", "20260101-100000-planner", 1.0, state)
    monkeypatch.chdir(state)
    with pytest.raises(UsageError, match=rf"fits 2 runs: .*{tmp_path}/other/20260101-100000-planner"):
        resolve("20260101-100000-planner", state)


def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    state = tmp_path / "state"
    threads = [
        threading.Thread(target=lambda n=n: [made(tmp_path, f"r{n}-{m}", n + m / 100, state) for m in range(5)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {run.run for run in known(state)} == {f"r{n}-{m}" for n in range(4) for m in range(5)}


def test_superseded_lines_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_SUPERSEDED", 10)
    state = tmp_path / "state"
    path = made(tmp_path, "a", 1.0, state)
    for number in range(50):
        finished(path, "stopped", float(number), state)
    assert (state / "runs.jsonl").read_bytes().count(b"\n") < 20
    assert [(run.run, run.status, run.finished) for run in known(state)] == [("a", "stopped", 49.0)]


def test_an_unusable_state_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match="cannot write the list of runs"):
        forget(tmp_path, tmp_path / "file" / "state")


def test_a_line_that_is_cut_off_by_a_full_disk_is_told_and_swallows_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made(tmp_path, "first", 1.0, tmp_path / "state")
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:20]))
        with pytest.raises(RunDirectoryError, match=r"cannot write the list of runs .*: No space left on device"):
            finished(first, "completed", 2.0, tmp_path / "state")
    made(tmp_path, "second", 3.0, tmp_path / "state")
    assert [run.run for run in known(tmp_path / "state")] == ["second", "first"]


def test_the_platforms_directory_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_directory().name == "forge-tui"
    made(tmp_path, "a", 1.0, state_directory())
    assert [run.run for run in known()] == ["a"]


def test_a_line_break_in_a_name_breaks_no_message(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (tmp_path / "run\nwith a break").mkdir()
    with pytest.raises(RunDirectoryError) as caught:
        registry.resolve(str(tmp_path / "run\nwith a break"), state)
    assert "run\\u000awith a break" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "record",
    [
        {"path": "/a\0b"},
        {"path": "/a\ud800b"},
        {"path": 7},
        {"models": 10**18},
        {"created": 1e18},
        {"created": "now"},
        {"run": None},
        {"host": ["x"]},
    ],
    ids=str,
)
def test_a_line_that_is_never_written_is_left_out_and_the_others_stay(tmp_path: Path, record: dict[str, Any]) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.db").touch()
    good = {"v": 1, "event": "registered", "run": "run", "path": str(tmp_path / "run"), "created": 1.0, "models": 1}
    lines = [json.dumps({**good, "path": str(tmp_path), **record}), json.dumps(good), "[" * 100_000, "x" * 100_000]
    (tmp_path / "runs.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert [found.run for found in known(tmp_path)] == ["run"]
