"""A control group of one's own with a limit on memory, where this machine allows one: version 1 or 2."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forge_tui.resources.cgroups import find_groups
from forge_tui.resources.system_probe import SystemProbe

_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.oom_control", "memory.max_usage_in_bytes")
_V2 = ("memory.max", "memory.current", "memory.events", "memory.peak")


class NotPossible(Exception):
    """No such group can be made here; says why."""


@dataclass(frozen=True)
class MemoryGroup:
    """A group whose processes together may have `limit` bytes; use it as a context manager."""

    path: Path
    version: int
    limit: int

    @classmethod
    def make(cls, limit: int) -> MemoryGroup:
        """A fresh group. Raises `NotPossible`."""
        problems = []
        for version, parent in _parents():
            path = parent / f"forge-tui-test-{os.getpid()}-{time.monotonic_ns()}"
            try:
                path.mkdir()
            except OSError as error:
                problems.append(f"{parent}: {error.strerror}")
                continue
            group = cls(path, version, limit)
            try:
                # Version 2 has the file only where the parent hands the controller down.
                (path / group._name(0)).write_text(str(limit))
                return group
            except OSError as error:
                problems.append(f"{path}: {error.strerror}")
                path.rmdir()
        raise NotPossible(
            "no control group with a memory limit can be made: " + ("; ".join(problems) or "none is here")
        )

    def command(self, *arguments: str | Path) -> list[str]:
        """`arguments` as a command that runs in the group."""
        return ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(self.path), *map(str, arguments)]

    @property
    def usage(self) -> int:
        """Bytes in use, cache included."""
        return int((self.path / self._name(1)).read_text())

    @property
    def oom_kills(self) -> int:
        """How many of its processes the kernel has killed for want of memory."""
        lines = (self.path / self._name(2)).read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))

    @property
    def pids(self) -> Sequence[int]:
        """Its processes."""
        return [int(line) for line in (self.path / "cgroup.procs").read_text().split()]

    def __enter__(self) -> MemoryGroup:
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the group; what is still in it has been put there by a test, and is ended."""
        deadline = time.monotonic() + 10.0
        while time.monotonic() < deadline:
            for pid in self.pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
            with contextlib.suppress(OSError):
                self.path.rmdir()
                return
            time.sleep(0.05)
        raise AssertionError(f"{self.path} cannot be removed; in it: {self.pids}")

    def _name(self, which: int) -> str:
        return (_V1 if self.version == 1 else _V2)[which]


def _parents() -> list[tuple[int, Path]]:
    """Where a group may be made: the own one first, then its ancestors."""
    groups, _problems = find_groups(SystemProbe().read)
    fitting = [group for group in groups if group.version == 2 or "memory" in group.controllers]
    return [(group.version, Path(directory)) for group in fitting for directory in group.directories]
