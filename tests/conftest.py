"""What all tests share: private state and configuration directories, and no process left behind."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def private_directories(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's own settings and list of runs out of the tests, and the tests out of them."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    for name in [name for name in os.environ if name.startswith("FORGE_TUI_")]:
        monkeypatch.delenv(name)


def processes_of(directory: Path) -> list[psutil.Process]:
    """The processes that have a file of this run open or carry its name: runner, fork server, workers."""
    found = []
    for process in psutil.process_iter():
        try:
            title = " ".join(process.cmdline())
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            holds = any(Path(file.path).is_relative_to(directory) for file in process.open_files())
            if (
                process.pid != os.getpid()
                and ("forge-tui:" in title or "forge_tui" in title)
                and (holds or directory.name in title)
            ):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def wait_until(condition: object, seconds: float = 60.0) -> None:
    """Wait for `condition()` to hold; fail with its name after `seconds`."""
    deadline = time.monotonic() + seconds
    assert callable(condition)
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:g} s in vain for {getattr(condition, '__name__', condition)}")
        time.sleep(0.02)


@pytest.fixture
def run_directory(tmp_path: Path) -> Iterator[Path]:
    """A directory for one run; whatever still runs in it after the test is ended, and fails the test."""
    directory = tmp_path / "run"
    yield directory
    deadline = time.monotonic() + 5.0
    while (left := processes_of(directory)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in left:
        process.kill()
    assert not left, f"processes of the run were left behind: {left}"
