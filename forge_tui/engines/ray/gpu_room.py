"""What the runner's placement sees of the nodes' GPUs: those the run may use, and why some are closed now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from forge_tui.engines.ray.holds import Holds
from forge_tui.engines.ray.members import Members
from forge_tui.engines.ray.remote import Node, RayWorker
from forge_tui.engines.ray.slots import Slots
from forge_tui.resources.host_gpus import ClusterGpus
from forge_tui.resources.policy import WorkerLimit

LACK_SECONDS = 60.0
"""A node on which a worker has waited for CPUs in vain takes no further one for this long."""
_TAKEN = "other jobs of the Ray cluster have it"


class GpuRoom:
    """Follows nodes, workers, and what Ray has given."""

    def __init__(self, members: Members, slots: Slots, holds: Holds, monotonic: Callable[[], float]) -> None:
        self._members, self._slots, self._holds, self._monotonic = members, slots, holds, monotonic
        self._lacking: dict[str, float] = {}
        """Nodes, by their keys, without CPUs for a worker, and until when that is taken for granted."""
        self._last = ClusterGpus((), (), {}, False, 0)

    def look(self, workers: Iterable[RayWorker], cpus: int) -> ClusterGpus:
        """The GPUs now; `workers`: all that have not ended, each with so many `cpus`."""
        nodes = self._members.used()
        hosts = tuple(node.figures for node in nodes if node.figures is not None)
        uuids = tuple(uuid for node in nodes for uuid in node.uuids)
        there = Counter(worker.shape.node for worker in workers)
        limits = {node.name: node.limit for node in self._members.limits(cpus)}
        given, refused_on, closed = self._holds.given, self._holds.refused_on, dict[str, str]()
        for node in nodes:
            full = self._why_full(node, there[node.key], limits[node.name])
            not_given = _TAKEN if node.key in refused_on else "Ray has not given it to this run"
            for uuid in node.uuids:
                if full is not None:
                    closed[uuid] = full
                elif uuid not in given:
                    closed[uuid] = not_given
        last, is_asking = self._last, self._holds.is_asking
        # In order, too: names of GPUs come and go with their nodes.
        is_same = (uuids, closed, is_asking) == (last.uuids, last.closed, last.is_asking)
        self._last = ClusterGpus(hosts, uuids, closed, is_asking, last.changes + (not is_same))
        return self._last

    def gave_up(self, worker: RayWorker) -> None:
        """Note that a worker was withdrawn while it waited on the node of its GPUs."""
        key, now = worker.shape.node, self._monotonic()
        if key is not None and self._slots.is_missing_on(key, now):
            self._lacking[key] = now + LACK_SECONDS

    def _why_full(self, node: Node, workers: int, limit: WorkerLimit) -> str | None:
        """Why a node takes no further worker, whatever its GPUs have free."""
        if workers >= limit.workers:
            most = f"{limit.workers} worker{'' if limit.workers == 1 else 's'}"
            return f"node {node.name} takes no more than {most} ({limit.reason})"
        now = self._monotonic()
        if self._slots.is_missing_on(node.key, now) or now < self._lacking.get(node.key, now):
            return f"on node {node.name} Ray has no CPU or memory left for a further worker"
        return None
