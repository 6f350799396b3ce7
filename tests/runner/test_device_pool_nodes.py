"""Devices on the nodes of a cluster: one node for each worker, and what comes and goes with a node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gpu_server import GpuServer

from forge_tui.resources.gpus import Gpu
from forge_tui.resources.policy import GIB
from forge_tui.runner.device_costs import Need
from forge_tui.runner.device_figures import DeviceLoad, Held, Placed, Waiting
from forge_tui.runner.device_pool import DevicePool

SMALL = (Waiting("planner_1", Need(5 * GIB)),)


class Nodes:
    """Nodes by name, each with GPUs of so many GiB, and the pool that sees them."""

    def __init__(self, *, per_model: int = 1, shared: bool = False, **totals: tuple[float, ...]) -> None:
        self.servers = {name: GpuServer(each) for name, each in totals.items()}
        self.pool = DevicePool((), per_model=per_model, reserve=0.05, shared=shared)
        self.here = list(totals)
        self.follow()

    def figures(self, name: str) -> tuple[Gpu, ...]:
        return tuple(replace(gpu, uuid=f"GPU-{name}{gpu.index}") for gpu in self.servers[name].figures())

    def follow(self) -> None:
        hosts = {gpu.uuid: name for name in self.here for gpu in self.figures(name)}
        self.pool.have(tuple(hosts), hosts)
        for name in self.here:
            self.see(name)

    def see(self, name: str, *loads: DeviceLoad) -> dict[str, str]:
        return self.pool.see(self.figures(name), loads, 0.0, name)

    def choose(self, *loads: DeviceLoad, waiting: Sequence[Waiting] = SMALL, **closed: str) -> Placed | Held:
        there = {f"GPU-{name}": why for name, why in closed.items()}
        return self.pool.choose(waiting, loads, (), there)


def devices(found: Placed | Held) -> tuple[str, ...]:
    assert isinstance(found, Placed), found
    return found.devices


def test_a_worker_goes_to_the_emptiest_device_of_any_node_and_the_reason_names_the_node() -> None:
    nodes = Nodes(a=(80.0,), b=(80.0, 40.0))
    first = nodes.choose()
    assert devices(first) == ("GPU-a0",)
    assert isinstance(first, Placed)
    assert first.reason.startswith("planner_1 on GPU 0 (GPU-a0) of a: 76.00 GiB are left")
    there = DeviceLoad(("GPU-a0",), Need(5 * GIB))
    assert devices(nodes.choose(there)) == ("GPU-b0",)


def test_several_devices_of_a_worker_are_never_of_two_nodes() -> None:
    nodes = Nodes(per_model=2, a=(80.0,), b=(40.0, 40.0), c=(24.0, 24.0))
    first = nodes.choose()
    assert devices(first) == ("GPU-b0", "GPU-b1")
    assert devices(nodes.choose(DeviceLoad(("GPU-b0", "GPU-b1"), Need(5 * GIB)))) == ("GPU-c0", "GPU-c1")
    held = nodes.choose(waiting=(Waiting("planner_1", Need(30 * GIB)),), b0="it is closed")
    assert isinstance(held, Held)
    assert "GPU 0 (GPU-b0) of b: it is closed" in held.reason
    assert not nodes.pool.has_larger(40 * GIB)  # one of 80 GiB is not two
    assert nodes.pool.has_larger(24 * GIB)


def test_a_closed_device_takes_nothing_however_empty_it_is() -> None:
    nodes = Nodes(a=(80.0,), b=(40.0,))
    assert devices(nodes.choose(a0="other jobs of the Ray cluster have it")) == ("GPU-b0",)
    held = nodes.choose(a0="other jobs have it", b0="other jobs have it")
    assert held == Held(
        "no room for planner_1, which needs 5.00 GiB (estimated, with a margin). "
        "GPU 0 (GPU-a0) of a, GPU 0 (GPU-b0) of b: other jobs have it"
    )


def test_what_has_gone_with_its_node_is_not_lost_and_comes_back_with_it() -> None:
    nodes = Nodes(a=(80.0,), b=(80.0,))
    nodes.here = ["b"]
    nodes.follow()
    assert nodes.pool.usable == ("GPU-b0",)
    nodes.here = []
    nodes.follow()
    assert (nodes.pool.stranded, nodes.pool.broken) == (None, {})
    held = nodes.choose()
    assert isinstance(held, Held)
    assert held.reason.endswith("No node with a GPU for it is there")
    nodes.here = ["a", "b"]
    nodes.follow()
    assert nodes.pool.usable == ("GPU-a0", "GPU-b0")


def test_a_device_that_its_driver_loses_is_out_until_its_node_has_a_new_agent() -> None:
    nodes = Nodes(a=(80.0, 80.0), b=(80.0,))
    nodes.servers["a"].problems[1] = "has fallen off the bus"
    assert nodes.see("b") == {}
    assert nodes.see("a") == {"GPU-a1": "GPU 1 (GPU-a1) of a: has fallen off the bus; nothing is placed on it any more"}
    nodes.servers["a"].gone.add(0)
    assert list(nodes.see("a")) == ["GPU-a0"]  # and not those of b, which a's driver does not show either
    assert nodes.pool.usable == ("GPU-b0",)
    nodes.servers["b"].problems[0] = "has fallen off the bus"
    nodes.see("b")
    assert nodes.pool.stranded is not None
    nodes.servers["a"] = GpuServer((80.0, 80.0))
    nodes.here = ["b"]
    nodes.follow()
    nodes.here = ["a", "b"]
    nodes.follow()
    assert nodes.pool.usable == ("GPU-a0", "GPU-a1")


def test_figures_of_one_node_do_not_make_a_workers_memory_on_another_one_somebody_elses() -> None:
    nodes = Nodes(shared=True, a=(80.0,), b=(80.0,))
    nodes.servers["a"].present["GPU-00000000-0000-0000-0000-000000000000"] = {7: 30.0}
    ours = DeviceLoad(("GPU-a0",), Need(30 * GIB, "measured"), {"GPU-a0": 30 * GIB})
    nodes.see("a", ours)
    nodes.see("b")  # the worker has ended, and a has not been looked at since
    assert devices(nodes.choose(b0="it is closed")) == ("GPU-a0",)
