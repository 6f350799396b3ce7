"""What a worker takes of a device's memory: estimated, and measured once workers have trained. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from forge_tui.resources.policy import CONTEXT_BYTES, MEASURED_MARGIN

# Factor on the estimate of a worker that has not been measured yet.
UNMEASURED_MARGIN = 1.5


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes that a worker takes on each of its devices, with its CUDA context and a margin; None: unknown yet."""

    memory: int | None
    source: str = "estimated"


class DeviceCosts:
    """The cost of each kind of worker: its models' configuration, and how many train together."""

    def __init__(self, estimate: Callable[[Hashable], int | None]) -> None:
        """`estimate`: bytes of tensors of a kind of worker, without the context; None: unknown."""
        self._estimate = estimate
        self._measured: dict[Hashable, int] = {}
        self._outgrown: dict[Hashable, int] = {}

    def outgrew(self, kind: Hashable, total: int) -> None:
        """Record that such a worker ran out of memory alone on a device with `total` bytes: it takes at least these."""
        self._outgrown[kind] = max(total, self._outgrown.get(kind, 0))
        self.take(kind, total)

    def above(self, kind: Hashable) -> int:
        """Bytes of the largest device on which such a worker ran out of memory alone; 0: it did not."""
        return self._outgrown.get(kind, 0)

    def take(self, kind: Hashable, cost: int) -> None:
        """Record a measured peak (bytes, with the context); the largest counts."""
        self._measured[kind] = max(cost, self._measured.get(kind, 0))

    def need(self, kind: Hashable) -> Need:
        """What a worker of this kind takes: measured, else estimated; without an estimate as the largest measured."""
        if (measured := self._measured.get(kind)) is not None:
            return Need(int(measured * MEASURED_MARGIN), "measured")
        if (estimate := self._estimate(kind)) is not None:
            return Need(int(estimate * UNMEASURED_MARGIN) + CONTEXT_BYTES)
        if self._measured:
            return Need(int(max(self._measured.values()) * MEASURED_MARGIN), "measured with others")
        return Need(None)
