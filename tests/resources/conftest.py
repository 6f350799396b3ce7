"""A machine of any size, handed to detection instead of the real one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from forge_tui.resources.hardware import SystemResources
from forge_tui.resources.system_probe import Memory, SystemProbe

GIB = 2**30


class Machine(SystemProbe):
    """A machine as given; `files` and `links` are its /proc, /sys and so on. A value that is an exception is raised."""

    def __init__(
        self,
        root: Path,
        cpus: Any = 8,
        memory_gb: Any = 32.0,
        available_gb: float | None = None,
        busy: Any = 0.0,
        affinity: frozenset[int] | None = None,
        environment: Mapping[str, str] | None = None,
        files: Mapping[str, str] | None = None,
        gpus: Any = (),
        links: Mapping[str, str] | None = None,
        users: Mapping[int, str] | None = None,
    ) -> None:
        super().__init__(root, environment or {})
        self.cpus, self.gigabytes, self.busy, self.bound, self.cards = cpus, memory_gb, busy, affinity, gpus
        self.available_gb = memory_gb if available_gb is None else available_gb
        for path, text in (files or {}).items():
            target = root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        for path, goal in (links or {}).items():
            target = root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(goal)
        self.users = users or {}

    def user_name(self, uid: int) -> str:
        return self.users.get(uid, str(uid))

    def cpu_count(self) -> int:
        return int(_given(self.cpus))

    def online_cpus(self) -> int:
        return self.cpus if isinstance(self.cpus, int) else 1

    def affinity(self) -> frozenset[int] | None:
        return self.bound if self.bound is not None else frozenset(range(self.online_cpus()))

    def memory(self) -> Memory:
        return Memory(int(_given(self.gigabytes) * GIB), int(self.available_gb * GIB))

    def cpu_percent(self, interval: float) -> float:
        return float(_given(self.busy))

    def cpu_times(self) -> list[tuple[float, float]]:
        return [(0.0, 0.0)] * self.online_cpus()

    def gpus(self) -> Any:
        return _given(self.cards)


def _given(value: Any) -> Any:
    if isinstance(value, Exception):
        raise value
    return value


@pytest.fixture
def machine(tmp_path: Path) -> Callable[..., Machine]:
    """A factory of machines; each has its own directory for /proc and /sys."""
    made: list[Machine] = []

    def make(**details: Any) -> Machine:
        root = tmp_path / f"machine-{len(made)}"
        root.mkdir()
        made.append(Machine(root, **details))
        return made[-1]

    return make


@pytest.fixture
def resources() -> Callable[..., SystemResources]:
    """A factory of what detection would have found."""

    def make(cpus: int = 8, memory_gb: float = 32.0, available_gb: float | None = None, **more: Any) -> SystemResources:
        available = memory_gb if available_gb is None else available_gb
        busy = more.pop("busy", 0.0)
        return SystemResources(cpus, memory_gb, available, busy, 1, 8.0, **more)

    return make
