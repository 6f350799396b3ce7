"""A server with GPUs that no machine has: their figures follow from who is on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from forge_tui.resources.gpus import Gpu, GpuProcess
from forge_tui.resources.policy import GIB

OTHERS_PID = 77


def uuid_of(index: int, kind: str = "GPU") -> str:
    """The UUID of a GPU: its number, readable."""
    return f"{kind}-{index:08x}-0000-0000-0000-000000000000"


@dataclass
class GpuServer:
    """GPUs of `totals` GiB. What is on one, in GiB by process id: `present`, by UUID.

    `others`: GiB and percent of another user's job, by the GPU's number; `problems`: what the driver says of a GPU;
    `gone`: those it does not show; `counts_processes`: whether it shows processes.
    """

    totals: tuple[float, ...]
    others: dict[int, tuple[float, float]] = field(default_factory=dict)
    problems: dict[int, str] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    counts_processes: bool = True
    parents: Mapping[int, str] = field(default_factory=dict)
    present: dict[str, dict[int, float]] = field(default_factory=dict)

    @property
    def uuids(self) -> tuple[str, ...]:
        """Of all its devices."""
        return tuple(self.uuid(index) for index in range(len(self.totals)))

    def uuid(self, index: int) -> str:
        """Of one of them."""
        return uuid_of(index, "MIG" if index in self.parents else "GPU")

    def put(self, pid: int, uuids: Iterable[str], gib: float) -> None:
        """A process now has so much on each of these; 0: it is gone."""
        for uuid in uuids:
            here = self.present.setdefault(uuid, {})
            if gib:
                here[pid] = gib
            else:
                here.pop(pid, None)

    def used(self, index: int) -> float:
        """GiB in use on a GPU, by anyone."""
        return sum(self.present.get(self.uuid(index), {}).values()) + self.others.get(index, (0.0, 0.0))[0]

    def figures(self) -> tuple[Gpu, ...]:
        """What the driver says now."""
        return tuple(self._figures(index) for index in range(len(self.totals)) if index not in self.gone)

    def _figures(self, index: int) -> Gpu:
        gib, percent = self.others.get(index, (0.0, 0.0))
        here = self.present.get(self.uuid(index), {})
        everyone = {**here, **({OTHERS_PID: gib} if gib else {})}
        processes = tuple(GpuProcess(pid, int(size * GIB)) for pid, size in everyone.items())
        return Gpu(
            index=index,
            name=f"Test {self.totals[index]:g}",
            memory_total=int(self.totals[index] * GIB),
            memory_used=int(self.used(index) * GIB),
            utilization_percent=95.0 if here else percent,
            uuid=self.uuid(index),
            processes=processes if self.counts_processes else None,
            parent=self.parents.get(index),
            problem=self.problems.get(index),
        )
