"""The slots: resources that Ray reserves on nodes, each for one worker at a time, bound when it is ready.

With thousands of slots the cost of a worker's start or end must not grow with their number: workers and ready slots
wait by their shape, and what looks at all nodes is done by `reserve`, a few times per second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from forge_tui.engines.ray.frames import Message
from forge_tui.engines.ray.placing import IDLE_SECONDS, PATIENCE_SECONDS, wanted_slots
from forge_tui.engines.ray.remote import Node, RayWorker, Shape, Slot


class Slots:
    """All slots that are reserved or asked for, and the workers that wait for one, in their order."""

    def __init__(
        self, send: Callable[[Message], None], start: Callable[[RayWorker], None], monotonic: Callable[[], float]
    ) -> None:
        """`send` a request to the bridge; `start` a worker that has got its slot."""
        self._send, self._start, self._monotonic = send, start, monotonic
        self._slots: dict[int, Slot] = {}
        self._idle: dict[Shape, dict[int, Slot]] = {}
        """Ready slots without a worker."""
        self._waiting: dict[Shape, dict[int, RayWorker]] = {}
        self._pending: dict[int, Slot] = {}
        """Slots that are asked for and not ready."""
        self._count = 0
        self.changes = 0
        """Grows whenever slots of nodes come or go."""

    @property
    def free(self) -> int:
        """How many have no worker, without those that a waiting worker will get: below 0 where more workers wait."""
        without_worker = len(self._pending) + sum(map(len, self._idle.values()))
        return without_worker - sum(map(len, self._waiting.values()))

    @property
    def are_wanted(self) -> bool:
        """Whether any worker waits."""
        return any(self._waiting.values())

    @property
    def waiting(self) -> list[RayWorker]:
        """The workers without a slot, those that waited longest first."""
        found = [worker for workers in self._waiting.values() for worker in workers.values()]
        return sorted(found, key=lambda worker: worker.id)

    # --- workers

    def request(self, worker: RayWorker) -> bool:
        """Give a worker an idle slot, or have it wait; returns whether it is the only one of its shape that waits."""
        idle = self._idle.get(worker.shape)
        if idle:
            self._bind(worker, idle.pop(next(iter(idle))))
            return False
        waiting = self._waiting.setdefault(worker.shape, {})
        waiting[worker.id] = worker
        return len(waiting) == 1

    def withdraw(self, worker: RayWorker) -> bool:
        """Let a worker not wait any more; returns whether it did."""
        return self._waiting.get(worker.shape, {}).pop(worker.id, None) is not None

    def leave(self, worker: RayWorker) -> None:
        """Note that a worker does not need its slot any more."""
        slot = worker.slot
        if slot is not None and slot.worker is worker:
            slot.worker = None
            if slot.number in self._slots:
                self._is_free(slot)

    def is_ready(self, number: int) -> None:
        """Note that a slot is reserved; one that was given up meanwhile is ignored."""
        slot = self._pending.pop(number, None)
        if slot is not None:
            slot.is_ready = True
            self._is_free(slot)

    def _is_free(self, slot: Slot) -> None:
        """Give a slot to the worker that has waited longest, or keep it for the next one."""
        slot.since = self._monotonic()
        waiting = self._waiting.get(slot.shape)
        if waiting:
            self._bind(waiting.pop(next(iter(waiting))), slot)
        else:
            self._idle.setdefault(slot.shape, {})[slot.number] = slot

    def _bind(self, worker: RayWorker, slot: Slot) -> None:
        worker.slot, slot.worker = slot, worker
        self._start(worker)

    # --- reservations

    def reserve(self, nodes: Sequence[Node]) -> None:
        """Ask for the slots that waiting workers still need on `nodes`."""
        waiting = self.waiting
        if not waiting:
            return
        now = self._monotonic()
        for node, shape in wanted_slots(waiting, nodes, self._without_worker(), now):
            self._count += 1
            self.changes += 1
            slot = Slot(self._count, node, shape, now)
            node.slots.append(slot)
            self._slots[slot.number] = self._pending[slot.number] = slot
            needs = {"cpus": shape.cpus, "memory": shape.memory}
            self._send({"do": "reserve", "slot": slot.number, "node": node.key, **needs})

    def is_missing_on(self, key: str, now: float) -> bool:
        """Whether a worker has waited long for a slot on this node, the only one that it may be on."""
        late = (slot for slot in self._pending.values() if slot.shape.node == key)
        return any(now - slot.since >= PATIENCE_SECONDS for slot in late)

    def release_idle(self) -> None:
        """Give back what no worker has needed for a while."""
        since = self._monotonic() - IDLE_SECONDS
        for slot in self._without_worker():
            if not self._waiting.get(slot.shape) and slot.since < since:
                self._release(slot)

    def _without_worker(self) -> list[Slot]:
        idle = (slot for slots in self._idle.values() for slot in slots.values())
        return [*self._pending.values(), *idle]

    def release_all(self, node: Node) -> None:
        """Give back the slots of a node that is not used any more."""
        for slot in list(node.slots):
            self._release(slot)

    def _release(self, slot: Slot) -> None:
        self.changes += 1
        del self._slots[slot.number]
        self._pending.pop(slot.number, None)
        self._idle.get(slot.shape, {}).pop(slot.number, None)
        slot.node.slots.remove(slot)
        self._send({"do": "release", "slot": slot.number})

    def clear(self) -> None:
        """Forget all of them: the cluster is gone."""
        self._slots.clear()
        self._pending.clear()
        self._idle.clear()
        self._waiting.clear()
