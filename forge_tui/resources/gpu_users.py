"""Who is on the GPUs: workers of this user's runs, by their process titles, and others by their users."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from forge_tui.resources.gpus import Gpu
from forge_tui.resources.system_probe import SystemProbe

_TITLE = re.compile(r"forge-tui: (?P<models>.+) \((?P<run>[^()]+)\)")
"""The title of a worker: its models, and its run."""
_MOST_ANCESTORS = 32


@dataclass(frozen=True, slots=True)
class GpuUser:
    """A process on a GPU: memory in bytes, None if unknown.

    `user`: the name of its owner, None if it cannot be read, as from another container. `models` and `run`: what the
    worker that it belongs to trains, such as `planner_1 and 5 more`; None unless that is a worker of this user's runs.
    """

    pid: int
    memory: int | None
    user: str | None = None
    models: str | None = None
    run: str | None = None

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict."""
        return {"pid": self.pid, "memory": self.memory, "user": self.user, "models": self.models, "run": self.run}


@dataclass(frozen=True, slots=True)
class SeenGpu:
    """A GPU, and who is on it; `users` is None if the driver does not say."""

    gpu: Gpu
    users: tuple[GpuUser, ...] | None = None

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict; memory in bytes, use in percent, temperature in °C."""
        gpu = self.gpu
        return {
            **gpu.to_record(),
            "processes": None if self.users is None else [user.to_record() for user in self.users],
        }


def seen_gpus(gpus: Iterable[Gpu], probe: SystemProbe) -> tuple[SeenGpu, ...]:
    """The GPUs with the users of their processes. Reads a few files of /proc for each process; never raises."""
    return tuple(
        SeenGpu(
            gpu,
            None if gpu.processes is None else tuple(_user(one.pid, one.memory, probe) for one in gpu.processes),
        )
        for gpu in gpus
    )


def _user(pid: int, memory: int | None, probe: SystemProbe) -> GpuUser:
    status = _status(pid, probe)
    if status is None:
        return GpuUser(pid, memory)
    owner, parent = status
    user = probe.user_name(owner)
    if owner != os.getuid():
        return GpuUser(pid, memory, user)
    one = pid  # a command's process is a descendant of its worker
    for _ in range(_MOST_ANCESTORS):
        title = _TITLE.fullmatch(_title(one, probe))
        if title is not None:
            return GpuUser(pid, memory, user, title["models"], title["run"])
        one, above = parent, _status(parent, probe)
        if above is None or above[0] != owner:
            break
        parent = above[1]
    return GpuUser(pid, memory, user)


def _status(pid: int, probe: SystemProbe) -> tuple[int, int] | None:
    """(owner, parent) of a process; None if it has ended, or belongs to somebody whose processes are hidden."""
    fields = dict(line.partition(":")[::2] for line in _text(f"/proc/{pid}/status", probe).splitlines())
    try:
        return int(fields["Uid"].split()[0]), int(fields["PPid"])
    except (KeyError, ValueError, IndexError):
        return None


def _title(pid: int, probe: SystemProbe) -> str:
    return _text(f"/proc/{pid}/cmdline", probe).partition("\0")[0].rstrip()


def _text(path: str, probe: SystemProbe) -> str:
    try:
        return probe.read(path) or ""
    except OSError:  # hidden, or it ended while it was read
        return ""
