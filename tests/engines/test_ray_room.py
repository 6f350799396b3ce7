"""How many workers an agent lets its node take."""

from __future__ import annotations

from typing import Any

import pytest
from stage import machine_state

from forge_tui.engines.ray.room import GROW_SECONDS, TIGHT_SECONDS, NodeLoad, NodeRoom
from forge_tui.resources.policy import GIB, OnDevices
from forge_tui.settings.schema import ResourceSettings


def room(**settings: Any) -> NodeRoom:
    return NodeRoom(ResourceSettings(**{"policy": "dedicated", **settings}))


def workers(of: NodeRoom, *loads: NodeLoad, now: float = 0.0, **machine: Any) -> int:
    return of.limit(machine_state(**machine), loads, now).workers


def test_the_policies_are_those_of_one_machine() -> None:
    assert workers(room()) == 8
    assert workers(room(policy="shared")) == 4
    assert workers(room(policy="shared", memory_per_worker_gb=32.0)) == 2
    assert workers(room(policy="shared"), others=95.0) == 1


def test_on_gpus_memory_is_measured_and_so_many_workers_share_one() -> None:
    node = room(policy="shared")
    node.on = OnDevices(1)
    assert workers(node, cpu_count=64, memory_gb=64.0) == 8  # not by 8 GiB of this machine's memory for each
    node.on = OnDevices(3, 2)
    assert workers(node, cpu_count=64, memory_gb=64.0) == 12


def test_threads_count() -> None:
    node = room()
    node.cpus = 3
    assert workers(node) == 2


def test_until_a_worker_is_measured_the_estimate_counts_and_without_one_the_first_goes_alone() -> None:
    node = room()
    node.estimate = 8 * GIB  # 12 with its margin, 13.8 with that of measurements
    assert workers(node) == 4
    node.estimate = None
    assert workers(node) == 8
    assert workers(node, NodeLoad(None, 0)) == 1


def test_the_largest_measured_worker_counts_and_what_running_ones_will_still_take() -> None:
    node = room()
    node.measured(10 * GIB)
    node.measured(2 * GIB)
    free = workers(node)
    # Two that run have grown to half of it; what they will still take is not free for others.
    grown = workers(node, *[NodeLoad(10 * GIB, 5 * GIB)] * 2, available=50.0)
    assert (free, grown) == (4, 5)
    assert workers(node, *[NodeLoad(10 * GIB, 10 * GIB)] * 2, available=10.0) == 2


def test_what_our_workers_hold_counts_as_available_for_the_rule_of_a_fixed_amount() -> None:
    node = room(policy="shared", min_available_memory_gb=20.0)
    assert workers(node, available=15.0) == 1
    assert workers(node, NodeLoad(10 * GIB, 10 * GIB), available=15.0) == 4


def test_after_a_lack_of_memory_fewer_are_taken_and_one_more_after_a_quiet_time() -> None:
    node = room()
    node.ran_out(2, now=0.0)
    assert workers(node, now=1.0) == 2
    limit = node.limit(machine_state(), (), GROW_SECONDS)
    assert (limit.workers, limit.limited_by) == (3, "memory")
    found = [workers(node, now=GROW_SECONDS * number) for number in range(2, 9)]
    assert found == [4, 5, 6, 7, 8, 8, 8]


@pytest.mark.parametrize("running", [1, 2])
def test_memory_that_stays_short_takes_the_newest_worker_back_but_never_the_last(running: int) -> None:
    node, short = room(), machine_state(available=1.0)
    assert node.must_go(short, running, 0.0) is None
    assert node.must_go(short, running, TIGHT_SECONDS / 2) is None
    why = node.must_go(short, running, TIGHT_SECONDS)
    if running == 1:
        assert why is None
    else:
        assert why is not None
        assert why.startswith("1.00 GiB of memory are left")
        assert workers(node, now=TIGHT_SECONDS) == 1
        assert node.must_go(short, running, TIGHT_SECONDS + 1.0) is None  # it takes a while to leave


def test_memory_that_was_short_for_a_moment_takes_nothing() -> None:
    node = room()
    node.must_go(machine_state(available=1.0), 2, 0.0)
    assert node.must_go(machine_state(), 2, 1.0) is None
    assert node.must_go(machine_state(available=1.0), 2, TIGHT_SECONDS) is None
