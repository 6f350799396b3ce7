"""The governor of a run on a cluster follows what the nodes allow."""

from __future__ import annotations

from fake_cluster import limit_of
from stage import machine_state

from forge_tui.resources.node_limit import NodeLimit
from forge_tui.resources.policy import OtherRuns
from forge_tui.runner.cluster_governor import ClusterGovernor
from forge_tui.runner.governor import Load
from forge_tui.settings.schema import ResourceSettings


class Nodes:
    """What the nodes allow, as the test says."""

    def __init__(self, **workers: int) -> None:
        self.workers = workers
        self._said: tuple[dict[str, int], list[NodeLimit]] = {}, []

    def __call__(self) -> list[NodeLimit]:
        if self._said[0] != self.workers:
            found = [NodeLimit(name, limit_of(count)) for name, count in self.workers.items()]
            self._said = dict(self.workers), found
        return self._said[1]


def governor(nodes: Nodes, requested: int) -> ClusterGovernor:
    settings = ResourceSettings(policy="dedicated")
    found = ClusterGovernor(settings, limit_of(1), mode="parallel", cpus=1, nodes=nodes)
    found.request(requested, machine_state(), (), OtherRuns())
    return found


def test_the_machine_of_the_runner_and_other_runs_on_it_limit_nothing() -> None:
    run = governor(Nodes(a=20, b=20), 30)
    assert run.slots == 30
    low = machine_state(available=0.1, others=99.0)
    assert run.look(low, [Load(1, 1 << 40)], OtherRuns(9, 99), 0.0).limit is None
    assert run.hold(low, [Load(1, 1 << 40)]) is None


def test_a_node_that_is_lost_or_comes_back_changes_the_limit_at_once() -> None:
    nodes = Nodes(a=2, b=3)
    run = governor(nodes, 9)
    assert run.slots == 5
    assert not run.is_outdated
    del nodes.workers["b"]
    assert run.is_outdated
    limit = run.look(machine_state(), (), OtherRuns(), 0.0).limit
    assert limit is not None
    assert (run.slots, limit.reason) == (2, "2 instead of 9: 1 node allows 2 workers (a: 2)")
    nodes.workers["c"] = 4
    assert run.look(machine_state(), (), OtherRuns(), 0.1).limit is not None
    assert run.slots == 6
    assert run.look(machine_state(), (), OtherRuns(), 0.2).limit is None


def test_no_further_worker_starts_when_all_slots_are_taken() -> None:
    run = governor(Nodes(a=2), 2)
    assert [run.hold(machine_state(), [Load(number) for number in range(count)]) for count in range(3)] == [
        None, None, "",
    ]  # fmt: skip


def test_a_worker_that_ran_out_of_memory_leaves_the_number_to_its_node() -> None:
    run = governor(Nodes(a=2, b=2), 4)
    assert run.ran_out(1, 0.0) == 4
