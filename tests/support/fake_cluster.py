"""A cluster without Ray: the test says which nodes there are, what their agents say, and when a slot is ready."""

from __future__ import annotations

import dataclasses
import selectors
from collections.abc import Callable, Mapping
from typing import Any

from forge_tui.engines.ray.facts import facts_here
from forge_tui.engines.ray.frames import Frame, Message, decode, encode
from forge_tui.resources.gpus import Gpu
from forge_tui.resources.policy import WorkerLimit


def limit_of(workers: int, **changes: Any) -> WorkerLimit:
    """What a node's rules allow."""
    values: dict[str, Any] = {
        "workers": workers, "requested": workers, "policy": "dedicated", "reason": "as the test says",
        "limited_by": "cpu", "hint": None, "threads_allowed": workers, **changes,
    }  # fmt: skip
    return WorkerLimit(**values)


class FakeNode:
    """A node whose agent does nothing by itself. `heard`: what the runner told it, without the signs of life."""

    def __init__(self, cluster: FakeCluster, key: str, name: str, **hello: Any) -> None:
        self._cluster = cluster
        self.key, self.name = key, name
        self.resources = hello.pop("resources", {"CPU": 8.0, "GPU": 0.0, "memory": float(64 << 30)})
        self.gpus: tuple[Gpu, ...] = hello.pop("gpus", ())
        """Its GPUs, all of which it has given to Ray unless `resources` says otherwise."""
        if self.gpus:
            self.resources = {**self.resources, "GPU": float(len(self.gpus))}
        self.held: dict[int, dict[str, int]] = {}
        """What workers hold on its GPUs, by worker and UUID."""
        self.samples = 0
        self._hello = hello
        self.setup: Message = {}
        self.heard: list[Message] = []
        self.beats = 0

    def take(self, message: Message) -> None:
        """A message of the runner arrives."""
        if message["do"] == "alive":
            self.beats += 1
        else:
            self.heard.append(message)

    def said(self, do: str) -> list[Message]:
        """What it was told of one kind."""
        return [message for message in self.heard if message["do"] == do]

    # What the test has it say

    def says_hello(self, workers: int = 2, **changes: Any) -> None:
        """Its agent is there."""
        devices = {
            "kind": "cuda" if self.gpus else "cpu", "uuids": [gpu.uuid for gpu in self.gpus],
            "reason": f"{len(self.gpus)} GPUs" if self.gpus else "the CPU: no GPU was found",
            "gpus": [gpu.to_record() for gpu in self.gpus],
        }  # fmt: skip
        hello = {
            "a": "hello", "facts": facts_here(), "is_shared": True, "missing": [], "devices": devices, "seen": [],
            **self.state(workers), **self._hello, **changes,
        }  # fmt: skip
        self.says(hello)

    def state(self, workers: int, **resident: int) -> Message:
        """The part of a message that says how it is, with the figures of its GPUs as they are now."""
        limit = dataclasses.asdict(limit_of(workers))
        self.samples += 1
        held = {str(worker): here for worker, here in self.held.items()}
        return {
            "limit": limit, "resident": resident, "cpus": 8, "memory_gb": 64.0, "available_gb": 60.0,
            "sample": self.samples, "read": self.samples, "gpus": [gpu.to_record() for gpu in self.gpus], "held": held,
        }  # fmt: skip

    def says(self, message: Message, data: bytes = b"") -> None:
        """Its agent sends a message."""
        self._cluster.deliver({"is": "from", "node": self.key}, encode(message, data))

    def places(self, worker: int, pid: int = 4711) -> None:
        """The worker is forked."""
        self.says({"a": "placed", "w": worker, "pid": pid})

    def ends(self, worker: int, kind: str = "exit", words: str = "ended with status 0") -> None:
        """The worker has ended."""
        self.says({"a": "ended", "w": worker, "kind": kind, "words": words})

    def is_lost(self, why: str = "Ray reports that it is gone") -> None:
        """Ray has given it up."""
        self._cluster.deliver({"is": "lost", "node": self.key, "why": why})


class FakeCluster:
    """Stands for the bridge and what is behind it; `open` is given to the engine."""

    def __init__(self, *names: str, gpus: Mapping[str, tuple[Gpu, ...]] | None = None) -> None:
        """`gpus`: those of nodes, by their names."""
        has = gpus or {}
        self.nodes = {name: FakeNode(self, f"{name}/1", name, gpus=has.get(name, ())) for name in names}
        self.slots: dict[int, Message] = {}
        """The slots that are reserved or asked for."""
        self.holds: dict[str, Message] = {}
        """The GPUs that are reserved or asked for."""
        self.taken: dict[str, set[int]] = {}
        """The places of GPUs that other jobs have, by node."""
        self.tells_gpus = True
        """Whether Ray says at once which GPUs they are."""
        self._given: dict[str, tuple[str, list[int]]] = {}
        self.is_generous = True
        """Whether a slot is ready as soon as it is asked for."""
        self.dropped: list[str] = []
        self.is_closed = False
        self.hellos: dict[str, dict[str, Any]] = {name: {} for name in names}
        """What each agent says at first, as `FakeNode.says_hello` takes it."""
        self.refusal: str | None = None
        self.options: Message = {}

    def open(
        self,
        selector: selectors.BaseSelector,
        on_frame: Callable[[Frame], None],
        on_gone: Callable[[str], None],
        output: int,
    ) -> FakeCluster:
        """A link to this cluster."""
        self.deliver_frame, self.go = on_frame, on_gone
        self.is_closed = False
        return self

    def deliver(self, message: Message, data: bytes = b"") -> None:
        """Have a frame arrive at the runner."""
        self.deliver_frame((message, data))

    def appears(self, node: FakeNode) -> None:
        """A node joins."""
        self.nodes[node.name] = node
        self.deliver({"is": "node", "node": node.key, "name": node.name, "resources": node.resources})

    def ready(self, slot: int) -> None:
        """A slot is reserved."""
        self.deliver({"is": "ready", "slot": slot})

    def give(self) -> None:
        """Give the GPUs that were asked for and are free, the first ones first, as Ray does."""
        for number, message in self.holds.items():
            if number in self._given:
                continue
            node = next(node for node in self.nodes.values() if node.key == message["node"])
            given = {place for key, places in self._given.values() if key == node.key for place in places}
            free = sorted({gpu.index for gpu in node.gpus} - given - self.taken.get(node.name, set()))
            if len(free) >= message["gpus"]:
                self._given[number] = node.key, free[: message["gpus"]]
                self.deliver({"is": "reserved", "slot": number})
                if not self.tells_gpus:
                    continue
                self.deliver({"is": "ready", "slot": number, "gpus": [str(place) for place in self._given[number][1]]})

    # As a link

    def send(self, message: Message, data: bytes = b"") -> None:
        """What the bridge would do."""
        by_key = {node.key: node for node in self.nodes.values()}
        match message["do"]:
            case "open":
                self.options = message
                if self.refusal is not None:
                    self.deliver({"is": "refused", "message": self.refusal})
                    return
                for node in list(self.nodes.values()):
                    ((node.setup, _),) = decode(data)
                    self.appears(node)
                self.deliver({"is": "open", "agents": [node.key for node in self.nodes.values()]})
                for name, hello in self.hellos.items():
                    self.nodes[name].says_hello(**hello)
            case "tell":
                for told, _ in decode(data):
                    by_key[message["node"]].take(told)
            case "reserve" if "gpus" in message:
                self.holds[message["slot"]] = message
                self.give()
            case "release" if message["slot"] in self.holds:
                del self.holds[message["slot"]]
                self._given.pop(message["slot"], None)
            case "reserve":
                self.slots[message["slot"]] = message
                if self.is_generous:
                    self.ready(message["slot"])
            case "release":
                del self.slots[message["slot"]]
            case "drop":
                self.dropped.append(message["node"])

    def hang_up(self) -> None:
        """The runner ends it."""
        self.is_closed = True

    def close(self) -> None:
        """The runner waits for its end."""
        self.is_closed = True
