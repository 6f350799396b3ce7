"""The resource rules of one node, applied by its agent: how many workers it takes, and when one has to go. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from forge_tui.resources.policy import GIB, OnDevices, WorkerLimit, cpu_share, is_measured, worker_limit

if TYPE_CHECKING:
    from forge_tui.resources.hardware import SystemResources
    from forge_tui.settings.schema import ResourceSettings

TIGHT_SECONDS = 5.0
"""Memory that is short for this long takes a worker back."""
GROW_SECONDS = 30.0
"""After this much time without an end for lack of memory, one more is tried."""
_ESTIMATE_MARGIN = 1.5


@dataclass(frozen=True, slots=True)
class NodeLoad:
    """A worker of the node: its peak memory in bytes (None: not reported yet) and its present memory."""

    peak: int | None
    held: int | None


class NodeRoom:
    """How many workers this node takes. `cpus` and `estimate` (bytes; None: unknown) are of one worker; `on`: the run's
    GPUs here, if it trains on such.
    """

    def __init__(self, settings: ResourceSettings) -> None:
        self._settings = settings
        self.cpus = 1
        self.on: OnDevices | None = None
        self.estimate: int | None = None
        self._peak = 0
        self._ceiling: int | None = None
        self._quiet_since = 0.0
        self._tight_since: float | None = None

    def measured(self, memory: int) -> None:
        """Record a worker's peak memory (bytes)."""
        self._peak = max(self._peak, memory)

    def ran_out(self, beside: int, now: float) -> None:
        """Take fewer workers after one ran out of memory with `beside` others on the node."""
        self._ceiling = max(1, beside)
        self._quiet_since = now

    def limit(self, resources: SystemResources, loads: Sequence[NodeLoad], now: float) -> WorkerLimit:
        """How many workers the node may have at once, those it has included."""
        measures = is_measured(self._settings, self.on)
        held = [load.peak or 0 if load.held is None else load.held for load in loads]
        reserve = self._settings.memory_reserve * resources.memory_gb if measures else 0.0
        # What our workers hold counts as available for them.
        own = 0.0 if measures else sum(held) / GIB
        available = max(0.0, min(resources.memory_gb, resources.available_memory_gb + own) - reserve)
        cost = self._cost()
        found = worker_limit(
            max(1, cpu_share(resources, self._settings) // self.cpus),
            replace(resources, available_memory_gb=available),
            self._settings,
            threads=self.cpus,
            worker_bytes=cost if measures else None,
            running=len(loads),
            growth_bytes=sum(max(0, (cost or 0) - now_held) for now_held in held) if measures else 0,
            on=self.on,
        )
        if measures and cost is None and loads:
            # As long as nobody knows what a worker needs, the first one shows it.
            found = replace(found, workers=1, limited_by="memory", reason="one until its memory is measured")
        return self._below_ceiling(found, now)

    def _cost(self) -> int | None:
        """A worker's bytes: the largest measured, else the estimate with a margin; None: unknown."""
        if self._peak:
            return self._peak
        return None if self.estimate is None else int(_ESTIMATE_MARGIN * self.estimate)

    def _below_ceiling(self, found: WorkerLimit, now: float) -> WorkerLimit:
        if self._ceiling is None:
            return found
        if now - self._quiet_since >= GROW_SECONDS:
            self._ceiling += 1
            self._quiet_since = now
        if self._ceiling >= found.workers:
            self._ceiling = None
            return found
        reason = f"at most {self._ceiling} at once after a lack of memory"
        return replace(found, workers=self._ceiling, limited_by="memory", reason=reason, hint=None)

    def must_go(self, resources: SystemResources, workers: int, now: float) -> str | None:
        """Why the newest worker must end after a checkpoint, or None. Never the last one."""
        reserve = self._settings.memory_reserve * resources.memory_gb
        if resources.available_memory_gb >= reserve:
            self._tight_since = None
            return None
        if self._tight_since is None:
            self._tight_since = now
        if workers <= 1 or now - self._tight_since < TIGHT_SECONDS:
            return None
        self._tight_since = now
        self._ceiling, self._quiet_since = workers - 1, now
        return (
            f"{resources.available_memory_gb:.2f} GiB of memory are left, less than the {reserve:.2f} GiB to be kept "
            "free ([resources] memory_reserve)"
        )
