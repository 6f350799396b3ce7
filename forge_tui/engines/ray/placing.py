"""Chooses the nodes on which slots are reserved for waiting workers. Pure."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence

from forge_tui.engines.ray.remote import Node, RayWorker, Shape, Slot

PATIENCE_SECONDS = 1.0
"""A slot that is not ready after this long is on a node that others use: further ones are asked for elsewhere."""
IDLE_SECONDS = 2.0
"""A slot without a worker is kept for this long: the next model then starts without a new reservation."""


def wanted_slots(
    waiting: Sequence[RayWorker], nodes: Iterable[Node], slots: Iterable[Slot], now: float
) -> list[tuple[Node, Shape]]:
    """The slots to reserve now for `waiting` workers: on the nodes with most room first, one after the other.

    `slots`: those that have no worker.
    """
    missing: Counter[Shape] = Counter(worker.shape for worker in waiting)
    for slot in slots:
        is_hopeful = slot.is_ready or now - slot.since < PATIENCE_SECONDS
        if is_hopeful and missing[slot.shape] > 0:
            missing[slot.shape] -= 1
    found: list[tuple[Node, Shape]] = []
    heap = [(-node.free, number, node) for number, node in enumerate(nodes) if node.free > 0]
    heapq.heapify(heap)
    for worker in waiting:
        if missing[worker.shape] <= 0:
            continue
        passed_over = []
        while heap:
            entry = heapq.heappop(heap)
            if not entry[2].may_ever_hold(worker.shape):
                passed_over.append(entry)
                continue
            free, number, node = entry
            missing[worker.shape] -= 1
            found.append((node, worker.shape))
            if free < -1:
                heapq.heappush(heap, (free + 1, number, node))
            break
        for entry in passed_over:
            heapq.heappush(heap, entry)
    return found


def problem_of(shape: Shape, nodes: Sequence[Node]) -> str | None:
    """Why no node can ever take such a worker; None if one can. `nodes`: those that are used."""
    if not nodes:
        return "no node of the cluster can be used now"
    if shape.node is not None:
        nodes = [node for node in nodes if node.key == shape.node]
    if not any(node.may_ever_hold(shape) for node in nodes):
        return f"none of the {len(nodes)} nodes has as much" if len(nodes) > 1 else "the only node has less"
    return None
