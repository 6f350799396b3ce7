"""The devices of a run: what is asked for, what is visible, what torch can use, and what is said where it differs."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from forge_tui.errors import UsageError
from forge_tui.resources.devices import DeviceChoice, TorchDevices, choose_devices, is_torch_asked
from forge_tui.resources.gpus import Gpu

UUIDS = ("GPU-aa11-0", "GPU-aa22-0", "GPU-bb33-0")
FAST, SLOW = "NVIDIA H100", "NVIDIA T4"
THREE = tuple(
    Gpu(index, name, 80 * 2**30, 0, uuid=uuid)
    for index, (uuid, name) in enumerate(zip(UUIDS, (SLOW, FAST, FAST), strict=True))
)
# CUDA begins with the fastest one, and torch leaves out the kind.
TORCH = TorchDevices(("aa22-0", "bb33-0", "aa11-0"))
NO_CUDA = TorchDevices(problem="Torch not compiled with CUDA enabled")
MIG = tuple(Gpu(0, "NVIDIA A100 MIG 1g.5gb", 5 * 2**30, 0, uuid=f"MIG-{one}", parent="GPU-aa11-0") for one in "123")


def test_auto_without_a_gpu_is_the_cpu_and_asks_nobody():
    assert choose_devices("auto", (), None, {}) == DeviceChoice("cpu", (), "the CPU: no GPU was found")
    assert not is_torch_asked("auto", ())
    assert not is_torch_asked("cpu", THREE)
    assert all(is_torch_asked(wanted, ()) for wanted in ("cuda", "mps", ("0",)))
    assert is_torch_asked("auto", THREE)
    assert not any(is_torch_asked(wanted, THREE, trains_with_torch=False) for wanted in ("auto", "cuda", "mps", ("0",)))


def test_auto_takes_the_gpus_that_torch_can_use_in_cudas_order():
    choice = choose_devices("auto", THREE, TORCH, {})
    assert (choice.kind, choice.uuids) == ("cuda", ("GPU-aa22-0", "GPU-bb33-0", "GPU-aa11-0"))
    assert choice.reason == "3 GPUs: 2 × NVIDIA H100, NVIDIA T4"


def test_auto_is_the_cpu_where_torch_cannot_use_the_gpu():
    choice = choose_devices("auto", THREE, NO_CUDA, {})
    assert (choice.kind, choice.uuids) == ("cpu", ())
    assert choice.reason == "the CPU: torch cannot use the GPUs: Torch not compiled with CUDA enabled"


def test_auto_is_the_cpu_where_the_environment_hides_all():
    choice = choose_devices("auto", THREE, TorchDevices(), {"CUDA_VISIBLE_DEVICES": ""})
    assert (choice.kind, choice.reason) == ("cpu", "the CPU: CUDA_VISIBLE_DEVICES= hides all 3 GPUs")


def test_a_command_has_what_the_driver_shows_whatever_torch_here_can_do():
    assert choose_devices("auto", THREE, None, {}).uuids == UUIDS
    assert choose_devices(("1",), THREE, None, {"CUDA_VISIBLE_DEVICES": "2,0"}).uuids == ("GPU-aa11-0",)
    with pytest.raises(UsageError, match="CUDA_VISIBLE_DEVICES=9 hides all 3 GPUs"):
        choose_devices("cuda", THREE, None, {"CUDA_VISIBLE_DEVICES": "9"})


def test_what_torch_sees_counts_where_the_variable_is_of_a_kind_that_only_cuda_reads():
    environment = {"CUDA_VISIBLE_DEVICES": "MIG-GPU-aa11/1/0"}
    assert choose_devices("auto", MIG, TorchDevices(("2",)), environment).uuids == ("MIG-2",)


def test_auto_never_takes_apples_gpu():
    assert choose_devices("auto", (), TorchDevices(mps=True), {}).kind == "cpu"


def test_torch_knows_which_index_the_environment_means():
    # Index 0 is the fastest GPU, which is NVML's 1.
    choice = choose_devices("auto", THREE, TorchDevices(("aa22-0",)), {"CUDA_VISIBLE_DEVICES": "0"})
    assert choice.uuids == ("GPU-aa22-0",)
    assert choice.reason == "1 GPU: NVIDIA H100 (CUDA_VISIBLE_DEVICES=0 leaves 1 of 3 visible)"


def test_cuda_is_refused_where_it_cannot_be():
    with pytest.raises(UsageError, match="--device cuda: no GPU was found; use --device cpu"):
        choose_devices("cuda", (), None, {})
    with pytest.raises(UsageError, match="Torch not compiled with CUDA enabled"):
        choose_devices("cuda", THREE, NO_CUDA, {})
    with pytest.raises(UsageError, match="hides all 3 GPUs"):
        choose_devices("cuda", THREE, NO_CUDA, {"CUDA_VISIBLE_DEVICES": "-1"})


def test_a_gpu_that_only_torch_knows_is_used():
    choice = choose_devices("cuda", (), TorchDevices(("aa22-0",)), {})
    assert (choice.kind, choice.uuids) == ("cuda", ("GPU-aa22-0",))


def test_a_failing_gpu_is_left_out_and_named():
    gpus = (THREE[0], replace(THREE[1], problem="the driver has lost it"), THREE[2])
    choice = choose_devices("auto", gpus, TORCH, {})
    assert choice.uuids == ("GPU-bb33-0", "GPU-aa11-0")
    assert choice.reason.endswith("; without GPU 1 (GPU-aa22-0): the driver has lost it")
    failing = [replace(gpu, problem="lost") for gpu in THREE]
    assert choose_devices("auto", failing, TORCH, {}).kind == "cpu"
    with pytest.raises(UsageError, match=r"GPU 1 .*lost"):
        choose_devices("cuda", failing, TORCH, {})
    with pytest.raises(UsageError, match=r"--device 0: GPU 1 \(GPU-aa22-0\) cannot be used: lost; leave it out"):
        choose_devices(("0",), failing, TORCH, {})


def test_a_list_has_cudas_indices_and_beginnings_of_uuids():
    assert choose_devices((0, "2"), THREE, TORCH, {}).uuids == ("GPU-aa22-0", "GPU-aa11-0")
    assert choose_devices(("GPU-bb", "gpu-AA2"), THREE, TORCH, {}).uuids == ("GPU-bb33-0", "GPU-aa22-0")
    assert choose_devices(("0", "GPU-aa22-0"), THREE, TORCH, {}).uuids == ("GPU-aa22-0",)


def test_a_list_selects_of_the_visible_ones():
    two = TorchDevices(("bb33-0", "aa11-0"))
    environment = {"CUDA_VISIBLE_DEVICES": "2,0"}
    assert choose_devices(("0",), THREE, two, environment).uuids == ("GPU-bb33-0",)
    with pytest.raises(UsageError, match=r"CUDA_VISIBLE_DEVICES=2,0 hides GPU-aa22-0; there are 0 \(GPU-bb33-0, NVID"):
        choose_devices(("GPU-aa22",), THREE, two, environment)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (
            ("5",),
            r"--device 5: there is no GPU 5; there are 0 \(GPU-aa22-0, NVIDIA H100\), 1 \(GPU-bb33-0, NVIDIA H100",
        ),
        (("GPU-zz",), r"no UUID begins with GPU-zz; there are 0 \(GPU-aa22-0"),
        (("GPU-aa",), r"GPU-aa fits 2 GPUs \(GPU-aa22-0, GPU-aa11-0\); give more of the UUID"),
        ((), "the list is empty"),
        ("tpu", "--device tpu: give auto, cpu, cuda, mps, or a list"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(wanted, words):
    with pytest.raises(UsageError, match=words):
        choose_devices(wanted, THREE, TORCH, {})


def test_a_list_is_refused_where_torch_cannot_use_gpus():
    with pytest.raises(UsageError, match="--device 0,1: torch cannot use the GPUs: Torch not compiled"):
        choose_devices((0, 1), THREE, NO_CUDA, {})


def test_all_mig_instances_are_the_runs_although_a_process_sees_one():
    assert choose_devices("auto", MIG, TorchDevices(("1",)), {}).uuids == ("MIG-1", "MIG-2", "MIG-3")
    assert choose_devices((2, 0), MIG, TorchDevices(("1",)), {}).uuids == ("MIG-3", "MIG-1")
    limited = {"CUDA_VISIBLE_DEVICES": "MIG-3,MIG-2"}
    assert choose_devices("auto", MIG, TorchDevices(("3",)), limited).uuids == ("MIG-3", "MIG-2")


def test_a_command_may_use_apples_gpu_on_a_mac(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert choose_devices("mps", (), None, {}) == DeviceChoice("mps", (), "Apple's GPU: --device mps")


def test_apples_gpu_is_used_when_asked_for_and_there():
    assert choose_devices("mps", (), TorchDevices(mps=True), {}).kind == "mps"
    for devices in (None, TorchDevices(problem="no CUDA")):
        with pytest.raises(UsageError, match="--device mps: torch cannot use Apple's GPU here"):
            choose_devices("mps", (), devices, {})


def test_the_cpu_is_what_was_asked_for():
    assert choose_devices("cpu", THREE, None, {}) == DeviceChoice("cpu", (), "the CPU: --device cpu")
