"""The GPUs that Ray has given to this run: whole ones, as long as the run has workers for them.

Ray counts GPUs, and knows nothing of their memory. A part of one (`num_gpus=0.25`) may land on any GPU of the node,
beside others' parts, and Ray says which only to a process inside. So the run asks for whole GPUs, learns which they
are, and places several workers on each by its own rules; other Ray jobs get the others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from forge_tui.engines.ray.frames import Message
from forge_tui.engines.ray.remote import Node
from forge_tui.resources.gpus import Gpu
from forge_tui.resources.visible_devices import VARIABLE, visible_gpus

ASK_SECONDS = 2.0
"""GPUs that Ray has not reserved after this long are other jobs': further ones are asked for elsewhere."""
IDLE_SECONDS = 2.0
"""GPUs that the run does not need are kept for this long."""


@dataclass(slots=True, eq=False)
class Hold:
    """GPUs asked for on a node, as many as a worker has. `uuids`: None until Ray has given them, and empty if they are
    none that the run can use. `is_reserved`: the run has them, and Ray has not said yet which they are, for which it
    starts a process. `since`: when they were asked for, or were last in use (monotonic).
    """

    number: str
    node: Node
    since: float
    uuids: tuple[str, ...] | None = None
    is_reserved: bool = False

    def is_late(self, now: float) -> bool:
        """Whether Ray does not give them: others have them."""
        return self.uuids is None and not self.is_reserved and now - self.since >= ASK_SECONDS


class Holds:
    """All GPUs that Ray has given, or was asked for."""

    def __init__(self, send: Callable[[Message], None], monotonic: Callable[[], float], per_model: int) -> None:
        """`send` a request to the bridge; `per_model`: GPUs of each worker."""
        self._send, self._monotonic, self._per_model = send, monotonic, per_model
        self._holds: dict[str, Hold] = {}
        self._count = 0
        self._wanted = 0
        self._more = False
        self.is_asking = False
        """Whether Ray may give some at once."""

    def want(self, workers: int, *, more: bool) -> None:
        """Note for how many workers there is work; `more`: on what is given there is no room for the next one."""
        self._wanted, self._more = workers, more

    @property
    def given(self) -> set[str]:
        """The GPUs that the run has, by UUID."""
        return {uuid for hold in self._holds.values() for uuid in hold.uuids or ()}

    @property
    def refused_on(self) -> set[str]:
        """The nodes, by their keys, on which Ray has not given what was asked for: others have it."""
        now = self._monotonic()
        return {hold.node.key for hold in self._holds.values() if hold.is_late(now)}

    def balance(self, nodes: Sequence[Node], in_use: Collection[str]) -> None:
        """Ask for as many as there is work for, one after the other on the nodes with most room, and give back what is
        not needed. `in_use`: the GPUs that workers have.
        """
        now = self._monotonic()
        given, hopeful, waiting, useless = list[Hold](), list[Hold](), list[Hold](), list[Hold]()
        for hold in self._holds.values():
            if hold.uuids is None:
                (waiting if hold.is_late(now) else hopeful).append(hold)
            elif hold.uuids:
                given.append(hold)
                if any(uuid in in_use for uuid in hold.uuids):
                    hold.since = now
            else:
                useless.append(hold)
        wanted = max(self._wanted, len(given) + 1) if self._more else self._wanted
        missing = wanted - len(given) - len(hopeful)
        if missing > 0:
            late = {hold.node.key for hold in waiting}  # what was asked for there first is still waited for
            self._ask([node for node in nodes if node.key not in late], missing, now)
        elif len(given) >= wanted:
            idle = [hold for hold in given if now - hold.since >= IDLE_SECONDS]
            for hold in [*hopeful, *waiting, *useless, *idle[: len(given) - wanted]]:
                self._release(hold)
        self.is_asking = any(hold.uuids is None and not hold.is_late(now) for hold in self._holds.values())

    def _ask(self, nodes: Sequence[Node], units: int, now: float) -> None:
        taken: dict[str, int] = {}
        for hold in self._holds.values():
            taken[hold.node.key] = taken.get(hold.node.key, 0) + 1
        for _ in range(units):
            free = [(self._units(node) - taken.get(node.key, 0), node) for node in nodes]
            free = [(units, node) for units, node in free if units > 0]
            if not free:
                break
            _, node = max(free, key=lambda one: _preference(one[0], one[1], taken.get(one[1].key, 0)))
            taken[node.key] = taken.get(node.key, 0) + 1
            self._count += 1
            hold = Hold(f"gpu-{self._count}", node, now)
            self._holds[hold.number] = hold
            needs = {"cpus": 0, "memory": 0, "gpus": self._per_model}
            self._send({"do": "reserve", "slot": hold.number, "node": node.key, **needs})

    def _units(self, node: Node) -> int:
        """For how many workers, each with GPUs of its own, a node has GPUs that it has given to Ray."""
        given = 0 if node.devices is None else node.devices.given
        return min(given, len(node.uuids)) // self._per_model if node.uuids else 0

    def is_reserved(self, number: str) -> None:
        """Note that the run has them, whichever they are."""
        if number in self._holds:
            self._holds[number].is_reserved = True

    def is_given(self, number: str, ids: Sequence[str]) -> None:
        """Note the GPUs that Ray has given, by what it calls them; those that were given back meanwhile are ignored."""
        hold = self._holds.get(number)
        if hold is not None:
            there = covered(ids, hold.node.gpus)
            hold.uuids = tuple(uuid for uuid in hold.node.uuids if uuid in there)
            hold.since = self._monotonic()

    def release_all(self, node: Node) -> None:
        """Give back those of a node that is not used any more."""
        for hold in [hold for hold in self._holds.values() if hold.node is node]:
            self._release(hold)

    def _release(self, hold: Hold) -> None:
        del self._holds[hold.number]
        self._send({"do": "release", "slot": hold.number})

    def clear(self) -> None:
        """Forget all of them: the cluster is gone."""
        self._holds.clear()
        self.is_asking = False


def _preference(units: int, node: Node, taken: int) -> tuple[bool, int, int]:
    """The larger, the better for a further worker: where it finds CPUs, then where most GPUs are left."""
    return node.free > taken, units, -taken


def covered(ids: Sequence[str], gpus: Sequence[Gpu]) -> set[str]:
    """The UUIDs of what Ray calls so: the driver's indices, or the entries of the node's `CUDA_VISIBLE_DEVICES`.

    A GPU that is divided by MIG stands for all its instances.
    """
    found = set()
    for one in ids:
        for gpu in visible_gpus(gpus, {VARIABLE: one}).gpus:
            found |= _whole(one, gpu, gpus)
    return found


def _whole(name: str, gpu: Gpu, gpus: Sequence[Gpu]) -> set[str]:
    if gpu.parent is None or name.startswith("MIG-"):
        return {gpu.uuid}
    return {other.uuid for other in gpus if other.parent == gpu.parent}
