"""GPUs of a cluster's nodes, as the Ray engine gets them from Ray and gives them to workers. No Ray is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from engine_host import EngineHost

from forge_tui.engines.base import Ended, EndKind, Place
from forge_tui.engines.ray.gpu_room import LACK_SECONDS
from forge_tui.engines.ray.holds import ASK_SECONDS, IDLE_SECONDS, covered
from forge_tui.engines.ray.placing import PATIENCE_SECONDS
from forge_tui.errors import UsageError
from forge_tui.resources.gpus import Gpu
from forge_tui.resources.host_gpus import ClusterGpus


def cards(name: str, count: int) -> tuple[Gpu, ...]:
    return tuple(Gpu(index, "Test 80", 80 << 30, 0, uuid=f"GPU-{name}{index}", processes=()) for index in range(count))


@pytest.fixture
def two(on: Any) -> EngineHost:
    """Nodes `a` with two GPUs, `b` with one, and `c` without."""
    return on_gpus(on("a", "b", "c", gpus={"a": cards("a", 2), "b": cards("b", 1)}))


def on_gpus(host: EngineHost) -> EngineHost:
    assert host.engine.choose_devices().kind == "cuda"
    return host


def gpus(host: EngineHost) -> ClusterGpus:
    found = host.engine.cluster_gpus()
    assert found is not None
    return found


def open_ones(host: EngineHost) -> list[str]:
    """Where something could be placed."""
    found = gpus(host)
    return [uuid for uuid in found.uuids if uuid not in found.closed]


def wants(host: EngineHost, workers: int, *, more: bool = False, after: float = 0.0) -> None:
    host.later(after)
    host.engine.want_gpus(workers, more=more)


def test_a_run_on_gpus_uses_nodes_with_gpus_only_and_says_why(two: EngineHost) -> None:
    assert [one.name for one in two.engine.nodes()] == ["a", "b"]
    assert two.problems == ["node c is not used: the run trains on GPUs, and here no GPU was found"]
    assert gpus(two).uuids == ("GPU-a0", "GPU-a1", "GPU-b0")
    two.later(2.0)
    assert two.engine.choose_devices("cuda").uuids == ("GPU-a0", "GPU-a1", "GPU-b0")


def test_a_run_on_cpus_asks_ray_for_no_gpu(on: Any) -> None:
    host = on("a", "c", gpus={"a": cards("a", 2)}, resources={"device": "cpu"})
    assert host.engine.choose_devices().kind == "cpu"
    assert host.engine.cluster_gpus() is None
    host.engine.want_gpus(2, more=True)
    host.later(1.0)
    assert [one.name for one in host.engine.nodes()] == ["a", "c"]
    assert host.cluster.holds == {}


def test_cuda_without_a_gpu_is_refused_with_what_each_node_says(on: Any) -> None:
    with pytest.raises(UsageError, match=r"--device cuda: no node has a GPU for it \(a: no GPU was found\)"):
        on("a", resources={"device": "cuda"}).engine.choose_devices()


def test_as_many_gpus_are_asked_of_ray_as_there_is_work_for(two: EngineHost) -> None:
    assert open_ones(two) == []
    assert set(gpus(two).closed.values()) == {"Ray has not given it to this run"}
    wants(two, 2)
    assert [(one["cpus"], one["gpus"]) for one in two.cluster.holds.values()] == [(0, 1), (0, 1)]
    assert open_ones(two) == ["GPU-a0", "GPU-b0"]  # the node with most room first, then the next one
    wants(two, 2, more=True)  # nothing has room on them
    assert open_ones(two) == ["GPU-a0", "GPU-a1", "GPU-b0"]
    wants(two, 9, more=True)
    assert len(two.cluster.holds) == 3


def test_gpus_that_are_not_needed_any_more_are_given_back_and_those_in_use_are_not(two: EngineHost) -> None:
    wants(two, 3)
    two.spawn(1, device="cuda", devices=("GPU-a1",))
    wants(two, 1)
    assert len(two.cluster.holds) == 3
    wants(two, 1, after=IDLE_SECONDS)
    assert open_ones(two) == ["GPU-a1"]
    wants(two, 0, after=10.0)
    assert open_ones(two) == ["GPU-a1"]
    two.cluster.nodes["a"].ends(1)
    wants(two, 0, after=0.1)
    wants(two, 0, after=IDLE_SECONDS)
    assert two.cluster.holds == {}


def test_gpus_that_other_jobs_have_are_closed_and_others_asked_for(on: Any) -> None:
    two = on_gpus(on("a", "b", gpus={"a": cards("a", 3), "b": cards("b", 1)}))
    two.cluster.taken = {"a": {0, 1, 2}}
    wants(two, 1)
    assert (open_ones(two), gpus(two).is_asking) == ([], True)
    wants(two, 1, after=ASK_SECONDS)
    assert open_ones(two) == ["GPU-b0"]
    assert gpus(two).closed["GPU-a0"] == "other jobs of the Ray cluster have it"
    assert not gpus(two).is_asking
    assert [one["node"] for one in two.cluster.holds.values()] == ["a/1", "b/1"]  # it may still be given
    wants(two, 2, after=1.0)
    two.cluster.taken = {"a": {0, 2}}
    two.cluster.give()
    assert open_ones(two) == ["GPU-a1", "GPU-b0"]


def test_gpus_that_are_reserved_are_waited_for_however_long_ray_takes_to_say_which(two: EngineHost) -> None:
    two.cluster.tells_gpus = False
    wants(two, 1)
    wants(two, 1, after=3 * ASK_SECONDS)
    assert (len(two.cluster.holds), gpus(two).is_asking, open_ones(two)) == (1, True, [])
    (number,) = two.cluster.holds
    two.cluster.deliver({"is": "ready", "slot": number, "gpus": []})  # Ray could not say it
    wants(two, 1)
    assert len(two.cluster.holds) == 2  # others are asked for, and these kept: Ray would give the same ones again
    two.cluster.tells_gpus = True


def test_a_worker_waits_on_the_node_of_its_gpus_and_is_told_them(two: EngineHost) -> None:
    wants(two, 3)
    worker = two.spawn(1, device="cuda", devices=("GPU-b0",))
    (spawned,) = two.cluster.nodes["b"].said("spawn")
    assert spawned["devices"] == ["GPU-b0"]
    two.cluster.nodes["b"].places(worker.id, 99)
    assert worker.place == Place("b", "GPU-b0")
    for _ in range(2):  # b takes two workers
        two.spawn(2, device="cuda", devices=("GPU-b0",))
    assert len(two.cluster.nodes["b"].said("spawn")) == 2
    assert two.cluster.nodes["a"].said("spawn") == []
    assert gpus(two).closed == {"GPU-b0": "node b takes no more than 2 workers (as the test says)"}


def test_where_ray_has_no_cpu_for_a_worker_no_further_one_is_placed(two: EngineHost) -> None:
    wants(two, 3)
    two.cluster.is_generous = False
    worker = two.spawn(1, device="cuda", devices=("GPU-a0",))
    assert gpus(two).closed == {}
    two.later(PATIENCE_SECONDS)
    full = dict.fromkeys(("GPU-a0", "GPU-a1"), "on node a Ray has no CPU or memory left for a further worker")
    assert gpus(two).closed == full
    worker.kill()  # it goes elsewhere
    wants(two, 3, after=0.1)
    assert two.ended == [(worker.id, Ended(EndKind.NOT_PLACED, "was withdrawn before it was placed"))]
    wants(two, 3, after=10.0)
    assert [message for message in two.cluster.slots.values() if message["node"] == "a/1"] == []
    assert gpus(two).closed == full
    for _ in range(6):
        for node in two.cluster.nodes.values():
            node.says({"a": "state", **node.state(2)})
        wants(two, 3, after=LACK_SECONDS / 6)
    assert gpus(two).closed == {}


def test_the_figures_of_the_nodes_say_what_each_worker_holds(two: EngineHost) -> None:
    node = two.cluster.nodes["b"]
    wants(two, 1)
    worker = two.spawn(1, device="cuda", devices=("GPU-b0",))
    node.held = {worker.id: {"GPU-b0": 5 << 30}}
    node.says({"a": "state", **node.state(2)})
    (figures,) = [host for host in gpus(two).hosts if host.host == "b"]
    assert (figures.sample, figures.read, figures.held) == (2, 2, node.held)
    assert figures.gpus == cards("b", 1)
    state = node.state(2)
    del state["gpus"], state["held"]
    state["read"] = 2  # its driver does not answer
    node.says({"a": "state", **state})
    (figures,) = [host for host in gpus(two).hosts if host.host == "b"]
    assert (figures.sample, figures.read, figures.gpus) == (3, 2, cards("b", 1))


def test_changes_are_counted_when_gpus_come_go_or_close_and_not_with_every_figure(two: EngineHost) -> None:
    before = gpus(two).changes
    node = two.cluster.nodes["a"]
    node.says({"a": "state", **node.state(2)})
    two.later(0.1)
    assert gpus(two).changes == before
    wants(two, 1)
    after = gpus(two).changes
    assert after > before
    two.cluster.nodes["b"].is_lost()
    assert gpus(two).changes > after
    assert gpus(two).uuids == ("GPU-a0", "GPU-a1")


def test_a_lost_node_takes_its_workers_its_gpus_and_what_waits_there(two: EngineHost) -> None:
    wants(two, 3)
    first = two.spawn(1, device="cuda", devices=("GPU-a0",))
    two.cluster.is_generous = False
    second = two.spawn(2, device="cuda", devices=("GPU-a1",))
    two.cluster.nodes["a"].is_lost("it burns")
    assert {number for number, _ in two.ended} == {first.id, second.id}
    assert {end and end.kind for _, end in two.ended} == {EndKind.NODE_LOST}
    assert open_ones(two) == ["GPU-b0"]
    third = two.spawn(3, device="cuda", devices=("GPU-a1",))  # chosen a moment before
    two.later(0.1)
    words = "was lost with the node of its GPUs before it was placed"
    assert two.ended[-1] == (third.id, Ended(EndKind.NODE_LOST, words))


def test_a_node_that_joins_is_used_if_it_has_gpus(two: EngineHost) -> None:
    from fake_cluster import FakeNode

    late = FakeNode(two.cluster, "d/1", "d", gpus=cards("d", 1))
    two.cluster.appears(late)
    late.says_hello()
    assert gpus(two).uuids[-1] == "GPU-d0"
    plain = FakeNode(two.cluster, "e/1", "e")
    two.cluster.appears(plain)
    plain.says_hello()
    assert two.problems[-1] == "node e is not used: the run trains on GPUs, and here no GPU was found"


def test_the_gpus_of_a_model_are_asked_of_one_node_together(on: Any) -> None:
    host = on(
        "a", "b", gpus={"a": cards("a", 3), "b": cards("b", 2)}, run={"command": ("true",)},
        resources={"devices_per_model": 2},
    )  # fmt: skip
    on_gpus(host)
    wants(host, 5)
    assert sorted((one["node"], one["gpus"]) for one in host.cluster.holds.values()) == [("a/1", 2), ("b/1", 2)]
    assert open_ones(host) == ["GPU-a0", "GPU-a1", "GPU-b0", "GPU-b1"]


def test_each_node_is_told_how_many_of_its_gpus_the_run_has(two: EngineHost) -> None:
    told = []
    two.cluster.nodes["a"].take = told.append  # type: ignore[method-assign]
    two.later(2.0)
    assert [(message["do"], message["gpus"]) for message in told] == [("alive", 2)]


MIG = tuple(
    Gpu(0, "Test 80", 40 << 30, 0, uuid=f"MIG-{number}", parent="GPU-whole") for number in (1, 2)
)  # fmt: skip


@pytest.mark.parametrize(
    ("ids", "there", "expected"),
    [
        (["1"], cards("a", 2), {"GPU-a1"}),
        (["GPU-a0"], cards("a", 2), {"GPU-a0"}),
        (["0", "1"], cards("a", 2), {"GPU-a0", "GPU-a1"}),
        (["7"], cards("a", 2), set()),
        (["0"], MIG, {"MIG-1", "MIG-2"}),
        (["GPU-whole"], MIG, {"MIG-1", "MIG-2"}),
        (["MIG-2"], MIG, {"MIG-2"}),
    ],
)
def test_what_ray_calls_a_gpu_is_found_among_the_drivers(
    ids: Sequence[str], there: tuple[Gpu, ...], expected: set[str]
) -> None:
    assert covered(ids, there) == expected
