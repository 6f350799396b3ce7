"""The bridge with a scripted Ray: what it passes on, in which order, and when it gives a node up."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from running import wait_until

from forge_tui.engines.ray.bridge import Bridge, why_lost
from forge_tui.engines.ray.cluster import NodeFact
from forge_tui.engines.ray.frames import FrameBuffer, Message, decode, encode
from forge_tui.errors import UsageError


class ScriptedAgent:
    """Records its messages; answers when the test says so."""

    def __init__(self) -> None:
        self.told: list[bytes] = []
        self._telling: list[Callable[[Future[None]], None]] = []
        self._listening: list[Callable[[Future[bytes]], None]] = []
        self.is_ended = False

    def tell(self, batch: bytes, done: Callable[[Future[None]], None]) -> None:
        self.told.append(batch)
        self._telling.append(done)

    def listen(self, done: Callable[[Future[bytes]], None]) -> None:
        self._listening.append(done)

    def end(self) -> None:
        self.is_ended = True

    def took(self) -> None:
        """What it was told last has arrived."""
        wait_until(lambda: self._telling, "it was told something")
        future: Future[None] = Future()
        future.set_result(None)
        self._telling.pop(0)(future)

    def answers(self, batch: bytes | Exception) -> None:
        """It gives this to whoever listens."""
        wait_until(lambda: self._listening, "it is listened to")
        future: Future[bytes] = Future()
        if isinstance(batch, Exception):
            future.set_exception(batch)
        else:
            future.set_result(batch)
        self._listening.pop(0)(future)

    @property
    def messages(self) -> list[list[Message]]:
        """What it was told, by batch."""
        return [[message for message, _ in decode(batch)] for batch in self.told]


class ScriptedRay:
    """A cluster as the test says."""

    def __init__(self) -> None:
        self.live = ["a"]
        self.agents: dict[str, list[ScriptedAgent]] = {}
        self.reserved: dict[int, str] = {}
        self.ready: set[int] = set()
        self.ids: list[str] | None = ["3", "1"]
        self.refusal: str | None = None

    def connect(self, address: str | None, **how: Any) -> None:
        if self.refusal is not None:
            raise UsageError(self.refusal)

    def nodes(self) -> list[NodeFact]:
        return [NodeFact(name, name, {"CPU": 2.0}) for name in self.live]

    def agent(self, node: str) -> ScriptedAgent:
        self.agents.setdefault(node, []).append(ScriptedAgent())
        return self.agents[node][-1]

    def reserve(self, node: str, cpus: float, memory: float, gpus: int = 0) -> int:
        number = len(self.reserved) + 1
        self.reserved[number] = node
        return number

    def is_ready(self, reservation: int) -> bool:
        return reservation in self.ready

    def gpu_ids(self, reservation: int, gpus: int, done: Callable[[Future[list[str]]], None]) -> None:
        future: Future[list[str]] = Future()
        if self.ids is None:
            future.set_exception(RuntimeError("its process was killed"))
        else:
            future.set_result(self.ids[:gpus])
        done(future)

    def release(self, reservation: int) -> None:
        del self.reserved[reservation]


class Runner:
    """The other side of the bridge's socket."""

    def __init__(self) -> None:
        self.ray = ScriptedRay()
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(60.0)
        self.bridge = Bridge(theirs, self.ray)  # type: ignore[arg-type]
        self._buffer = FrameBuffer()
        self.heard: list[tuple[Message, bytes]] = []
        self._thread = threading.Thread(target=self.bridge.serve, daemon=True)
        self._thread.start()

    def send(self, data: bytes = b"", **message: Any) -> None:
        self.socket.sendall(encode(message, data))

    def hears(self, kind: str) -> tuple[Message, bytes]:
        """The next message of a kind."""
        while True:
            for place, (message, _) in enumerate(self.heard):
                if message["is"] == kind:
                    return self.heard.pop(place)
            self.heard += self._buffer.feed(self.socket.recv(1 << 16))

    def open(self) -> str:
        """Connect; returns the key of node a."""
        self.send(encode({"do": "setup"}), do="open", address="h:1", trust=False, cpus=1, scratch=None)
        message, _ = self.hears("node")
        return str(message["node"])

    def close(self) -> None:
        self.socket.close()
        self._thread.join(30.0)
        assert not self._thread.is_alive()


@pytest.fixture
def runner() -> Iterator[Runner]:
    found = Runner()
    yield found
    found.close()


def test_an_agent_is_told_one_batch_after_the_other_however_fast_commands_come(runner: Runner) -> None:
    key = runner.open()
    runner.hears("open")
    (agent,) = runner.ray.agents["a"]
    for number in range(3):
        runner.send(encode({"n": number}), do="tell", node=key)
    told = agent.messages[0]
    for number in range(1, 4):
        if len(told) < 4:
            agent.took()
            wait_until(lambda expected=number: len(agent.told) > expected, "the next batch arrives")
            told = [message for batch in agent.messages for message in batch]
    assert told == [{"do": "setup"}, {"n": 0}, {"n": 1}, {"n": 2}]


def test_what_agents_say_is_passed_on_in_order_and_that_they_say_nothing_too(runner: Runner) -> None:
    key = runner.open()
    (agent,) = runner.ray.agents["a"]
    for batch in (encode({"a": 1}) + encode({"a": 2}), b"", encode({"a": 3})):
        agent.answers(batch)
    found = [runner.hears("from") for _ in range(3)]
    assert [message["node"] for message, _ in found] == [key] * 3
    assert [[said["a"] for said, _ in decode(data)] for _, data in found] == [[1, 2], [], [3]]


def test_an_agent_that_fails_is_lost_and_ended_and_its_node_gets_another_one(runner: Runner) -> None:
    key = runner.open()
    (agent,) = runner.ray.agents["a"]
    agent.answers(b"")
    agent.answers(RuntimeError("broken\nin detail"))
    message, _ = runner.hears("lost")
    assert (message["node"], message["why"]) == (key, "its agent has ended: broken")
    again, _ = runner.hears("node")
    assert again["node"] not in (key, None)
    assert again["name"] == "a"
    assert agent.is_ended


def test_a_node_that_ray_does_not_list_any_more_is_lost_and_a_new_one_is_told(runner: Runner) -> None:
    key = runner.open()
    runner.ray.live = ["b"]
    lost, _ = runner.hears("lost")
    assert (lost["node"], lost["why"]) == (key, "Ray reports that it is gone")
    new, _ = runner.hears("node")
    assert new["name"] == "b"
    assert runner.ray.agents["b"]


def test_a_slot_is_told_when_it_is_reserved_and_given_back_when_it_is_released(runner: Runner) -> None:
    key = runner.open()
    runner.send(do="reserve", slot=7, node=key, cpus=1, memory=0)
    wait_until(lambda: runner.ray.reserved, "it is asked for")
    runner.ray.ready.add(1)
    assert runner.hears("ready")[0]["slot"] == 7
    runner.send(do="release", slot=7)
    wait_until(lambda: not runner.ray.reserved, "it is released")


def test_which_gpus_are_reserved_is_told_once_they_are(runner: Runner) -> None:
    key = runner.open()
    runner.send(do="reserve", slot="gpu-1", node=key, cpus=0, memory=0, gpus=2)
    wait_until(lambda: runner.ray.reserved, "they are asked for")
    runner.ray.ready.add(1)
    assert runner.hears("reserved")[0]["slot"] == "gpu-1"
    assert runner.hears("ready")[0] == {"is": "ready", "slot": "gpu-1", "gpus": ["3", "1"]}
    runner.ray.ids = None
    runner.send(do="reserve", slot="gpu-2", node=key, cpus=0, memory=0, gpus=1)
    runner.ray.ready.add(2)
    assert runner.hears("ready")[0] == {"is": "ready", "slot": "gpu-2", "gpus": []}


def test_a_cluster_that_cannot_be_used_is_refused_in_words() -> None:
    runner = Runner()
    runner.ray.refusal = "no connection to a Ray cluster at h:1"
    runner.send(encode({}), do="open", address="h:1", trust=False, cpus=1, scratch=None)
    assert runner.hears("refused")[0]["message"] == "no connection to a Ray cluster at h:1"
    runner.close()


class ActorDiedError(Exception):
    """As Ray calls it."""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (None, "Ray reports that it is gone"),
        (
            ActorDiedError("The actor died unexpectedly before finishing this task.\n\tclass_name: X"),
            "its agent has died",
        ),
        (
            ActorDiedError(
                "The actor died because of an error raised in its creation task, x\n\nNo module named 'y'\n"
            ),
            "its agent cannot start: No module named 'y'",
        ),
    ],
)
def test_why_a_node_is_given_up(error: Exception | None, words: str) -> None:
    assert why_lost(error) == words
