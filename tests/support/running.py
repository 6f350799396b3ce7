"""Helpers for tests that start real runs: commands, conditions to wait for, and the processes of a run."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

SMALL = ("--model-size", "2000", "--policy", "dedicated", "--threads", "1", "--fuse", "1")


def forge(*arguments: str | Path, cwd: Path | None = None, status: int | None = 0) -> subprocess.CompletedProcess[str]:
    """Run `forge-tui ARGUMENTS` to its end; fail unless it exits with `status` (None: with any)."""
    done = subprocess.run(
        [sys.executable, "-m", "forge_tui", *map(str, arguments)],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    if status is not None:
        assert done.returncode == status, f"exit status {done.returncode}, not {status}\n{done.stdout}\n{done.stderr}"
    return done


def begin(*arguments: str | Path, cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start `forge-tui ARGUMENTS` and go on."""
    return subprocess.Popen(
        [sys.executable, "-m", "forge_tui", *map(str, arguments)],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def events(output: str) -> list[dict[str, Any]]:
    """The JSON lines of a batch run."""
    return [json.loads(line) for line in output.splitlines()]


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 90.0) -> Any:
    """Wait for `condition()` to be true and return what it gives; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:g} s in vain: {what}")
        time.sleep(0.02)


def kill_all(processes: Iterable[psutil.Process]) -> None:
    """Kill what is left of them: the end of one may have ended another."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def processes_of(directory: Path, role: str = "") -> list[psutil.Process]:
    """The live processes of the run in `directory`: those that have its lock open.

    `role`: `runner`, `fork server` or `cognate` (workers) narrows them by title.
    """
    lock = str(directory / "lock")
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            title = " ".join(process.cmdline())
            is_ours = title.startswith("forge-tui:") and role in title
            if is_ours and any(target.startswith(lock) for target in _open_files(process.pid)):
                found.append(process)
    return found


def _open_files(pid: int) -> Iterator[str]:
    """What a process has open; a file that it closes meanwhile is left out, and nothing else with it."""
    for descriptor in list(Path(f"/proc/{pid}/fd").iterdir()):
        with contextlib.suppress(FileNotFoundError):
            yield os.readlink(descriptor)


def epochs_of(directory: Path, index: int = 1) -> int:
    """How many epochs of a model are recorded; 0 while there is no run."""
    from forge_tui.client.run import Run
    from forge_tui.errors import RunDirectoryError

    try:
        with Run(directory) as run:
            return run.snapshot().models[index - 1].epoch
    except (RunDirectoryError, IndexError):
        return 0


def weights(directory: Path) -> dict[str, bytes]:
    """The bytes of every finished model's weights, by file name."""
    return {path.name: path.read_bytes() for path in sorted(directory.glob("*.safetensors"))}
