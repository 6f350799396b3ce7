"""Which GPUs of a cluster's nodes a run gets, and what is said where there are none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from forge_tui.errors import UsageError
from forge_tui.resources.devices import DeviceChoice
from forge_tui.resources.gpus import Gpu, GpuProcess
from forge_tui.resources.node_devices import DeviceRule, NodeDevices, device_rule


def node(name: str, count: int = 0, *, given: int | None = None, mig: bool = False, why: str = "") -> NodeDevices:
    kind = "MIG" if mig else "GPU"
    gpus = tuple(
        Gpu(index, "Test 80", 80 << 30, 0, uuid=f"{kind}-{name}{index}", parent=f"GPU-{name}" if mig else None)
        for index in range(count)
    )
    uuids = () if why else tuple(gpu.uuid for gpu in gpus)
    choice = DeviceChoice(
        "cuda" if uuids else "cpu", uuids, why or f"{count} GPUs" if gpus else "the CPU: no GPU was found"
    )
    return NodeDevices(name, gpus, choice, count if given is None else given)


A, B, C = node("a", 2), node("b", 1), node("c")
BROKEN = node("d", 1, why="the CPU: torch cannot use the GPU: torch 2.9.1 is built without CUDA")


def test_auto_takes_the_gpus_where_any_node_has_one_and_says_which_node_has_none() -> None:
    rule, reason = device_rule("auto", (C, A, B, BROKEN), 1)
    assert rule == DeviceRule("cuda")
    assert [rule.of(one) for one in (A, B, C, BROKEN)] == [("GPU-a0", "GPU-a1"), ("GPU-b0",), (), ()]
    assert reason == (
        "3 GPUs: 2 × Test 80 on a, Test 80 on b; not on c: no GPU was found; "
        "d: torch cannot use the GPU: torch 2.9.1 is built without CUDA"
    )
    assert rule.why_not(A) is None
    assert rule.why_not(C) == "the run trains on GPUs, and here no GPU was found"


def test_auto_takes_the_cpus_where_no_node_has_a_gpu_that_works() -> None:
    assert device_rule("auto", (C,), 1) == (DeviceRule("cpu"), "")
    rule, reason = device_rule("auto", (C, BROKEN), 1)
    assert rule.kind == "cpu"
    assert reason.startswith("the CPU: c: no GPU was found; d: torch cannot use the GPU")
    assert [rule.of(A), rule.why_not(C)] == [(), None]


def test_cpu_uses_all_nodes_and_no_gpu() -> None:
    rule, _ = device_rule("cpu", (A, C), 1)
    assert [rule.of(A), rule.why_not(A), rule.why_not(C)] == [(), None, None]


def test_gpus_that_a_node_has_not_given_to_ray_are_not_used() -> None:
    rule, reason = device_rule("auto", (node("a", 2, given=0), B), 1)
    assert rule.of(node("a", 2, given=0)) == ()
    assert "not on a: Ray has none of its GPUs there (`ray start --num-gpus`)" in reason


@pytest.mark.parametrize(
    ("wanted", "per_model", "nodes", "said"),
    [
        ("cuda", 1, (C,), r"--device cuda: no node has a GPU for it \(c: no GPU was found\); use --device cpu"),
        ("cuda", 1, (BROKEN,), "d: torch cannot use the GPU: torch 2.9.1 is built without CUDA"),
        ("auto", 2, (B, C), r"devices_per_model = 2: no node has so many for a model \(b: Ray has only 1 of its GPUs"),
        ("cuda", 2, (node("m", 2, mig=True),), r"2 GPUs are there, and a model is to have 2 that are not divided"),
        (("GPU-x",), 1, (A,), "--device GPU-x: no UUID of a GPU on the nodes begins with GPU-x; there are GPU-a0 of"),
        (("GPU-a",), 1, (A,), "GPU-a fits 2 GPUs; give more of the UUID"),
        (("GPU-b",), 1, (C,), r"no node has a GPU that can be used \(c: no GPU was found\)"),
        (("GPU-a0", "GPU-b0"), 2, (A, B), "--device GPU-a0,GPU-b0: b: Ray has only 1 of its GPUs there"),
        (("GPU-a0", "GPU-e0"), 2, (A, node("e", 2)), "no node has 2 of them, which a model is to have"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_refused_in_words(
    wanted: str | tuple[str, ...], per_model: int, nodes: tuple[NodeDevices, ...], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        device_rule(wanted, nodes, per_model)


def test_a_list_names_gpus_of_any_nodes_and_the_others_train_nothing() -> None:
    rule, reason = device_rule(("gpu-a1", "GPU-b"), (A, B, node("e", 2)), 1)
    assert [rule.of(one) for one in (A, B, node("e", 2))] == [("GPU-a1",), ("GPU-b0",), ()]
    assert reason == "2 GPUs: Test 80 on a, Test 80 on b"
    assert rule.why_not(node("e", 2)) == "it has none of the GPUs in --device, or fewer of them than a model is to have"
    assert rule.why_not(C) == "the run trains on GPUs, and here no GPU was found"


def test_models_with_several_gpus_go_to_nodes_that_have_as_many() -> None:
    rule, reason = device_rule("auto", (A, B), 2)
    assert [rule.of(A), rule.of(B)] == [("GPU-a0", "GPU-a1"), ()]
    assert reason.endswith("not on b: Ray has only 1 of its GPUs there (`ray start --num-gpus`)")


def test_a_resumed_run_keeps_its_kind_of_device() -> None:
    assert device_rule("auto", (A,), 1, "cpu") == (DeviceRule("cpu"), "the CPU, as at the start of the run")
    assert device_rule("auto", (A,), 1, "cuda")[0] == DeviceRule("cuda")
    rule, reason = device_rule(("GPU-gone",), (A,), 1, "cuda")
    assert rule == DeviceRule("cuda")
    assert reason.startswith("2 GPUs: 2 × Test 80 on a, instead of those at the start (--device GPU-gone: no UUID")
    with pytest.raises(UsageError, match=r"started on cuda, .* no node has a GPU for it \(c: no GPU was found\)"):
        device_rule("auto", (C,), 1, "cuda")
    with pytest.raises(UsageError, match="started on mps"):
        device_rule("auto", (A,), 1, "mps")


def test_a_gpu_comes_back_from_its_record_as_it_was() -> None:
    gpu = replace(A.gpus[0], processes=(GpuProcess(7, None), GpuProcess(8, 1 << 30)), problem="lost")
    assert Gpu.from_record(gpu.to_record()) == gpu
    assert Gpu.from_record(B.gpus[0].to_record()) == B.gpus[0]
