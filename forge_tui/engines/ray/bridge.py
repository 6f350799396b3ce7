"""The bridge: Ray's driver, in a process of its own between the runner and the node agents.

Frames of the runner have `do`: `open` (with the setup of agents as its data), `tell` (a node's agent gets the data),
`reserve` and `release` a slot or GPUs, `drop` a node whose agent does not answer. Frames to the runner have `is`:
`open`, `refused`, `node`, `lost`, `ready` (a slot; or GPUs, with Ray's names of them, after `reserved`), `from` (frames
of a node's agent). The bridge ends when the runner's side of the socket closes, and takes agents and a cluster that it
has started with it.
"""

from __future__ import annotations

import contextlib
import os
import queue
import selectors
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from setproctitle import setproctitle

from forge_tui.engines.ray.cluster import Agent, Cluster, NodeFact, ignore_signals
from forge_tui.engines.ray.frames import FrameBuffer, Message, encode
from forge_tui.engines.ray.outbox import Outbox
from forge_tui.errors import ForgeError

_READ_SIZE = 1 << 20
_NODES_SECONDS = 1.0
_SLOT_SECONDS = 0.05
_END_SECONDS = 15.0
# A node whose agent ends gets another one after this long, and twice as long after each that has never answered.
_AGAIN_SECONDS, _LONGEST_SECONDS = 1.0, 60.0


@dataclass(slots=True, eq=False)
class _Node:
    """A node with its agent. `key`: the agent's, as the runner has it."""

    key: str
    fact: NodeFact
    agent: Agent
    outbox: Outbox = field(default_factory=Outbox)
    is_telling: bool = False
    has_answered: bool = False


class Bridge:
    """Passes frames between the runner's socket and the agents. One thread; another one asks the cluster."""

    def __init__(self, runner: socket.socket, cluster: Cluster) -> None:
        self._runner, self._cluster = runner, cluster
        self._buffer = FrameBuffer()
        self._bell, self._ringer = socket.socketpair()
        self._bell.setblocking(False)
        self._ringer.setblocking(False)
        self._posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._asked: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._setup = b""
        self._nodes: dict[str, _Node] = {}
        self._count = 0
        self._reservations: dict[int | str, Any] = {}
        self._pending: dict[int | str, int] = {}
        """Those that are not ready, each with the number of its GPUs."""
        self._failures: dict[str, tuple[int, float]] = {}
        """Of nodes by their id: agents that ended without an answer in a row, and when to try again."""
        self._is_open = True

    def serve(self) -> None:
        """Return when the runner is gone, or the cluster cannot be used."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._runner, selectors.EVENT_READ, self._read)
            selector.register(self._bell, selectors.EVENT_READ, self._do_posted)
            while self._is_open:
                for key, _ in selector.select():
                    key.data()

    # --- the runner

    def _send(self, message: Message, data: bytes = b"") -> None:
        try:
            self._runner.sendall(encode(message, data))
        except OSError:
            self._is_open = False

    def _read(self) -> None:
        try:
            data = self._runner.recv(_READ_SIZE)
        except OSError:
            data = b""
        if not data:
            self._is_open = False
            return
        for message, content in self._buffer.feed(data):
            self._obey(message, content)

    def _obey(self, message: Message, data: bytes) -> None:
        match message["do"]:
            case "open":
                self._setup = data
                self._connect(message)
            case "tell":
                node = self._nodes.get(message["node"])
                if node is not None:
                    node.outbox.put_frame(data, is_bulk=message.get("bulk", False))
                    self._tell(node)
            case "reserve":
                node = self._nodes.get(message["node"])
                if node is not None:
                    needs = {name: message.get(name, 0) for name in ("cpus", "memory", "gpus")}
                    self._asked.put(partial(self._reserve, message["slot"], node.fact.id, needs))
            case "release":
                self._asked.put(partial(self._release, message["slot"]))
            case "drop":
                node = self._nodes.pop(message["node"], None)
                if node is not None:
                    self._asked.put(node.agent.end)

    def _connect(self, message: Message) -> None:
        """Connect in this thread: processes that Ray starts end with the thread that has started them."""
        try:
            how = {name: message[name] for name in ("trust", "cpus", "scratch")}
            self._cluster.connect(message["address"], **how)
            facts = self._cluster.nodes()
        except ForgeError as error:
            self._send({"is": "refused", "message": str(error)})
            return
        for fact in facts:
            self._add(fact, self._cluster.agent(fact.id))
        self._send({"is": "open", "agents": list(self._nodes)})
        threading.Thread(target=self._ask, name="ask the cluster", daemon=True).start()

    # --- agents

    def _add(self, fact: NodeFact, agent: Agent) -> None:
        self._count += 1
        node = _Node(f"{fact.id}/{self._count}", fact, agent)
        self._nodes[node.key] = node
        self._send({"is": "node", "node": node.key, "name": fact.name, "resources": fact.resources})
        node.outbox.put_frame(self._setup)
        self._tell(node)
        self._listen(node)

    def _tell(self, node: _Node) -> None:
        """Send the next batch, one at a time: Ray does not keep the order of calls."""
        if node.is_telling:
            return
        batch = node.outbox.take()
        if batch:
            node.is_telling = True
            node.agent.tell(batch, lambda done: self._post(partial(self._told, node, done)))

    def _told(self, node: _Node, done: Future[None]) -> None:
        node.is_telling = False
        if done.exception() is not None:
            self._lose(node, done.exception())
        elif self._is_known(node):
            self._tell(node)

    def _listen(self, node: _Node) -> None:
        node.agent.listen(lambda done: self._post(partial(self._heard, node, done)))

    def _heard(self, node: _Node, done: Future[bytes]) -> None:
        if not self._is_known(node):
            return
        if done.exception() is not None:
            self._lose(node, done.exception())
            return
        node.has_answered = True
        # Also an empty batch: the agent lives.
        self._send({"is": "from", "node": node.key}, done.result())
        self._listen(node)

    def _is_known(self, node: _Node) -> bool:
        return self._nodes.get(node.key) is node

    def _lose(self, node: _Node, error: BaseException | None) -> None:
        if self._is_known(node):
            del self._nodes[node.key]
            count = 0 if node.has_answered else self._failures.get(node.fact.id, (0, 0.0))[0] + 1
            wait = min(_LONGEST_SECONDS, _AGAIN_SECONDS * 2**count)
            self._failures[node.fact.id] = count, time.monotonic() + wait
            self._send({"is": "lost", "node": node.key, "why": why_lost(error)})
            self._asked.put(node.agent.end)  # it may live, and only be out of reach

    # --- the other thread: what waits for the cluster's head node

    def _ask(self) -> None:
        looked = time.monotonic()
        while self._is_open:
            try:
                with contextlib.suppress(queue.Empty):
                    self._asked.get(timeout=_SLOT_SECONDS if self._pending else _NODES_SECONDS)()
                self._look_at_slots()
                if time.monotonic() - looked >= _NODES_SECONDS:
                    looked = time.monotonic()
                    facts = self._cluster.nodes()
                    self._post(partial(self._compare, facts))
            except Exception:  # a boundary: the head node may answer next time
                if self._is_open:
                    traceback.print_exc()
                    time.sleep(_NODES_SECONDS)

    def _look_at_slots(self) -> None:
        for slot, gpus in list(self._pending.items()):
            if not self._cluster.is_ready(self._reservations[slot]):
                continue
            del self._pending[slot]
            if gpus:
                self._post(partial(self._send, {"is": "reserved", "slot": slot}))
                self._cluster.gpu_ids(self._reservations[slot], gpus, partial(self._post_ids, slot))
            else:
                self._post(partial(self._send, {"is": "ready", "slot": slot}))

    def _post_ids(self, slot: int | str, done: Future[list[str]]) -> None:
        self._post(partial(self._told_ids, slot, done))

    def _told_ids(self, slot: int | str, done: Future[list[str]]) -> None:
        """Pass on which GPUs Ray has given; none if it could not say."""
        error = done.exception()
        if error is not None and slot in self._reservations:
            traceback.print_exception(error)
        self._send({"is": "ready", "slot": slot, "gpus": [] if error is not None else done.result()})

    def _reserve(self, slot: int | str, node: str, needs: Mapping[str, Any]) -> None:
        self._reservations[slot] = self._cluster.reserve(node, **needs)
        self._pending[slot] = needs["gpus"]
        self._look_at_slots()

    def _release(self, slot: int | str) -> None:
        self._pending.pop(slot, None)
        reservation = self._reservations.pop(slot, None)
        if reservation is not None:
            self._cluster.release(reservation)

    def _compare(self, facts: list[NodeFact]) -> None:
        """Give up nodes that are gone, and start agents on new ones."""
        live = {fact.id: fact for fact in facts}
        for node in list(self._nodes.values()):
            if node.fact.id not in live:
                self._lose(node, None)
        with_agent = {node.fact.id for node in self._nodes.values()}
        for fact in facts:
            _, again = self._failures.get(fact.id, (0, 0.0))
            if fact.id not in with_agent and time.monotonic() >= again:
                self._add(fact, self._cluster.agent(fact.id))

    # --- both

    def _post(self, call: Callable[[], None]) -> None:
        """Have the bridge's own thread do something."""
        self._posted.put(call)
        with contextlib.suppress(OSError):  # it rings already, or ends
            self._ringer.send(b"!")

    def _do_posted(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._bell.recv(4096)
        while not self._posted.empty():
            self._posted.get()()

    def end_agents(self) -> None:
        """End all agents."""
        for node in self._nodes.values():
            with contextlib.suppress(Exception):  # the cluster may be gone
                node.agent.end()


def why_lost(error: BaseException | None) -> str:
    """Why a node is given up, in words; None: Ray does not list it any more."""
    if error is None:
        return "Ray reports that it is gone"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if "creation task" in lines[0]:
        return f"its agent cannot start: {lines[-1]}"
    known = {"ActorUnavailableError": "its agent cannot be reached", "ActorDiedError": "its agent has died"}
    return known.get(type(error).__name__, f"its agent has ended: {lines[0]}")


def _end_now(cluster: Cluster) -> None:
    """End although Ray does not let go: the processes that it has started end with this one."""
    cluster.remove_scratch()
    os._exit(1)


def main() -> None:
    """Serve the runner at the other end of the socket that is the first argument."""
    setproctitle("forge-tui: Ray bridge")
    ignore_signals()
    cluster = Cluster()
    bridge = Bridge(socket.socket(fileno=int(sys.argv[1])), cluster)
    try:
        bridge.serve()
    finally:
        overdue = threading.Timer(_END_SECONDS, _end_now, (cluster,))
        overdue.daemon = True
        overdue.start()
        bridge.end_agents()
        cluster.close()
    os._exit(0)


if __name__ == "__main__":
    main()
