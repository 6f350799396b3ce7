"""The nodes of the cluster that the engine knows, and which of them are used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from forge_tui.engines.ray.data_files import require_shippable
from forge_tui.engines.ray.facts import differences, facts_here
from forge_tui.engines.ray.frames import Message
from forge_tui.engines.ray.node_gpus import gpus_in
from forge_tui.engines.ray.remote import Node
from forge_tui.resources.devices import CPU, CUDA
from forge_tui.resources.host_gpus import HostGpus
from forge_tui.resources.node_devices import DeviceRule, NodeDevices
from forge_tui.resources.node_limit import NodeLimit
from forge_tui.resources.policy import GIB, WorkerLimit
from forge_tui.settings.schema import Settings


class Members:
    """The nodes with our agent, by the agent's key."""

    def __init__(self, settings: Settings, problem: Callable[[str], None]) -> None:
        """`problem` gets, in words, why a node is not used."""
        self._settings, self._problem = settings, problem
        self._nodes: dict[str, Node] = {}
        self._first: set[str] | None = None
        self._never_used: dict[str, str] = {}
        self._limits: tuple[tuple[int, int], list[NodeLimit]] | None = None
        self.changes = 0
        """Grows whenever nodes, or what they allow, change."""
        self.rule: DeviceRule | None = None
        """Which devices of nodes the run may use; None: not decided yet."""
        self.is_shared: bool | None = None
        """Whether nodes use the run directory itself; None: not known yet."""

    def get(self, key: str) -> Node | None:
        """The node with this key, unless it is lost."""
        return self._nodes.get(key)

    def all(self) -> list[Node]:
        """All of them, refused ones too."""
        return list(self._nodes.values())

    def used(self) -> list[Node]:
        """Those that take workers."""
        return [node for node in self._nodes.values() if node.limit is not None and node.refused is None]

    def appear(self, message: Message, now: float) -> None:
        """Add a node, under a name that no other has."""
        taken = {node.name for node in self._nodes.values()}
        name, number = message["name"], 1
        while name in taken:
            number += 1
            name = f"{message['name']}-{number}"
        self.changes += 1
        self._nodes[message["node"]] = Node(message["node"], name, message["resources"], heard=now)

    def expect_first(self, keys: Sequence[str]) -> None:
        """Note the nodes that the cluster has at the start."""
        self._first = set(keys)

    @property
    def are_settled(self) -> bool:
        """Whether each of the first nodes has answered, or is lost."""
        if self._first is None:
            return False
        first = [self._nodes[key] for key in self._first if key in self._nodes]
        return all(node.limit is not None or node.refused is not None for node in first)

    @property
    def why_none(self) -> str:
        """Why no node is used, in words."""
        why = {**self._never_used, **{node.name: str(node.refused) for node in self._nodes.values()}}
        return "; ".join(f"{name}: {words}" for name, words in why.items()) or "it has none"

    def lose(self, key: str, why: str) -> Node | None:
        """Remove a node; returns it, or None if it was lost before."""
        node = self._nodes.pop(key, None)
        self.changes += 1
        if node is not None and node.limit is None:
            self._never_used[node.name] = why
        return node

    def set_limit(self, node: Node, limit: WorkerLimit) -> None:
        """Note what a node allows now."""
        if limit != node.limit:
            node.limit = limit
            self.changes += 1

    def clear(self) -> None:
        """Forget all of them."""
        self._nodes.clear()
        self._first, self.is_shared = None, None

    # --- whether a node is used

    def judge(self, node: Node, hello: Message) -> None:
        """Decide about a node whose agent says `hello`."""
        node.hello = hello
        given = int(node.resources.get("GPU", 0.0))
        node.devices = NodeDevices.from_record(node.name, hello["devices"], given)
        odd = differences(facts_here(), hello["facts"])
        node.is_alike = not odd
        if odd and not self._settings.engine.mixed_nodes:
            self.refuse(node, f"it has {', '.join(odd)}; --mixed-nodes uses it, and its models are then not exact")
        elif odd:
            self._problem(f"node {node.name} has {', '.join(odd)}: models trained there are not exact")
        if self.is_shared is not None:
            self._judge_files(node)
        self._judge_devices(node)

    def choose_devices(self, rule: DeviceRule) -> None:
        """Use only nodes, and their GPUs, to which this applies; also of those that join later."""
        self.rule = rule
        for node in self.all():
            self._judge_devices(node)

    @property
    def are_for_gpus(self) -> bool:
        """Whether the run trains on GPUs."""
        return self.rule is not None and self.rule.kind != CPU

    def _judge_devices(self, node: Node) -> None:
        if self.rule is None or node.devices is None or node.refused is not None:
            return
        node.uuids = self.rule.of(node.devices)
        self.changes += 1
        if (why := self.rule.why_not(node.devices)) is not None:
            self.refuse(node, why)

    def take_figures(self, node: Node, state: Message) -> None:
        """Take what a node says of its GPUs now."""
        gpus, before = gpus_in(state), node.figures
        if gpus is None:
            assert before is not None
            node.figures = replace(before, sample=state["sample"])
            return
        held = {int(number): here for number, here in state["held"].items()}
        node.figures = HostGpus(node.name, state["sample"], state["read"], gpus, held)

    def choose_files(self) -> None:
        """Decide how nodes get at files, for the whole run: shared only where all of the first nodes can.

        Raises `UsageError` where files have to be sent that cannot be.
        """
        nodes, wanted = [node for node in self._nodes.values() if node.hello is not None], self._settings.engine.files
        sees_all = all(node.hello["is_shared"] and not node.hello["missing"] for node in nodes if node.hello)
        self.is_shared = wanted == "shared" or (wanted == "auto" and sees_all)
        if not self.is_shared:
            require_shippable(self._settings)
        for node in nodes:
            self._judge_files(node)

    def _judge_files(self, node: Node) -> None:
        hello = node.hello
        if not self.is_shared or hello is None or node.refused is not None:
            return
        if not hello["is_shared"]:
            self.refuse(node, "it does not see the run directory; use one that all nodes share, or --files shipped")
        elif hello["missing"]:
            missing = ", ".join(hello["missing"])
            self.refuse(node, f"it has no {missing}; put it where all nodes see it, or use --files shipped")

    def refuse(self, node: Node, why: str) -> None:
        """Do not use a node."""
        node.refused = why
        self.changes += 1
        self._problem(f"node {node.name} is not used: {why}")

    # --- limits

    def limits(self, cpus: int) -> list[NodeLimit]:
        """What each node that is used takes, with so many `cpus` per worker; the same list while that holds."""
        holds_for = self.changes, cpus
        if self._limits is None or self._limits[0] != holds_for:
            limits = [(node.name, _limit(node, cpus)) for node in self.used()]
            self._limits = holds_for, [NodeLimit(name, limit) for name, limit in limits if limit is not None]
        return self._limits[1]

    def free(self, cpus: int) -> int:
        """How many more slots the nodes take together."""
        limits = [(node, _limit(node, cpus)) for node in self.used()]
        return sum(max(0, limit.workers - len(node.slots)) for node, limit in limits if limit is not None)

    def report(self, cpus: int) -> list[dict[str, Any]]:
        """What is known of every node, used or refused, with so many `cpus` per worker."""
        found = []
        limits = {node.name: node.limit for node in self.limits(cpus)}
        for node in self.all():
            hello, limit = node.hello or {}, limits.get(node.name)
            found.append(
                {
                    "name": node.name,
                    "ray_cpus": node.resources.get("CPU", 0.0),
                    "ray_gpus": node.resources.get("GPU", 0.0),
                    "gpus": hello.get("seen", []),
                    "devices": None if node.devices is None else _devices_of(node.devices),
                    "ray_memory_gb": node.resources.get("memory", 0.0) / GIB,
                    "cpus": hello.get("cpus"),
                    "memory_gb": hello.get("memory_gb"),
                    "available_memory_gb": hello.get("available_gb"),
                    "workers": 0 if limit is None else limit.workers,
                    "reason": None if limit is None else limit.reason,
                    "refused": node.refused,
                    "versions": hello.get("facts", {}),
                }
            )
        return found


def _devices_of(devices: NodeDevices) -> dict[str, Any]:
    """What models would train on there, as `auto` chooses it."""
    uuids = devices.usable(1)
    is_told = bool(devices.gpus) and not uuids
    return {"kind": CUDA if uuids else CPU, "uuids": list(uuids), "problem": devices.why_none(1) if is_told else None}


def _limit(node: Node, cpus: int) -> WorkerLimit | None:
    """A node's limit: its own rules, and what it was given to Ray with."""
    if node.limit is None:
        return None
    all_cpus = node.resources.get("CPU", 0.0)
    given = int(all_cpus // max(1, cpus))
    if given >= node.limit.workers:
        return node.limit
    return replace(node.limit, workers=given, limited_by="cpu", reason=f"Ray has {all_cpus:g} CPUs there", hint=None)
