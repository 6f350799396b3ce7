"""The lock: one holder, seen by viewers, kept by children that inherited it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from forge_tui.errors import RunDirectoryError
from forge_tui.runs.lock import MARK, RunLock, is_locked


def test_a_missing_or_free_lock_is_not_locked(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "lock")
    assert not (tmp_path / "lock").exists()
    with RunLock.acquire(tmp_path / "lock"):
        assert is_locked(tmp_path / "lock")
    assert not is_locked(tmp_path / "lock")


def test_a_second_holder_is_refused_in_words(tmp_path: Path) -> None:
    with RunLock.acquire(tmp_path / "lock"), pytest.raises(RunDirectoryError, match=r"is in use.*forge-tui attach"):
        RunLock.acquire(tmp_path / "lock", timeout=0.0)
    RunLock.acquire(tmp_path / "lock", timeout=0.0).release()


def test_a_child_keeps_the_lock_when_the_parent_has_let_go(tmp_path: Path) -> None:
    lock = RunLock.acquire(tmp_path / "lock")
    assert os.get_inheritable(lock.fileno())
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, close_fds=False
    )
    lock.release()
    assert is_locked(tmp_path / "lock")
    child.kill()
    child.communicate()
    assert not is_locked(tmp_path / "lock")


def test_a_released_lock_has_no_descriptor(tmp_path: Path) -> None:
    lock = RunLock.acquire(tmp_path / "lock")
    lock.release()
    lock.release()
    with pytest.raises(ValueError, match="released"):
        lock.fileno()


def test_a_lock_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunDirectoryError, match="symbolic link"):
        RunLock.acquire(tmp_path / "lock")


def test_looking_works_without_write_permission(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with RunLock.acquire(path):
        path.chmod(0o400)
        assert is_locked(path)


def test_a_lock_is_known_by_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not RunLock.is_own(path)
    with RunLock.acquire(path) as lock:
        assert lock.is_new
        assert RunLock.is_own(path)
        assert [file.name for file in tmp_path.iterdir()] == ["lock"]
    with RunLock.acquire(path) as lock:
        assert not lock.is_new
    for content in (b"", b"mine", MARK + b"and more"):
        path.write_bytes(content)
        assert not RunLock.is_own(path)
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    assert not RunLock.is_own(path)


@pytest.mark.parametrize("problem", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_without_links_has_locks_too(
    problem: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object) -> None:
        raise OSError(problem, os.strerror(problem))

    monkeypatch.setattr(os, "link", link)
    with RunLock.acquire(tmp_path / "lock") as lock:
        assert lock.is_new
        assert RunLock.is_own(tmp_path / "lock")
    assert [file.name for file in tmp_path.iterdir()] == ["lock"]


def test_only_the_holders_own_file_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = RunLock.acquire(path)
    first.remove()
    assert not path.exists()
    with RunLock.acquire(path):
        first.remove()
        assert path.exists()
    first.release()
