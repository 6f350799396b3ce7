"""Claims: live runs of one user know of each other, dead ones do not count, and two never take one slot."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from forge_tui.errors import RunDirectoryError
from forge_tui.resources.policy import DeviceShare
from forge_tui.runs import claims
from forge_tui.runs.claims import Claim, Claims
from forge_tui.runs.layout import RunDirectory
from forge_tui.settings.user_file import state_directory

ROOT = Path(__file__).parents[2]


def claims_of(name: str, state: Path) -> Claims:
    return Claims(RunDirectory(Path("/runs") / name), state)


def files(state: Path) -> list[str]:
    return sorted(path.name for path in (state / "claims").iterdir() if path.suffix != ".lock")


@contextmanager
def process(code: str, state: Path, name: str = "other") -> Iterator[subprocess.Popen[str]]:
    """A runner of its own: `claims` is ready in it, and it lives until its stdin is closed or it is killed."""
    start = (
        "import os, subprocess, sys\nfrom pathlib import Path\nfrom forge_tui.runs.claims import Claims\n"
        "from forge_tui.runs.layout import RunDirectory\n"
        f"claims = Claims(RunDirectory(Path('/runs/{name}')), Path({str(state)!r}))\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", start + code + "\nsys.stdin.read()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def line_of(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def test_live_runs_see_each_other_and_not_themselves(tmp_path: Path) -> None:
    first, second, third = (claims_of(name, tmp_path) for name in ("a", "b", "c"))
    assert first.others() == ()
    first.set(3, 2)
    second.set(1, 4)
    assert first.others() == (Claim("b", "/runs/b", 1, 4),)
    assert second.others() == (Claim("a", "/runs/a", 3, 2),)
    assert {claim.run: claim.cpus for claim in third.others()} == {"a": 6, "b": 4}
    second.release()
    second.release()
    assert (first.others(), len(files(tmp_path))) == ((), 1)
    second.set(2, 2)
    assert first.others() == (Claim("b", "/runs/b", 2, 2),)
    for one in (first, second):
        one.release()
    assert files(tmp_path) == []


def test_shares_of_devices_are_claimed_and_files_of_earlier_versions_have_none(tmp_path: Path) -> None:
    own, viewer = claims_of("a", tmp_path), claims_of("b", tmp_path)
    shares = (DeviceShare("GPU-1", 2, 3 << 30, 1 << 30), DeviceShare("MIG-2", 1, 0, 5))
    own.set(3, 1, shares)
    assert viewer.others() == (Claim("a", "/runs/a", 3, 1, shares),)
    own.set(3, 1)
    assert viewer.others() == (Claim("a", "/runs/a", 3, 1),)
    (mine,) = (tmp_path / "claims" / name for name in files(tmp_path))
    record = json.loads(mine.read_bytes())
    assert (record["v"], record.pop("devices")) == (2, [])
    for devices, count in (
        (None, 1), ([], 1), ([{"uuid": "GPU-1", "workers": 1, "held": 0, "growth": 0}], 1), ({}, 0), ([1], 0),
        ([{"uuid": "GPU-1", "workers": 1, "held": 0, "growth": -1}], 0), ([{"uuid": 7}], 0), ([{}] * 257, 0),
    ):  # fmt: skip
        mine.write_text(json.dumps(record if devices is None else {**record, "devices": devices}))
        assert len(viewer.others()) == count, devices
    own.release()


def test_a_change_is_seen_at_once_and_no_change_writes_nothing(tmp_path: Path) -> None:
    own, viewer = claims_of("a", tmp_path), claims_of("b", tmp_path)
    own.set(1, 1)
    (path,) = (tmp_path / "claims").glob("*.json")
    before = path.stat()
    own.set(1, 1)
    assert os.path.samestat(path.stat(), before)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    own.set(0, 1)
    assert viewer.others() == (Claim("a", "/runs/a", 0, 1),)
    assert files(tmp_path) == [path.name]
    own.release()


def test_a_claim_that_somebody_deleted_is_made_anew(tmp_path: Path) -> None:
    own, viewer = claims_of("a", tmp_path), claims_of("b", tmp_path)
    own.set(2, 1)
    for path in (tmp_path / "claims").iterdir():
        path.unlink()
    (tmp_path / "claims").rmdir()
    assert viewer.others() == ()
    own.set(2, 1)
    assert viewer.others() == (Claim("a", "/runs/a", 2, 1),)
    own.release()


def test_files_are_private_and_say_who_claims(tmp_path: Path) -> None:
    own = Claims(RunDirectory(tmp_path / "run"))
    own.set(3, 2)
    directory = state_directory() / "claims"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (directory, *directory.iterdir())] == [0o700, 0o600, 0o600]
    (path,) = directory.glob("*.json")
    record = json.loads(path.read_bytes())
    del record["time"]
    assert record == {
        "v": 2, "run": "run", "path": str(tmp_path / "run"), "workers": 3, "threads": 2, "devices": [],
        "host": socket.gethostname(),
    }  # fmt: skip
    own.release()


def test_a_killed_runner_leaves_nothing_that_counts(tmp_path: Path) -> None:
    viewer = claims_of("viewer", tmp_path)
    with process("claims.set(4, 1); print('set', flush=True)", tmp_path) as child:
        assert line_of(child) == "set"
        assert viewer.others() == (Claim("other", "/runs/other", 4, 1),)
        assert len(files(tmp_path)) == 1
        child.kill()
        child.wait()
        assert viewer.others() == ()
        assert files(tmp_path) == []


def test_a_claim_ends_with_its_runner_though_a_child_of_it_lives(tmp_path: Path) -> None:
    code = (
        "claims.set(4, 1)\nchild = subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()'],"
        " stdin=sys.stdin, close_fds=False)\nprint(child.pid, flush=True)"
    )
    viewer = claims_of("viewer", tmp_path)
    with process(code, tmp_path) as child:
        grandchild = int(line_of(child))
        child.kill()
        child.wait()
        os.kill(grandchild, 0)  # lives: it reads the same pipe, which is closed below
        assert viewer.others() == ()


def test_two_that_decide_at_one_moment_do_not_both_take_the_last_slot(tmp_path: Path) -> None:
    code = (
        "sys.stdin.readline()\n"
        "with claims.deciding():\n"
        "    free = 2 - sum(claim.cpus for claim in claims.others())\n"
        "    claims.set(min(1, free), 1)\n"
        "print('took' if free > 0 else 'left', flush=True)"
    )
    with (
        process(code, tmp_path, "a") as a, process(code, tmp_path, "b") as b,
        process(code, tmp_path, "c") as c, process(code, tmp_path, "d") as d,
    ):  # fmt: skip
        runners = (a, b, c, d)
        for child in runners:
            assert child.stdin is not None
            child.stdin.write("decide\n")
            child.stdin.flush()
        assert sorted(line_of(child) for child in runners) == ["left", "left", "took", "took"]
        assert sum(claim.cpus for claim in claims_of("viewer", tmp_path).others()) == 2


def test_one_stuck_in_its_decision_is_told_and_its_claim_still_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "LOCK_SECONDS", 0.0)
    stuck, own = claims_of("stuck", tmp_path), claims_of("own", tmp_path)
    stuck.set(1, 1)
    with stuck.deciding():
        with pytest.raises(RunDirectoryError, match=r"locked by another of your runs.*kill -CONT"):
            own.set(1, 1)
        assert own.others() == (Claim("stuck", "/runs/stuck", 1, 1),)
    own.set(1, 1)
    assert stuck.others() == (Claim("own", "/runs/own", 1, 1),)
    for one in (stuck, own):
        one.release()


def test_other_hosts_claims_do_not_count_and_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = claims_of("here", tmp_path)
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    there = claims_of("there", tmp_path)
    there.set(8, 8)
    assert here.others() == ()
    here.set(1, 1)
    assert there.others() == ()
    # Locks may not reach from host to host: a file that seems to be no one's is none of ours to delete.
    there.release()
    stale = tmp_path / "claims" / "0123456789ab-0000000000000000.json"
    stale.write_text("{}")
    assert here.others() == ()
    assert stale.exists()
    here.release()


def test_what_a_crash_left_is_deleted(tmp_path: Path) -> None:
    own = claims_of("own", tmp_path)
    own.set(1, 1)
    mark = files(tmp_path)[0].partition("-")[0]
    for name, data in (("half.json", b'{"run": "x", "pa'), ("empty.json", b""), ("cut.tmp", b"{")):
        (tmp_path / "claims" / f"{mark}-{name}").write_bytes(data)
    assert own.others() == ()
    assert len(files(tmp_path)) == 1
    own.release()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.just(b"[" * 60_000),
        st.just(b" " * 70_000),
        st.fixed_dictionaries(
            {"run": st.text(max_size=3) | st.none(), "path": st.text(max_size=3)},
            optional={
                "workers": st.integers() | st.booleans() | st.floats() | st.text(max_size=2),
                "threads": st.integers(-2, 2) | st.none(),
            },
        ).map(lambda record: json.dumps(record).encode()),
    )
)
@example(b'{"run": "x", "path": "/x", "workers": true, "threads": 1}')
@example(b'{"run": "x", "path": "/x", "workers": 1, "threads": 1}')
def test_hostile_files_count_only_if_they_make_sense(tmp_path: Path, data: bytes) -> None:
    viewer = claims_of("viewer", tmp_path)
    viewer.set(1, 1)
    mark = files(tmp_path)[0].partition("-")[0]
    hostile = tmp_path / "claims" / f"{mark}-hostile.json"
    hostile.write_bytes(data)
    with hostile.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        found = viewer.others()
    for claim in found:
        record = json.loads(data)
        assert claim == Claim(record["run"], record["path"], record["workers"], record["threads"])
        for number in (claim.workers, claim.threads):
            assert type(number) is int
            assert 0 <= number <= 1_000_000
    if data == b'{"run": "x", "path": "/x", "workers": 1, "threads": 1}':
        assert len(found) == 1
    assert viewer.others() == ()  # it is held no more
    assert not hostile.exists()
    viewer.release()


def test_pipes_links_and_directories_hold_nobody_up(tmp_path: Path) -> None:
    own = claims_of("own", tmp_path)
    own.set(1, 1)
    directory = tmp_path / "claims"
    mark = files(tmp_path)[0].partition("-")[0]
    os.mkfifo(directory / f"{mark}-pipe.json")
    (directory / f"{mark}-directory.json").mkdir()
    (directory / f"{mark}-link.json").symlink_to(tmp_path / "target")
    (tmp_path / "target").write_text('{"run": "x", "path": "/x", "workers": 9, "threads": 9}')
    with (tmp_path / "target").open("rb") as target:
        fcntl.flock(target, fcntl.LOCK_EX)
        assert own.others() == ()
    assert own.others() == ()
    assert (tmp_path / "target").exists()
    own.release()


def test_an_unusable_state_directory_is_told_and_counts_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    own = claims_of("own", tmp_path / "file" / "state")
    assert own.others() == ()
    with pytest.raises(RunDirectoryError, match=r"cannot claim this run.s workers in.*choose another directory"):
        own.set(1, 1)
    with pytest.raises(RunDirectoryError, match="cannot claim"), own.deciding():
        pass
    own.release()


def test_a_claim_that_cannot_be_written_leaves_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, viewer = claims_of("own", tmp_path), claims_of("viewer", tmp_path)
    own.set(1, 1)
    monkeypatch.setattr(os, "write", lambda descriptor, data: 1)
    with pytest.raises(RunDirectoryError, match=r"No space left.*free some space"):
        own.set(5, 1)
    monkeypatch.undo()
    assert viewer.others() == (Claim("own", "/runs/own", 1, 1),)
    assert len(files(tmp_path)) == 1
    own.release()
