"""Which GPUs a worker sees, what torch is asked about them, and that the fork server leaves CUDA alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from forge_tui.protocol.job import Control, Job
from forge_tui.resources.policy import CONTEXT_BYTES
from forge_tui.settings.schema import from_plain
from forge_tui.training import process
from forge_tui.training.data.load import load_dataset
from forge_tui.training.failures import is_out_of_memory
from forge_tui.training.state import SingleState
from forge_tui.worker import inspection, torch_devices
from forge_tui.worker.inspection import Probe
from forge_tui.worker.memory_estimate import estimate_device_memory
from forge_tui.worker.memory_meter import MemoryMeter
from forge_tui.worker.torch_devices import find_devices, is_built_for
from forge_tui.worker.visible_devices import see_only

PRELOADS = """
import torch

def refuse(*_, **__):
    raise SystemExit("the fork server has touched CUDA")

for name in ("init", "_lazy_init", "is_available", "device_count", "current_device", "get_device_properties"):
    setattr(torch.cuda, name, refuse)
from forge_tui.settings.replacement import Trains
from forge_tui.worker.fork_server import _make_ready, _preload
_preload(Trains.FUNCTION)
_make_ready({"ahead": "spare", "jobs": [{"threads": 1}]}, Trains.MODEL)
print("untouched", torch.cuda.is_initialized())
"""


def test_a_worker_sees_only_its_own_gpus_and_without_any_nothing_is_changed() -> None:
    environment = {"CUDA_VISIBLE_DEVICES": "0,1", "PATH": "/bin"}
    see_only((), environment)
    assert environment == {"CUDA_VISIBLE_DEVICES": "0,1", "PATH": "/bin"}
    see_only(["GPU-b", "GPU-a"], environment)
    assert environment == {"CUDA_VISIBLE_DEVICES": "GPU-b,GPU-a", "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "PATH": "/bin"}


def test_what_the_fork_server_imports_and_a_spare_worker_does_touches_no_cuda() -> None:
    done = subprocess.run([sys.executable, "-c", PRELOADS], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.returncode) == ("untouched False\n", 0), done.stderr


def test_a_torch_without_cuda_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    found = find_devices()
    assert (found["uuids"], found["problem"]) == ([], f"torch {torch.__version__} is built without CUDA")


def with_cuda(monkeypatch: pytest.MonkeyPatch, *devices: Any) -> None:
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(devices))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: devices[number])
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80", "sm_90"])


def test_devices_are_found_by_uuid_in_cudas_order_without_those_that_torch_has_no_kernels_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    new = SimpleNamespace(major=9, minor=0, uuid="n", name="H100")
    old = SimpleNamespace(major=6, minor=1, uuid="o", name="GTX 1080")
    with_cuda(monkeypatch, old, new)
    assert (find_devices()["uuids"], find_devices()["problem"]) == (["n"], None)
    with_cuda(monkeypatch, old)
    assert find_devices()["problem"] == f"torch {torch.__version__} has no kernels for GTX 1080 (6.1)"
    with_cuda(monkeypatch)
    assert find_devices()["problem"] == "CUDA shows no device"


def test_a_driver_that_does_not_start_is_a_reason_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise RuntimeError("The NVIDIA driver on your system\nis too old")

    with_cuda(monkeypatch)
    monkeypatch.setattr(torch_devices.torch.cuda, "init", fails)
    assert find_devices()["problem"] == "CUDA does not start (The NVIDIA driver on your system is too old)"


@pytest.mark.parametrize(
    ("capability", "built_for", "suits"),
    [
        ((8, 6), ["sm_80"], True),
        ((8, 0), ["sm_86"], False),
        ((9, 0), ["sm_80"], False),
        ((9, 0), ["sm_80", "compute_80"], True),
        ((12, 0), ["sm_90a", "sm_120"], True),
        ((6, 1), ["sm_75", "compute_75"], False),
        ((9, 0), [], True),
    ],
)
def test_kernels_run_on_later_devices_of_the_same_major_version_and_ptx_on_all_later_ones(
    capability: tuple[int, int], built_for: list[str], suits: bool
) -> None:
    assert is_built_for(capability, built_for) is suits


def test_a_measurement_waits_for_the_device_before_and_after_each_turn(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without waiting, a clock measures how fast steps are given to a GPU, not how fast it does them."""
    waits: list[int] = []
    probe = Probe(make_job())
    candidate = inspection._Candidate(
        probe._settings, probe._dataset, 1, torch.device("cpu"), probe._own, (1, 1, False), ()
    )
    candidate.take_turn(0.01)
    assert waits == []  # on the CPU, CPU time counts
    clock = iter(range(1_000))

    def synchronize(device: torch.device) -> None:
        assert device.type == "cuda"
        waits.append(next(clock))

    monkeypatch.setattr(inspection, "synchronize", synchronize)
    candidate._device = torch.device("cuda")
    turn = candidate._train(*candidate._built(), 0.01)
    assert len(waits) == 2
    assert turn.used == pytest.approx(turn.passed, rel=0.5)
    candidate.validation_seconds()
    assert len(waits) == 4


def test_waiting_and_giving_back_memory_do_nothing_on_the_cpu_and_ask_cuda_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called: list[Any] = []
    monkeypatch.setattr(torch.cuda, "synchronize", called.append)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: called.append("empty"))
    for device in (torch.device("cpu"), torch.device("cuda")):
        process.synchronize(device)
        process.give_back_memory(device)
    assert called == [torch.device("cuda"), "empty"]


def test_a_pause_gives_the_devices_unused_memory_back(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    from forge_tui.training import trainer

    given: list[torch.device] = []
    monkeypatch.setattr(trainer, "give_back_memory", given.append)
    made = trainer.Trainer([make_job()], lambda event: None, Control())
    made._hold(True)
    made._hold(False)
    assert given == [torch.device("cpu")]


def test_the_memory_of_a_gpu_is_the_largest_peak_of_its_devices_and_the_context(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reserved = [3_000, 5_000]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda number: reserved[number])
    meter = MemoryMeter("cuda")
    first = meter.grown()
    assert first is not None
    assert "gpu_memory" not in first  # CUDA has not started
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    second = meter.grown()
    assert second is not None
    assert second["gpu_memory"] == 5_000 + CONTEXT_BYTES
    reserved[0] = 10_000
    third = meter.grown()
    assert third is not None
    assert third["gpu_memory"] == 10_000 + CONTEXT_BYTES


@pytest.mark.parametrize(
    ("optimizer", "tensors"), [("sgd", 2), ("adamw", 4)], ids=["gradients", "gradients and two moments"]
)
def test_the_estimate_for_a_device_has_the_data_and_of_each_model_weights_gradients_and_moments(
    optimizer: str, tensors: int, tmp_path: Any
) -> None:
    settings = from_plain(
        {"training": {"optimizer": optimizer, "model_size": 500_000, "batch_size": 1}, "data": {"samples": 1_000}}
    )
    dataset = load_dataset(settings, tmp_path)
    network = SingleState(settings.training, dataset, 1, torch.device("cpu")).network
    first, further = estimate_device_memory(settings.training, dataset, network)
    weights = 4 * sum(parameter.numel() for parameter in network.body.parameters())
    data = sum(part.nbytes for part in (dataset.train_inputs, dataset.train_targets) if isinstance(part, torch.Tensor))
    assert first >= 2 * data + tensors * weights
    assert tensors * weights <= further <= (tensors + 2.5) * weights


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), False),
        (ValueError("CUDA out of memory"), False),
    ],
)
def test_a_lack_of_a_devices_memory_is_recognised_in_all_its_words(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected
