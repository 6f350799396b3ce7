"""Helpers for tests that start real runs: commands, conditions to wait for, and the processes of a run."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import prepared
import psutil
import pytest

SMALL = ("--model-size", "2000", "--policy", "dedicated", "--threads", "1", "--fuse", "1")


def forge(
    *arguments: str | Path, cwd: Path | None = None, status: int | None = 0, own_process: bool = False
) -> subprocess.CompletedProcess[str]:
    """Carry out `forge-tui ARGUMENTS` to its end; fail unless it exits with `status` (None: with any).

    The front end is this process, whose start and imports the tests need not pay for each time; the runner and its
    workers are processes as ever. `own_process`: it has one of its own, where a thread starts it, or what Python reads
    at its start counts.
    """
    given = list(map(str, arguments))
    if own_process:
        front_end = begin(*given, cwd=cwd)
        out, err = front_end.communicate()
        returned = front_end.returncode
    else:
        with contextlib.chdir(cwd or Path.cwd()):
            returned, out, err = in_this_process(given)
    assert "Traceback" not in err, err
    if status is not None:
        assert returned == status, f"exit status {returned}, not {status}\n{out}\n{err}"
    return subprocess.CompletedProcess(given, returned, out, err)


def in_this_process(arguments: Sequence[str]) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of `forge-tui ARGUMENTS`, run in this process."""
    from forge_tui import cli

    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = cli.main(arguments)
        except SystemExit as end:  # of the parser
            status = end.code if isinstance(end.code, int) else 1
    said = [stream.buffer.getvalue().decode("utf-8") for stream in (out, err)]  # type: ignore[attr-defined]
    return status, said[0], said[1]


def begin(*arguments: str | Path, cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start `forge-tui ARGUMENTS` and go on."""
    return prepared.popen(
        [sys.executable, "-m", "forge_tui", *map(str, arguments)],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def script(code: str, *arguments: str | Path, cwd: str | Path = "/") -> subprocess.CompletedProcess[str]:
    """Run a user's script in a process of its own, with `sys` imported."""
    return prepared.run([sys.executable, "-c", f"import sys\n{code}", *map(str, arguments)], cwd=cwd)


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


def has_ended(directory: Path) -> bool:
    """Whether no process of the run in `directory` lives or holds its lock: one that is killed lets go of that last."""
    from forge_tui.runs.layout import RunDirectory
    from forge_tui.runs.lock import is_locked

    return not processes_of(directory) and not is_locked(RunDirectory(directory).lock)


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
