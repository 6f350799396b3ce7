"""strace around one process of a run: which calls it makes for which files, and an error at one of them (Linux)."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from running import has_ended, processes_of, wait_until

FAULTS = Path(__file__).resolve().parent / "faults"
CALLS = {
    "fsync": ("fsync", "fdatasync"),
    "rename": ("rename", "renameat", "renameat2"),
    "write": ("write", "pwrite64"),
    "create": ("openat",),
    "truncate": ("ftruncate",),
    "mkdir": ("mkdir", "mkdirat"),
    "unlink": ("unlink", "unlinkat", "rmdir"),
}
"""The kinds of calls, and the system calls of each."""
SECONDS = 90.0
_CALL = re.compile(r"(?P<pid>\d+) +(?P<name>\w+)\((?P<arguments>.*)")
_DESCRIPTOR = re.compile(r"(?:\d+|AT_FDCWD)<(?P<path>[^<>]*)>")
_NAME = re.compile(r"\"([^\"]*)\"")
# A descriptor of the file itself: these calls have no name.
_BY_DESCRIPTOR = ("fsync", "fdatasync", "write", "pwrite64", "ftruncate")
_OPTIONS = ("-I", "1", "-f", "-b", "execve", "-y", "-qq", "-s", "4096")
_PACE = {"cognate_planner_1": {"do": "pace", "seconds": 0.4, "epoch": 1}}


class Role(StrEnum):
    """Whose calls fail. Of the worker those from its first epoch on."""

    FRONT = "command"
    RUNNER = "runner"
    WORKER = "worker"


@dataclass(frozen=True, slots=True)
class Place:
    """A file as the calls of one name have it: `path` in full, and `said`, what strace knows it by in the call."""

    path: str
    said: str


@dataclass(frozen=True, slots=True)
class Injection:
    """`error` at the `number`-th call `name` (in a thread) for the file `place`; without a place: of all its calls."""

    name: str
    number: int
    error: str
    place: Place | None


@dataclass(frozen=True, slots=True)
class Call:
    """A traced call: the how-manieth of its name in its thread, and of those for this file (the last one named).

    `failed`: it ended by an error, as one does that has nothing to do.
    """

    name: str
    number: int
    here: int
    place: Place
    failed: bool
    injected: bool
    creates: bool


def missing() -> str | None:
    """Why nothing can be injected here, or None."""
    if sys.platform != "linux":
        return "strace is there on Linux only"
    if shutil.which("strace") is None:
        return "strace is not installed (Debian: apt-get install strace)"
    done = subprocess.run(["strace", *_OPTIONS, "-D", "-o", os.devnull, "true"], capture_output=True, text=True)
    return None if done.returncode == 0 else f"strace cannot be used here: {done.stderr.strip().splitlines()[-1]}"


def calls(trace: str) -> Iterator[Call]:
    """The calls of a trace in their order."""
    counts: Counter[tuple[str, ...]] = Counter()
    for line in trace.splitlines():
        found = _CALL.match(line)
        if found is None:
            continue
        pid, name, arguments = found["pid"], found["name"], found["arguments"]
        place = _place(name, arguments)
        counts[pid, name] += 1
        counts[pid, name, place.said] += 1
        yield Call(
            name=name,
            number=counts[pid, name],
            here=counts[pid, name, place.said],
            place=place,
            failed=" = -1 " in arguments,
            injected="(INJECTED)" in line,
            creates="O_CREAT" in arguments,
        )


def _place(name: str, arguments: str) -> Place:
    descriptor = _DESCRIPTOR.match(arguments)
    if name in _BY_DESCRIPTOR:
        path = descriptor["path"] if descriptor is not None else ""
        return Place(path, path)
    names = _NAME.findall(arguments)
    if not names:
        return Place("", "")
    folders = [found["path"] for found in _DESCRIPTOR.finditer(arguments)]
    folder = folders[min(len(names), len(folders)) - 1] if folders else ""  # after them is what openat gives
    path = names[-1] if names[-1].startswith("/") else os.path.normpath(f"{folder}/{names[-1]}")
    return Place(path, names[0])  # of two names strace looks for the first one only


@dataclass(frozen=True, slots=True)
class Tracer:
    """strace for the processes of one role, until it has injected an error.

    strace counts the calls of each thread for itself, and checkpoints are written by new threads: without an end to it
    the error would come again and again. Children that are another program are not followed. `is_there`: the run is
    going on already.
    """

    role: Role
    trace: Path
    injection: Injection | None
    is_there: bool = False

    @property
    def words(self) -> list[str]:
        """The command, without what it traces. -I 1: it can be ended, and lets them all continue then."""
        words = ["strace", *_OPTIONS, "-o", str(self.trace)]
        what = self.injection
        if what is None:
            return [*words, "-e", f"trace={','.join(name for kind in CALLS.values() for name in kind)}"]
        at = [] if what.place is None else ["-P", what.place.said]
        inject = f"inject={what.name}:error={what.error}:when={what.number}"
        return [*words, *at, "-e", f"trace={what.name}", "-e", inject]

    def run(self, command: tuple[str, ...], directory: Path) -> subprocess.CompletedProcess[str]:
        """Run `forge-tui COMMAND` to its end."""
        program = [sys.executable, "-m", "forge_tui", *command]
        environment, ended = {**os.environ, "PYTHONPATH": str(FAULTS), "PLAIN_NAMES": "1"}, threading.Event()
        if self.role is Role.FRONT:
            program = [*self.words, "-D", *program]  # -D: the traced process is our child, and not the tracer's
        elif self.is_there:
            self._attach(directory)
        elif self.role is Role.RUNNER:
            shim = self.trace.with_name("python")
            shim.write_text(f'#!/bin/sh\nexec {shlex.join([*self.words, "-D", sys.executable])} "$@"\n')
            shim.chmod(0o700)
            environment["TRACED_RUNNER"] = str(shim)
        else:
            environment["WORKER_FAULTS"] = json.dumps(_PACE)
        watcher = threading.Thread(target=self._watch, args=(directory, ended))
        watcher.start()
        try:
            return run(program, environment)
        finally:
            if self.is_there:  # whatever it came to, the run ends
                wait_until(lambda: has_ended(directory), "the end of the run", SECONDS)
            ended.set()
            watcher.join()

    def _watch(self, directory: Path, ended: threading.Event) -> None:
        """Trace the worker once there is one, and end the tracer when an error was injected."""
        attaches = self.role is Role.WORKER and not self.is_there
        while not ended.wait(0.02):
            if attaches and processes_of(directory, "cognate"):
                attaches = False
                self._attach(directory)
            if self.has_injected():
                for pid in self._tracers():
                    os.kill(pid, signal.SIGTERM)
                return

    def _attach(self, directory: Path) -> None:
        found = processes_of(directory, "cognate" if self.role is Role.WORKER else "runner")
        if found:
            pid = found[0].pid
            # In a shell's background: it is nobody's child here, and ends with the process that it traces.
            words = shlex.join([*self.words, "-p", str(pid)])
            subprocess.run(["/bin/sh", "-c", f"{words} </dev/null >/dev/null 2>&1 &"], check=True)
            wait_until(lambda: _is_traced(pid), "the tracer", 10.0)

    def has_injected(self) -> bool:
        """Whether a call has failed."""
        return self.trace.exists() and "(INJECTED)" in self.trace.read_text(errors="replace")

    def _tracers(self) -> Iterator[int]:
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if words[0] == b"strace" and str(self.trace).encode() in words:
                    yield int(pid)


def _is_traced(pid: int) -> bool:
    try:
        return "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True  # it has ended


def run(command: list[str], environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; one that takes too long is ended, and has the status -99."""
    try:
        return subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        out, err = (part.decode() if isinstance(part, bytes) else part or "" for part in (error.stdout, error.stderr))
        return subprocess.CompletedProcess(command, -99, out, f"{err}\n(ended after {SECONDS:g} s)")
