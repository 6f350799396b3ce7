"""The runner's picture of a cluster: its nodes, the slots reserved there, and the workers in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from forge_tui.engines.base import Ended, Place, WorkerHandle
from forge_tui.engines.buffered_log import Log
from forge_tui.protocol.job import Job
from forge_tui.resources.gpus import Gpu
from forge_tui.resources.host_gpus import HostGpus
from forge_tui.resources.node_devices import NodeDevices
from forge_tui.resources.policy import GIB, WorkerLimit


@dataclass(frozen=True, slots=True)
class Shape:
    """What a worker needs of the cluster: CPUs, and memory in bytes (0: no part of Ray's accounts).

    `node`: the key of the one that has its GPUs; None: any node.
    """

    cpus: int
    memory: int = 0
    node: str | None = None

    def __str__(self) -> str:
        """`1 CPU, 2 GiB`."""
        parts = [f"{self.cpus} CPU{'s' * (self.cpus != 1)}"]
        if self.memory:
            parts.append(f"{self.memory / GIB:g} GiB")
        return ", ".join(parts)


@dataclass(slots=True, eq=False)
class Node:
    """A node with our agent; `key` is the agent's: a node that comes back has a new one.

    `limit`: None until the agent has said what it allows. `refused`: why it is not used. `heard`: when its agent was
    last heard (monotonic). `devices`: its GPUs at the start, `figures`: now; `uuids`: those that the run may use.
    """

    key: str
    name: str
    resources: dict[str, float]
    heard: float
    limit: WorkerLimit | None = None
    refused: str | None = None
    is_alike: bool = True
    hello: dict[str, Any] | None = None
    slots: list[Slot] = field(default_factory=list)
    devices: NodeDevices | None = None
    figures: HostGpus | None = None
    uuids: tuple[str, ...] = ()

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """Its GPUs, as last seen."""
        return () if self.figures is None else self.figures.gpus

    @property
    def free(self) -> int:
        """How many more slots it takes."""
        if self.limit is None or self.refused is not None:
            return 0
        return self.limit.workers - len(self.slots)

    def may_ever_hold(self, shape: Shape) -> bool:
        """Whether the node has what such a worker needs."""
        if shape.node not in (None, self.key):
            return False
        needs = {"CPU": shape.cpus, "memory": shape.memory}
        return all(self.resources.get(name, 0.0) >= needed for name, needed in needs.items() if needed)


@dataclass(slots=True, eq=False)
class Slot:
    """A reservation on a node for one worker at a time. `since`: when it was asked for, or became idle (monotonic)."""

    number: int
    node: Node
    shape: Shape
    since: float
    is_ready: bool = False
    worker: RayWorker | None = None


@dataclass(slots=True, eq=False)
class RayWorker(WorkerHandle):
    """A worker on some node, or one that waits for its slot."""

    id: int
    jobs: tuple[Job, ...]
    shape: Shape
    log: Log
    on_message: Callable[[WorkerHandle, dict[str, Any]], None]
    on_exit: Callable[[WorkerHandle], None]
    ahead: bool
    transmit: Callable[[RayWorker, dict[str, Any]], None]
    why_not: Callable[[Shape], str | None]
    """Says why no node can take such a worker, if that is so."""
    devices: tuple[str, ...] = ()
    slot: Slot | None = None
    pid: int | None = None
    killed: bool = False
    unsent: list[dict[str, Any]] = field(default_factory=list)
    end: Ended | None = None
    resident: int | None = None
    is_sent: bool = False
    """Whether its start was sent to its node."""
    is_shipped: bool = False

    @property
    def name(self) -> str | None:
        """The node's name and the process id there."""
        return None if self.pid is None or self.slot is None else f"{self.slot.node.name}:{self.pid}"

    @property
    def place(self) -> Place | None:
        """The node and the GPUs, once the worker is forked there."""
        if self.pid is None or self.slot is None:
            return None
        return Place(self.slot.node.name, ",".join(self.devices) or self.jobs[0].device)

    @property
    def ended(self) -> Ended | None:
        """How it ended."""
        return self.end

    @property
    def waits_for(self) -> str | None:
        """What it needs, while it has no slot."""
        if self.slot is not None or self.end is not None:
            return None
        problem = self.why_not(self.shape)
        return f"{self.shape}{'' if problem is None else f' ({problem})'}"

    def send(self, message: dict[str, Any]) -> None:
        """Send a command, in order; one without a slot gets it when it has one."""
        if not self.is_sent:
            self.unsent.append(message)
        elif self.end is None:
            self.transmit(self, {"do": "send", "w": self.id, "m": message})

    def kill(self) -> None:
        """End it at once; one without a slot is withdrawn with the engine's next tick."""
        self.killed = True
        if self.is_sent and self.end is None:
            self.transmit(self, {"do": "kill", "w": self.id})
