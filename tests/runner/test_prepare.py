"""The devices of a run: chosen once by kind, kept by a resume, enough for each model."""

from __future__ import annotations

from typing import Any

import pytest
from gpu_server import GpuServer
from stage import machine_state

from forge_tui.errors import UsageError
from forge_tui.resources.devices import DeviceChoice, TorchDevices
from forge_tui.runner import prepare
from forge_tui.runner.autotune import NO_GPU_HERE, unmeasured
from forge_tui.runner.prepare import DeviceEstimate, allowed_workers, choose_devices, device_costs
from forge_tui.settings.schema import Settings, from_plain

SERVER = GpuServer((80.0, 80.0))
MACHINE = machine_state(cpu_count=32, gpus=SERVER.figures())
TORCH = TorchDevices(SERVER.uuids)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is wanted of `resources.devices.choose_devices`, which refuses one device."""
    wanted: list[Any] = []

    def choose(one: Any, *_: Any) -> DeviceChoice:
        wanted.append(one)
        if one == ["GPU-gone"]:
            raise UsageError("GPU-gone: there is no such device")
        if one == "mps":
            raise UsageError("--device mps: torch cannot use Apple's GPU here")
        if one == "none":
            return DeviceChoice("cpu", reason="the CPU: no GPU was found")
        return DeviceChoice("cuda", SERVER.uuids[:1] if isinstance(one, list) else SERVER.uuids, "as set")

    monkeypatch.setattr(prepare.devices, "choose_devices", choose)
    return wanted


def with_device(device: Any, **rules: Any) -> Settings:
    settings = from_plain({"resources": rules, "training": {"train": "mine.py:train"}})
    settings.resources.device = device
    return settings


def test_a_resume_keeps_the_kind_of_device_whatever_is_there_now(asked: list[Any]) -> None:
    assert choose_devices(with_device("auto"), MACHINE, TORCH, "cpu") == DeviceChoice(
        "cpu", reason="the CPU, as at the start of the run"
    )
    assert asked == []
    assert choose_devices(with_device("auto"), MACHINE, TORCH, "cuda").kind == "cuda"
    assert asked == ["auto"]
    asked.clear()
    # Devices that were named and are gone are replaced by others of the kind; a start is refused.
    others = choose_devices(with_device(["GPU-gone"]), MACHINE, TORCH, "cuda")
    assert others.uuids == SERVER.uuids
    assert others.reason == "as set, instead of those at the start (GPU-gone: there is no such device)"
    assert asked == [["GPU-gone"], "auto"]
    with pytest.raises(UsageError, match=r"^--device mps: torch cannot use Apple's GPU here"):
        choose_devices(with_device("auto"), MACHINE, TORCH, "mps")
    with pytest.raises(UsageError, match="no such device"):
        choose_devices(with_device(["GPU-gone"]), MACHINE, TORCH)


def test_a_resume_without_a_gpu_of_the_run_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    none = DeviceChoice("cpu", reason="the CPU: no GPU was found")
    monkeypatch.setattr(prepare.devices, "choose_devices", lambda *_: none)
    with pytest.raises(UsageError) as refused:
        choose_devices(with_device("auto"), MACHINE, TORCH, "cuda")
    assert str(refused.value) == (
        "the run was started on cuda, and its results depend on that: here it would train on the CPU: no GPU was "
        "found. Resume it where there is one, or start a new run"
    )


def test_fewer_devices_than_a_model_takes_are_refused(asked: list[Any]) -> None:
    with pytest.raises(UsageError, match=r"resources.devices_per_model = 2: the run has 1 GPU \(as set\); give a sma"):
        choose_devices(with_device([SERVER.uuid(0)], devices_per_model=2), MACHINE, TORCH)
    with pytest.raises(UsageError, match=r"= 2: the run has no GPU \(the CPU: no GPU was found\)"):
        choose_devices(with_device("none", devices_per_model=2), MACHINE, TORCH)
    assert choose_devices(with_device("auto", devices_per_model=2), MACHINE, TORCH).uuids == SERVER.uuids


def test_others_work_at_the_start_does_not_leave_one_worker_with_all_cpus_for_the_whole_run() -> None:
    settings = from_plain(
        {
            "training": {"train": "mine.py:train", "training_mode": "parallel", "max_parallel_workers": 2},
            "run": {"models": 9},
        }
    )
    busy = machine_state(others=95.0, cpu_count=32, gpus=SERVER.figures())
    limit = allowed_workers(settings, busy, uuids=SERVER.uuids)
    assert (limit.workers, limit.limited_by, limit.threads_allowed) == (1, "busy", 16)
    threads = unmeasured(settings, prepare.lasting(limit, settings, busy)).threads
    assert threads == 8
    idle = machine_state(cpu_count=32, gpus=SERVER.figures())
    assert allowed_workers(settings, busy, threads=threads, uuids=SERVER.uuids).workers == 1
    assert allowed_workers(settings, idle, threads=threads, uuids=SERVER.uuids).workers == 2
    unlimited = allowed_workers(settings, idle, uuids=SERVER.uuids)
    assert prepare.lasting(unlimited, settings, idle) is unlimited


def test_cpus_per_model_bounds_the_workers_and_gives_each_process_its_threads() -> None:
    settings = from_plain(
        {
            "resources": {"cpus_per_model": 8, "devices_per_model": 2, "policy": "dedicated"},
            "training": {"train": "mine.py:train", "training_mode": "parallel", "max_parallel_workers": 9},
            "run": {"models": 9},
        }
    )
    limit = allowed_workers(settings, MACHINE, uuids=SERVER.uuids)
    assert (limit.workers, limit.limited_by) == (4, "cpu")  # 32 CPUs
    chosen = unmeasured(settings, limit)
    assert (chosen.threads, chosen.reasons) == (
        4,
        (("threads", "4 threads per worker for each of 2 devices: 8 CPUs per model"),),
    )
    assert prepare.cpus_of(settings, chosen.threads) == 8
    assert prepare.cpus_of(Settings(), 3) == 3


def test_on_gpus_the_machines_memory_is_measured_and_workers_are_bounded_by_the_gpus() -> None:
    settings = from_plain(
        {
            "training": {"training_mode": "parallel", "max_parallel_workers": 40},
            "run": {"models": 40},
            "engine": {"fuse": 1},
        }
    )
    small = machine_state(cpu_count=128, memory_gb=64.0, gpus=SERVER.figures())
    assert allowed_workers(settings, small).workers == 8  # 8 GiB for each
    on_gpus = allowed_workers(settings, small, uuids=SERVER.uuids)
    assert (on_gpus.workers, on_gpus.limited_by) == (16, "devices")
    assert "GPU limit: at most 8 workers on each of 2 GPUs" in on_gpus.reason
    set_size = from_plain(
        {
            "training": {"training_mode": "parallel", "max_parallel_workers": 40}, "run": {"models": 40},
            "engine": {"fuse": 1}, "resources": {"memory_per_worker_gb": 16.0},
        }
    )  # fmt: skip
    assert allowed_workers(set_size, small, uuids=SERVER.uuids).workers == 4


def test_a_groups_cost_is_estimated_by_the_shape_of_its_models() -> None:
    costs = device_costs({"small": DeviceEstimate(1_000, 100)})
    assert costs.need(("small", 1)).memory == 1_500 + (600 << 20)
    assert costs.need(("small", 11)).memory == 3_000 + (600 << 20)
    assert costs.need(("large", 1)).memory is None


def test_for_nodes_of_a_cluster_data_and_model_are_looked_at_on_what_this_machine_has(asked: list[Any]) -> None:
    named = with_device(["GPU-gone"])
    assert prepare.devices_here(named, MACHINE, TORCH).uuids == SERVER.uuids
    assert asked == ["auto"]  # the GPUs that are named are of other machines
    few = prepare.devices_here(with_device("auto", devices_per_model=3), MACHINE, TORCH)
    assert (few.kind, few.uuids) == ("cpu", ())
    assert "the run has 2 GPUs" in few.reason
    asked.clear()
    assert prepare.anywhere(with_device("cpu")).resources.device == "cpu"


def test_what_cannot_be_measured_here_gets_all_threads_and_the_group_that_is_set() -> None:
    settings = from_plain({"training": {"training_mode": "parallel", "max_parallel_workers": 4}, "run": {"models": 8},
                           "engine": {"fuse": 4}, "resources": {"policy": "dedicated"}})  # fmt: skip
    found = unmeasured(settings, allowed_workers(settings, MACHINE), NO_GPU_HERE)
    assert (found.threads, found.fuse) == (16, 4)
    (reason,) = found.reasons
    assert reason[1].endswith("; nothing is measured, as this machine has no GPU like the nodes")
