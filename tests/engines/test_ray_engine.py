"""How the Ray engine uses a cluster, told by a scripted one: places, slots, lost and odd nodes. No Ray is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_cluster import FakeNode

from forge_tui.engines.base import Ended, EndKind, Place
from forge_tui.engines.buffered_log import Log
from forge_tui.engines.ray.engine import SILENT_SECONDS
from forge_tui.engines.ray.facts import facts_here
from forge_tui.engines.ray.placing import IDLE_SECONDS, PATIENCE_SECONDS
from forge_tui.errors import ForgeError, UsageError


def test_a_worker_is_sent_to_the_node_whose_slot_is_ready_and_gets_its_commands_behind(on: Any) -> None:
    runner = on("a")
    node = runner.cluster.nodes["a"]
    runner.cluster.is_generous = False
    runner.engine.nodes()
    worker = runner.spawn(1)
    worker.send({"command": "pause"})
    worker.send({"command": "continue"})
    assert (worker.place, worker.name, node.heard) == (None, None, [])
    (slot,) = runner.cluster.slots
    runner.cluster.ready(slot)
    worker.send({"command": "stop"})
    assert [message["do"] for message in node.heard] == ["spawn", "send", "send", "send"]
    assert [message["m"]["command"] for message in node.said("send")] == ["pause", "continue", "stop"]
    assert node.said("spawn")[0]["jobs"][0]["model"] == "planner_1"
    node.places(worker.id, 99)
    assert (worker.place, worker.name) == (Place("a", "cpu"), "a:99")
    node.says({"a": "says", "w": worker.id, "m": {"beats": 3}})
    node.ends(worker.id)
    assert runner.messages == [(worker.id, {"beats": 3})]
    assert runner.ended == [(worker.id, Ended(EndKind.EXIT, "ended with status 0"))]


def test_the_model_that_waits_longest_gets_the_slot_that_is_ready_first(on: Any) -> None:
    runner = on("a", "b")
    runner.cluster.is_generous = False
    runner.engine.nodes()
    for index in (1, 2):
        runner.spawn(index)
    runner.engine.tick()
    one, other = runner.cluster.slots
    runner.cluster.ready(other)
    where = runner.cluster.slots[other]["node"].partition("/")[0]
    assert [job["index"] for job in runner.cluster.nodes[where].said("spawn")[0]["jobs"]] == [1]
    runner.cluster.ready(one)
    spawned = [message for node in runner.cluster.nodes.values() for message in node.said("spawn")]
    assert sorted(message["jobs"][0]["index"] for message in spawned) == [1, 2]


def test_workers_are_spread_over_the_nodes_by_their_room(on: Any) -> None:
    runner = on("a", "b")
    runner.cluster.hellos = {"a": {"workers": 1}, "b": {"workers": 3}}
    runner.engine.nodes()
    for index in range(1, 6):
        runner.spawn(index)
    counts = {name: len(node.said("spawn")) for name, node in runner.cluster.nodes.items()}
    assert counts == {"a": 1, "b": 3}
    assert runner.engine.capacity() == -1  # one waits


def test_the_next_model_takes_the_slot_of_the_last_without_a_new_reservation(on: Any) -> None:
    runner = on("a")
    runner.cluster.hellos["a"] = {"workers": 1}
    runner.engine.nodes()
    first = runner.spawn(1)
    runner.spawn(2)
    before = dict(runner.cluster.slots)
    assert len(before) == 1
    runner.cluster.nodes["a"].ends(first.id)
    assert [message["jobs"][0]["index"] for message in runner.cluster.nodes["a"].said("spawn")] == [1, 2]
    assert runner.cluster.slots == before


def test_a_slot_that_nothing_needs_is_given_back(on: Any) -> None:
    runner = on("a")
    runner.engine.nodes()
    worker = runner.spawn(1)
    runner.cluster.nodes["a"].ends(worker.id)
    runner.later(IDLE_SECONDS / 2)
    assert len(runner.cluster.slots) == 1
    runner.cluster.nodes["a"].says({"a": "state", **runner.cluster.nodes["a"].state(2)})
    runner.later(IDLE_SECONDS)
    assert runner.cluster.slots == {}


def test_a_slot_that_is_not_ready_soon_is_asked_for_on_another_node_too(on: Any) -> None:
    runner = on("a", "b")
    runner.cluster.is_generous = False
    runner.engine.nodes()
    runner.spawn(1)
    assert len(runner.cluster.slots) == 1
    runner.later(PATIENCE_SECONDS)
    assert {slot["node"] for slot in runner.cluster.slots.values()} == {"a/1", "b/1"}


def test_a_worker_that_is_withdrawn_before_it_is_placed_never_runs(on: Any) -> None:
    runner = on("a")
    runner.cluster.is_generous = False
    runner.engine.nodes()
    worker = runner.spawn(1)
    worker.kill()
    assert runner.ended == []
    runner.engine.tick()
    assert runner.ended == [(worker.id, Ended(EndKind.NOT_PLACED, "was withdrawn before it was placed"))]
    runner.cluster.ready(next(iter(runner.cluster.slots)))
    assert runner.cluster.nodes["a"].said("spawn") == []


def test_what_a_worker_waits_for_is_said_in_words_and_that_no_node_has_as_much(on: Any) -> None:
    runner = on("a", resources={"policy": "shared", "memory_per_worker_gb": 2.0})
    runner.cluster.is_generous = False
    runner.engine.nodes()
    worker = runner.spawn(1)
    assert worker.waits_for == "1 CPU, 2 GiB"
    assert runner.spawn(2, threads=16).waits_for == "16 CPUs, 2 GiB (the only node has less)"
    runner.cluster.ready(next(iter(runner.cluster.slots)))
    assert worker.waits_for is None


def test_a_lost_node_ends_its_workers_and_nothing_of_it_counts_any_more(on: Any) -> None:
    runner = on("a", "b")
    runner.engine.nodes()
    workers = {worker.id: worker for worker in (runner.spawn(1), runner.spawn(2))}
    lost = runner.cluster.nodes["b"]
    (there,) = [message["w"] for message in lost.said("spawn")]
    lost.places(there)
    lost.is_lost()
    words = "was lost with node b (Ray reports that it is gone)"
    assert runner.ended == [(there, Ended(EndKind.NODE_LOST, words))]
    assert runner.problems == ["node b is lost: Ray reports that it is gone"]
    lost.says({"a": "says", "w": there, "m": {"beats": 1}})
    lost.ends(there)
    assert (runner.messages, len(runner.ended)) == ([], 1)
    assert [slot["node"] for slot in runner.cluster.slots.values()] == ["a/1"]
    assert workers[there].place == Place("b", "cpu")
    runner.spawn(2)
    assert [message["jobs"][0]["index"] for message in runner.cluster.nodes["a"].said("spawn")] == [1, 2]


def test_a_node_that_says_nothing_for_long_is_lost_and_its_agent_is_ended(on: Any) -> None:
    runner = on("a", "b")
    runner.engine.nodes()
    workers = [runner.spawn(1), runner.spawn(2)]
    for _ in range(4):
        runner.cluster.nodes["a"].says({"a": "state", **runner.cluster.nodes["a"].state(2)})
        runner.later(SILENT_SECONDS / 3)
    assert runner.cluster.dropped == ["b/1"]
    ((number, end),) = runner.ended
    assert end == Ended(EndKind.NODE_LOST, "was lost with node b (it has not answered for 30 s)")
    assert number in [worker.id for worker in workers]


def test_the_runner_shows_every_node_that_it_lives(on: Any) -> None:
    runner = on("a", "b")
    runner.engine.nodes()
    before = [node.beats for node in runner.cluster.nodes.values()]
    for _ in range(5):
        runner.later(2.0)
    assert [node.beats - beats for node, beats in zip(runner.cluster.nodes.values(), before, strict=True)] == [5, 5]


def test_a_node_that_comes_back_is_used_again_under_its_name(on: Any) -> None:
    runner = on("a", "b")
    runner.engine.nodes()
    runner.cluster.nodes["b"].is_lost()
    again = FakeNode(runner.cluster, "b/2", "b")
    runner.cluster.appears(again)
    assert [node.name for node in runner.engine.nodes()] == ["a"]
    again.says_hello(5)
    assert [(node.name, node.limit.workers) for node in runner.engine.nodes()] == [("a", 2), ("b", 5)]


def test_nodes_of_one_name_are_told_apart(on: Any) -> None:
    runner = on("a")
    runner.engine.nodes()
    twin = FakeNode(runner.cluster, "x/2", "a")
    runner.cluster.appears(twin)
    twin.says_hello()
    assert [node.name for node in runner.engine.nodes()] == ["a", "a-2"]


def test_a_node_with_another_version_is_refused_by_name(on: Any) -> None:
    runner = on("a", "b")
    odd = {**facts_here(), "torch": "1.0"}
    runner.cluster.hellos["b"] = {"facts": odd}
    assert [node.name for node in runner.engine.nodes()] == ["a"]
    (problem,) = runner.problems
    here = facts_here()["torch"]
    assert problem.startswith(f"node b is not used: it has torch 1.0 (here {here}); --mixed-nodes uses it")
    for index in range(1, 5):
        runner.spawn(index)
    assert runner.cluster.nodes["b"].heard == []


def test_with_mixed_nodes_such_a_node_trains_and_its_models_are_not_exact(on: Any) -> None:
    runner = on("a", "b", engine={"mixed_nodes": True})
    odd = {**facts_here(), "processor": "another"}
    runner.cluster.hellos["b"] = {"facts": odd}
    runner.engine.nodes()
    runner.spawn(1)
    runner.spawn(2)
    exact = {name: [message["exact"] for message in node.said("spawn")] for name, node in runner.cluster.nodes.items()}
    assert exact == {"a": [True], "b": [False]}


@pytest.mark.parametrize(
    ("hello", "words"),
    [
        ({"is_shared": False}, "it does not see the run directory"),
        ({"missing": ["/data/t.csv"]}, "it has no /data/t.csv"),
    ],
)
def test_a_start_without_a_usable_node_is_refused_with_the_reasons(on: Any, hello: dict[str, Any], words: str) -> None:
    runner = on("a", engine={"files": "shared"})
    runner.cluster.hellos["a"] = hello
    with pytest.raises(UsageError, match=f"no node of the Ray cluster can be used: a: {words}"):
        runner.engine.nodes()


def test_a_cluster_that_refuses_refuses_the_start(on: Any) -> None:
    runner = on("a")
    runner.cluster.refusal = "the Ray cluster at h:1 has no authentication"
    with pytest.raises(UsageError, match="has no authentication"):
        runner.engine.nodes()


def test_a_node_that_fails_while_workers_run_is_given_up(on: Any) -> None:
    runner = on("a", "b")
    runner.engine.nodes()
    runner.spawn(1)
    runner.spawn(2)
    runner.cluster.nodes["b"].says({"a": "broken", "why": "the fork server could not start"})
    assert [end.kind for _, end in runner.ended if end is not None] == [EndKind.NODE_LOST]
    assert runner.cluster.dropped == ["b/1"]
    assert [node.name for node in runner.engine.nodes()] == ["a"]


def test_a_cluster_out_of_reach_ends_the_run_with_words(on: Any) -> None:
    runner = on("a")
    runner.engine.nodes()
    runner.spawn(1)
    runner.cluster.go("the process that was connected to Ray has ended (status 1)")
    assert [end.kind for _, end in runner.ended if end is not None] == [EndKind.NODE_LOST]
    with pytest.raises(ForgeError, match="the Ray cluster is out of reach"):
        runner.engine.tick()


def test_the_end_of_a_worker_is_reported_when_its_output_is_in_its_log(
    on: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = on("a")
    node = runner.cluster.nodes["a"]
    runner.engine.nodes()
    one, other = runner.spawn(1), runner.spawn(2)
    runner.engine.tick()
    waiting = {one.log}
    monkeypatch.setattr(Log, "is_settled", lambda log, taken: log not in waiting)
    node.says({"a": "output", "w": one.id}, b"the last line\n")
    node.ends(one.id)
    node.ends(other.id)
    assert [number for number, _ in runner.ended] == [other.id]
    waiting.clear()
    runner.engine.tick()
    assert [number for number, _ in runner.ended] == [other.id, one.id]
    assert one.log.last == b"the last line\n"


def test_what_nodes_hold_is_what_samples_say(on: Any) -> None:
    runner = on("a")
    runner.engine.nodes()
    worker = runner.spawn(1)
    node = runner.cluster.nodes["a"]
    node.says({"a": "state", **node.state(2, **{str(worker.id): 123})})
    assert runner.engine.samples() == {worker.id: 123}


def test_what_ray_was_given_limits_a_node_beside_its_own_rules(on: Any) -> None:
    runner = on("a")
    runner.cluster.nodes["a"].resources = {"CPU": 3.0, "GPU": 0.0, "memory": 1e9}
    runner.cluster.hellos["a"] = {"workers": 8}
    runner.engine.expect(2, None)
    (node,) = runner.engine.nodes()
    assert (node.limit.workers, node.limit.reason) == (1, "Ray has 3 CPUs there")


def test_a_command_has_the_environment_of_the_start_on_every_node(on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_START", "yes")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    for command, expected in ((), None), (("program",), "yes"):
        runner = on("a", run={"command": command, "seed": 1})
        runner.engine.nodes()
        environment = runner.cluster.nodes["a"].setup["environment"]
        assert environment.get("OF_THE_START") == expected
        assert "RAY_AUTH_TOKEN" not in environment
        runner.engine.close()


def test_nothing_is_left_in_the_run_directory(on: Any, tmp_path: Path) -> None:
    runner = on("a")
    runner.engine.nodes()
    assert [path.name for path in tmp_path.iterdir()] == [runner.cluster.nodes["a"].setup["marker"]]
    runner.engine.close()
    assert list(tmp_path.iterdir()) == []
