"""I/O errors at chosen system calls of one kind of process of a run, injected by strace (Linux).

A try runs a command of `forge-tui` (its stage) with EIO at the n-th call of a kind in a thread of the front end, of the
runner, or of the worker. Which n there are is found out by running the stage once without.
"""

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
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import pytest
from running import SMALL, kill_all, processes_of, wait_until, weights
from storm_checks import history_problems, told

FAULTS = Path(__file__).resolve().parent / "faults"
CALLS = {
    "fsync": ("fsync", "fdatasync"),
    "rename": ("rename", "renameat", "renameat2"),
    "write": ("write", "pwrite64"),
    "unlink": ("unlink", "unlinkat", "rmdir"),
}
"""The kinds of calls, and the system calls of each."""
SETTINGS = (
    *SMALL, "--models", "1", "--epochs", "4", "--checkpoint-interval", "2", "--samples", "100", "--features", "4",
    "--classes", "3",
)  # fmt: skip
_CALL = re.compile(r"(?P<pid>\d+) +(?P<name>\w+)\((?P<arguments>.*)")
_DESCRIPTOR = re.compile(r"\d+<(?P<path>[^<>]*)>")
_NAME = re.compile(r"\"([^\"]*)\"")
_WORDS = re.compile(r"Input/output error|disk I/O error")
_OPTIONS = ("-I", "1", "-f", "-b", "execve")
_SECONDS = 90.0


class Role(StrEnum):
    """Whose calls fail. Of the worker those from its first epoch on."""

    FRONT = "front end"
    RUNNER = "runner"
    WORKER = "worker"


class Stage(StrEnum):
    """What is done meanwhile."""

    START = "start to end"
    RESUME = "resume"
    STOP = "stop"
    REMOVE = "rm"


@dataclass(frozen=True, slots=True)
class Try:
    """EIO at the `number`-th of the `calls` (a system call) of each thread of a role."""

    stage: Stage
    role: Role
    call: str
    number: int

    def __str__(self) -> str:
        return f"{self.stage}, {self.role}, {self.call} {self.number}"


@dataclass(slots=True)
class Outcome:
    """What came of a try. `hit`: the files at whose calls an error was injected; none: the try does not count.

    `told`: where the error was reported, on the `screen` or in the run's `records`, or nowhere.
    """

    what: Try
    hit: list[str] = field(default_factory=list)
    status: int = 0
    told: str = "nowhere"
    problems: list[str] = field(default_factory=list)


def missing() -> str | None:
    """Why nothing can be injected here, or None."""
    if sys.platform != "linux":
        return "strace is there on Linux only"
    if shutil.which("strace") is None:
        return "strace is not installed (Debian: apt-get install strace)"
    done = subprocess.run(["strace", *_OPTIONS, "-D", "-o", os.devnull, "true"], capture_output=True, text=True)
    return None if done.returncode == 0 else f"strace cannot be used here: {done.stderr.strip().splitlines()[-1]}"


class Injector:
    """Tries in directories of their own below `base`."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self._count = 0
        with _environment(base):
            _forge("--no-ui", *SETTINGS, "--output", base / "undisturbed")
        self.undisturbed = weights(base / "undisturbed")

    def tries(self, stage: Stage, role: Role) -> list[Try]:
        """All that there are: one for each place of a call on a file of the run, counted without an error."""
        place = self._place()
        trace = self._carry_out(place, stage, role, None)[1]
        kinds = ("fsync", "rename", "write", *(("unlink",) if stage is Stage.REMOVE else ()))
        names = {name for kind in kinds for name in CALLS[kind]}
        found: dict[bool, set[tuple[str, int]]] = {True: set(), False: set()}
        for call in calls(trace):
            if call.name in names:
                found[call.is_below(place)].add((call.name, call.number))
        shutil.rmtree(place)
        # A call that has the same number in another thread would fail, too: none of a terminal, a pipe, or /proc.
        return [Try(stage, role, name, number) for name, number in sorted(found[True] - found[False])]

    def attempt(self, what: Try) -> Outcome:
        """Carry out a stage with one error, and look at what is left."""
        place = self._place()
        done, trace = self._carry_out(place, what.stage, what.role, what)
        outcome = Outcome(what, status=done.returncode)
        outcome.hit = [call.path for call in calls(trace) if call.injected and call.is_below(place)]
        directory = place / "run"
        with _environment(place):
            self._judge(outcome, done, directory)
            if what.stage is Stage.REMOVE:
                self._remove_again(outcome, directory)
            else:
                self._go_on(outcome, directory)
        if not outcome.problems:
            shutil.rmtree(place)
        return outcome

    # --- a stage

    def _place(self) -> Path:
        self._count += 1
        place = self.base / f"try-{self._count}"
        place.mkdir()
        return place

    def _carry_out(
        self, place: Path, stage: Stage, role: Role, what: Try | None
    ) -> tuple[subprocess.CompletedProcess[str], str]:
        """The stage's command with its end, and what strace wrote."""
        directory = place / "run"
        with _environment(place):
            if stage is Stage.REMOVE:
                _forge("--no-ui", *SETTINGS, "--output", directory)
            elif stage is Stage.RESUME:
                with _faults({"do": "pace", "seconds": 0.2, "epoch": 3}):
                    _forge("--no-ui", *SETTINGS, "--detach", "--output", directory)
                wait_until(lambda: list(directory.glob("checkpoints/*/step-*")), "a checkpoint")
                _forge("stop", directory)
            elif stage is Stage.STOP:
                with _faults({"do": "pace", "seconds": 0.5, "epoch": 1}):
                    _forge("--no-ui", *SETTINGS, "--detach", "--output", directory)
            done = _Tracer(role, place / "trace", what).run(_command(stage, directory), directory)
            if stage is Stage.STOP:  # whatever it came to, the run ends
                wait_until(lambda: not processes_of(directory), "the end of the run", _SECONDS)
        return done, "".join(path.read_text(errors="replace") for path in place.glob("trace*"))

    # --- what must hold

    def _judge(self, outcome: Outcome, done: subprocess.CompletedProcess[str], directory: Path) -> None:
        said = done.stdout + done.stderr
        if "Traceback" in said or "Error:" in done.stderr.replace("OutOfMemoryError:", ""):
            outcome.problems.append(f"a traceback, or an exception's name: {done.stderr[-1500:]}")
        if done.returncode not in (0, 1, 2, 3, 4):
            outcome.problems.append(f"exit status {done.returncode}: {done.stderr[-500:]}")
        try:
            wait_until(lambda: not processes_of(directory), "the end of all processes", 20.0)
        except pytest.fail.Exception:
            outcome.problems.append(f"left behind: {processes_of(directory)}")
            kill_all(processes_of(directory))
        if _WORDS.search(said):
            outcome.told = "screen"
        elif any(_WORDS.search(text) for text in _records(directory)):
            outcome.told = "records"
        if outcome.hit and outcome.told == "nowhere" and done.returncode != 0:
            outcome.problems.append(f"fails without saying why: {done.stderr[-1000:]}")

    def _go_on(self, outcome: Outcome, directory: Path) -> None:
        """The run is readable and can be continued; where none has begun, it can be started."""
        if (directory / "run.db").exists():
            status, out, err = told("status", directory, "--json")
            if status != 0:
                outcome.problems.append(f"status exits {status}: {err}")
                return
            state = json.loads(out)["state"]
            if outcome.status == 0 and outcome.what.stage is not Stage.STOP and state != "completed":
                outcome.problems.append(f"exit status 0, and the run is {state}")
            if outcome.status != 0 and outcome.what.stage is not Stage.STOP and state == "completed":
                outcome.problems.append(f"exit status {outcome.status}, though the run is completed")
            again = () if state == "completed" else ("resume", directory)
        else:
            if outcome.status == 0:
                outcome.problems.append("exit status 0, and there is no run")
            if left := sorted(path.name for path in directory.rglob("*")):
                outcome.problems.append(f"no run has begun, and {left} are left")
            again = ("--no-ui", *SETTINGS, "--output", directory)
        if again:
            done = _run([sys.executable, "-m", "forge_tui", *map(str, again)])
            if done.returncode != 0:
                outcome.problems.append(f"{again[0]} afterwards exits {done.returncode}: {done.stderr[-1500:]}")
                return
        if weights(directory) != self.undisturbed:
            outcome.problems.append("the weights are not those of an undisturbed run")
        outcome.problems += history_problems(directory)
        outcome.problems += [f"{path.name} is left" for path in directory.rglob("*.tmp")]

    @staticmethod
    def _remove_again(outcome: Outcome, directory: Path) -> None:
        if outcome.status == 0 and directory.exists():
            left = sorted(path.name for path in directory.rglob("*"))
            outcome.problems.append(f"rm exits 0 and leaves {left}")
        if directory.exists():
            status, _out, err = told("rm", "--yes", directory)
            if status != 0 or directory.exists():
                outcome.problems.append(f"rm afterwards exits {status}: {err}")


@dataclass(frozen=True, slots=True)
class Call:
    """A traced call: the how-manieth of its name in its thread, and the file it is about (the last one named)."""

    name: str
    number: int
    path: str
    injected: bool

    def is_below(self, place: Path) -> bool:
        """Whether it is about a file of the run or of the user's state, and not about a terminal or a pipe."""
        return self.path.startswith(f"{place}/") and not self.path.startswith(f"{place}/trace")


def calls(trace: str) -> Iterator[Call]:
    """The calls of a trace in their order."""
    counts: Counter[tuple[str, str]] = Counter()
    for line in trace.splitlines():
        found = _CALL.match(line)
        if found is None:
            continue
        pid, name = found["pid"], found["name"]
        counts[pid, name] += 1
        descriptor = _DESCRIPTOR.match(found["arguments"])
        named = _NAME.findall(found["arguments"])
        path = descriptor["path"] if descriptor is not None else named[-1] if named else ""
        yield Call(name, counts[pid, name], path, "(INJECTED)" in line)


def _command(stage: Stage, directory: Path) -> tuple[str, ...]:
    match stage:
        case Stage.START:
            return ("--no-ui", *SETTINGS, "--output", str(directory))
        case Stage.REMOVE:
            return ("rm", "--yes", str(directory))
        case _:
            return (str(stage), str(directory))


@dataclass(frozen=True, slots=True)
class _Tracer:
    """strace for the processes of one role, until it has injected an error.

    strace counts the calls of each thread for itself, and checkpoints are written by new threads: without an end to it
    the error would come again and again. Children that are another program are not followed.
    """

    role: Role
    trace: Path
    what: Try | None

    @property
    def words(self) -> list[str]:
        """The command, without what it traces. -I 1: it can be ended, and lets them all continue then."""
        names = ",".join(name for kind in CALLS.values() for name in kind)
        what = self.what
        inject = [] if what is None else ["-e", f"inject={what.call}:error=EIO:when={what.number}"]
        return ["strace", *_OPTIONS, "-y", "-qq", "-o", str(self.trace), "-e", f"trace={names}", *inject]

    def run(self, command: tuple[str, ...], directory: Path) -> subprocess.CompletedProcess[str]:
        """Run `forge-tui COMMAND` to its end."""
        program = [sys.executable, "-m", "forge_tui", *command]
        environment, ended = dict(os.environ), threading.Event()
        if self.role is Role.FRONT:
            program = [*self.words, "-D", *program]  # -D: the traced process is our child, and not the tracer's
        elif self.role is Role.RUNNER:
            shim = self.trace.with_name("python")
            shim.write_text(f'#!/bin/sh\nexec {shlex.join([*self.words, "-D", sys.executable])} "$@"\n')
            shim.chmod(0o700)
            environment |= {"PYTHONPATH": str(FAULTS), "TRACED_RUNNER": str(shim)}
        else:
            slow = {"cognate_planner_1": {"do": "pace", "seconds": 0.4, "epoch": 1}}
            environment |= {"PYTHONPATH": str(FAULTS), "WORKER_FAULTS": json.dumps(slow)}
        watcher = threading.Thread(target=self._watch, args=(directory, ended))
        watcher.start()
        try:
            return _run(program, environment)
        finally:
            ended.set()
            watcher.join()

    def _watch(self, directory: Path, ended: threading.Event) -> None:
        """Trace the worker once there is one, and end the tracer when an error was injected."""
        attached = None
        try:
            while not ended.wait(0.01):
                if self.role is Role.WORKER and attached is None and (found := processes_of(directory, "cognate")):
                    attached = subprocess.Popen([*self.words, "-p", str(found[0].pid)], stderr=subprocess.DEVNULL)
                if self.has_injected():
                    for pid in self._tracers():
                        os.kill(pid, signal.SIGTERM)
                    return
        finally:
            if attached is not None:
                attached.wait()

    def has_injected(self) -> bool:
        """Whether a call for a file of the run has failed."""
        if not self.trace.exists():
            return False
        found = calls(self.trace.read_text(errors="replace"))
        return any(call.injected and call.is_below(self.trace.parent) for call in found)

    def _tracers(self) -> Iterator[int]:
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if words[0] == b"strace" and str(self.trace).encode() in words:
                    yield int(pid)


def _run(command: list[str], environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        out, err = (part.decode() if isinstance(part, bytes) else part or "" for part in (error.stdout, error.stderr))
        return subprocess.CompletedProcess(command, -99, out, f"{err}\n(ended after {_SECONDS:g} s)")


def _forge(*arguments: str | Path) -> None:
    done = _run([sys.executable, "-m", "forge_tui", *map(str, arguments)])
    assert done.returncode == 0, done.stderr


def _records(directory: Path) -> Iterator[str]:
    """What the run itself says: its events, and its logs."""
    if (directory / "run.db").exists():
        yield told("report", directory, "--json")[1]
        from forge_tui.session import Run

        with Run(directory) as run:
            yield json.dumps([record for _, record in run.events()])
    for log in directory.glob("**/*.log"):
        yield log.read_text(errors="replace")


@contextmanager
def _environment(place: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(place / "state"))
        patch.setenv("XDG_CONFIG_HOME", str(place / "config"))
        for name in [name for name in os.environ if name.startswith("FORGE_TUI_")]:
            patch.delenv(name)
        yield


@contextmanager
def _faults(fault: dict[str, object]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(FAULTS))
        patch.setenv("WORKER_FAULTS", json.dumps({"cognate_planner_1": fault}))
        yield
