"""The lock: one holder, seen by viewers, kept by children that inherited it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from forge_tui.errors import RunDirectoryError
from forge_tui.runs.lock import RunLock, is_locked


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
