"""One run in a storm of kills: its processes, its viewers, and how to begin, look at and end them (Linux)."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import prepared

SPARE = "spare worker"
"""What a worker has in its title instead of a model until it is given one."""

_ROLES = {"forge_tui.runner": "runner", "forge_tui.worker.fork_server": "fork server"}


class Role(StrEnum):
    """What is killed."""

    WORKER = "worker"
    FORK_SERVER = "fork server"
    RUNNER = "runner"
    FRONT_END = "batch front end"
    UI = "UI on a terminal"
    REMOVER = "rm"


@dataclass(frozen=True, slots=True)
class Holder:
    """A live process that has the lock of a run open. `model`: the one it trains, empty where it is no worker."""

    pid: int
    born: str
    role: Role
    model: str = ""


def holders(directory: Path) -> list[Holder]:
    """The live processes that have the run's lock open, as /proc shows them one after another."""
    found = (_holder(int(name), f"{directory}/lock") for name in os.listdir("/proc") if name.isdigit())
    return [holder for holder in found if holder is not None]


def is_alive(holder: Holder) -> bool:
    """Whether that very process still runs; one that was killed and not yet waited for does not."""
    return _born(holder.pid) == holder.born


def children(pid: int) -> list[int]:
    """The processes that `pid` has started and that it has not waited for."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    return found


def _holder(pid: int, lock: str) -> Holder | None:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode(errors="replace").split("\0")
        role, model = _role(words)
        if role is None or pid == os.getpid():
            return None
        if not any(os.readlink(entry.path) == lock for entry in os.scandir(f"/proc/{pid}/fd")):
            return None
        born = _born(pid)
    except OSError:
        return None
    return Holder(pid, born, role, model) if born else None


def _role(words: list[str]) -> tuple[Role | None, str]:
    if words[0].startswith("forge-tui: "):
        title = words[0].removeprefix("forge-tui: ")
        if title.startswith("runner "):
            return Role.RUNNER, ""
        return (Role.FORK_SERVER, "") if title == "fork server" else (Role.WORKER, title.partition(" (")[0])
    module = next((_ROLES[word] for word in words if word in _ROLES), None)
    return (Role(module), "") if module else (None, "")


def _born(pid: int) -> str:
    """When the process was started, in ticks; empty where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]


class StormRun:
    """A run directory, the front end that started or resumed it, and the viewers that look at it."""

    def __init__(self, directory: Path, arguments: tuple[str, ...]) -> None:
        self.directory = directory
        self.arguments = arguments
        self.front: subprocess.Popen[bytes] | None = None
        self.ui: subprocess.Popen[bytes] | None = None
        self.problems: list[str] = []
        self._count = 0
        self._outputs: list[tuple[subprocess.Popen[bytes], Path]] = []

    @property
    def has_database(self) -> bool:
        """Whether the run has begun."""
        return (self.directory / "run.db").exists()

    # --- beginning

    def start(self) -> None:
        """Start the run by a batch front end, and go on."""
        self.front = self._begin("--no-ui", "--json", *self.arguments, "--output", str(self.directory))

    def resume(self) -> None:
        """Resume it by a batch front end, and go on."""
        self.front = self._begin("resume", "--json", str(self.directory))

    def remove(self) -> subprocess.Popen[bytes]:
        """Begin to delete it."""
        return self._begin("rm", "--yes", str(self.directory))

    def watch(self) -> None:
        """Have it watched without a screen, if nobody does."""
        if self.front is None or self.front.poll() is not None:
            self.front = self._begin("wait", str(self.directory))

    def open_ui(self) -> None:
        """Have it watched on a terminal of its own, if nobody does."""
        if self.ui is not None and self.ui.poll() is None:
            return
        master, slave = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color"}
        self.ui = subprocess.Popen(
            [sys.executable, "-m", "forge_tui", "attach", str(self.directory)],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=environment,
        )  # fmt: skip
        os.close(slave)
        threading.Thread(target=_drain, args=(master,), daemon=True).start()

    def _begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        self._count += 1
        output = self.directory.with_name(f"{self.directory.name}-{self._count}.out")
        with output.open("wb") as file:
            begun = prepared.popen(
                [sys.executable, "-m", "forge_tui", *arguments],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=file,
            )  # fmt: skip
        self._outputs.append((begun, output))
        return begun

    # --- looking

    def process(self, role: Role, among: list[Holder]) -> list[int]:
        """The pids of that role, those of the run taken from `among`."""
        if role is Role.FRONT_END:
            return [self.front.pid] if self.front is not None and self.front.poll() is None else []
        if role is Role.UI:
            return [self.ui.pid] if self.ui is not None and self.ui.poll() is None else []
        found = [holder.pid for holder in among if holder.role is role]
        if role is Role.RUNNER and not found and self.front is not None and self.front.poll() is None:
            return children(self.front.pid)  # it has not come to the lock yet
        return found

    def wait(self, condition: Callable[[], object], what: str, seconds: float = 120.0) -> bool:
        """Wait for a condition; one that does not come about is a problem of the run."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                self.problems.append(f"{self.directory.name}: waited {seconds:g} s in vain: {what}")
                return False
            time.sleep(0.01)
        return True

    def wait_until_free(self) -> bool:
        """Wait until nobody holds the directory: after a kill of its runner everything else has to end by itself."""
        return self.wait(lambda: not holders(self.directory), f"the end of {holders(self.directory)}", 60.0)

    # --- ending

    def complaints(self, killed: set[int]) -> list[str]:
        """What front ends that have ended said that no user should see; `killed` are those that had no choice."""
        found = []
        for process, output in self._outputs:
            said = output.read_text(errors="replace")
            if "Traceback" in said or (process.poll() is not None and process.poll() < 0 and process.pid not in killed):
                found.append(f"{output.name} (status {process.poll()}): {said[-2000:]}")
        if self.ui is not None and self.ui.poll() is not None and self.ui.pid not in killed:
            found.append(f"{self.directory.name}: the UI ended by itself with status {self.ui.poll()}")
        return found

    def close(self) -> None:
        """End what is left."""
        for process in [self.ui, *(process for process, _ in self._outputs)]:
            if process is not None and process.poll() is None:
                process.kill()
            if process is not None:
                process.wait()
        for holder in holders(self.directory):
            with contextlib.suppress(ProcessLookupError):
                os.kill(holder.pid, signal.SIGKILL)


def _drain(master: int) -> None:
    """Take what the terminal is sent, until it is closed."""
    with contextlib.suppress(OSError):
        while os.read(master, 1 << 16):
            pass
    os.close(master)
