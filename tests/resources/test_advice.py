"""What is advised beside GPUs: the same for Configure, the sidebar, `doctor` and Python."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from forge_tui.resources import installed_torch
from forge_tui.resources.advice import DevicesHere, devices_here, suggestion
from forge_tui.resources.devices import TorchDevices
from forge_tui.resources.doctor import doctor_text
from forge_tui.resources.gpus import Gpu
from forge_tui.resources.hardware import SystemResources
from forge_tui.resources.installed_torch import _without_cuda, torch_without_cuda
from forge_tui.resources.manager import ResourceManager
from forge_tui.resources.policy import DefaultThresholds, OnDevices
from forge_tui.tui.advice import Rules

GIB = 2**30
CARDS = tuple(Gpu(number, "Test 80", 80 * GIB, 0, uuid=f"GPU-{number}") for number in range(8))
INSTANCES = tuple(Gpu(0, "Test MIG", 10 * GIB, 0, uuid=f"MIG-{number}", parent="GPU-0") for number in range(4))
AUTO = DefaultThresholds()


@pytest.fixture
def torch_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed torch is built with CUDA."""
    monkeypatch.setattr(installed_torch, "torch_without_cuda", lambda: None)


@pytest.fixture
def torch_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed torch is built without CUDA."""
    none = TorchDevices(problem="torch 2.9.0+cpu is built without CUDA")
    monkeypatch.setattr(installed_torch, "torch_without_cuda", lambda: none)


@pytest.mark.usefixtures("torch_can")
def test_on_gpus_a_worker_for_each_is_suggested_whatever_8_gib_each_would_allow(
    resources: Callable[..., SystemResources],
) -> None:
    server = resources(64, 64.0, gpus=CARDS)
    found = devices_here(server, AUTO, {})
    assert found == DevicesHere(OnDevices(8), "8 GPUs: 8 × Test 80")
    assert (suggestion(server, AUTO, found).mode, suggestion(server, AUTO, found).workers) == ("parallel", 8)
    assert suggestion(server, AUTO, DevicesHere()).workers == 6  # on the CPU
    of_two = DefaultThresholds(devices_per_model=2)
    assert devices_here(server, of_two, {}).on == OnDevices(8, 2)
    few = DefaultThresholds(max_suggested_workers=3)
    assert suggestion(server, few, found).workers == 3


@pytest.mark.usefixtures("torch_can")
def test_the_environment_and_the_chosen_device_count(resources: Callable[..., SystemResources]) -> None:
    server = resources(64, 64.0, gpus=CARDS)
    assert devices_here(server, AUTO, {"CUDA_VISIBLE_DEVICES": "1,2"}).on == OnDevices(2)
    assert devices_here(server, DefaultThresholds(device=("0", "GPU-7")), {}).on == OnDevices(2)
    assert devices_here(server, DefaultThresholds(device="cpu"), {}) == DevicesHere()
    assert devices_here(resources(), AUTO, {}) == DevicesHere()
    refused = devices_here(server, DefaultThresholds(device=("9",)), {})
    assert refused.is_refused
    assert refused.reason.startswith("--device 9: there is no GPU 9")


@pytest.mark.usefixtures("torch_can")
def test_a_model_cannot_have_several_mig_instances(resources: Callable[..., SystemResources]) -> None:
    server = resources(64, 64.0, gpus=(*INSTANCES, *(card for card in CARDS if card.index)))
    assert devices_here(server, AUTO, {}).on == OnDevices(11)
    refused = devices_here(server, DefaultThresholds(devices_per_model=2), {})
    assert refused.is_refused
    assert refused.reason.startswith(
        "resources.devices_per_model = 2: CUDA shows a process only one MIG instance, and the run has such (11 GPUs"
    )
    whole = DefaultThresholds(devices_per_model=2, device=("GPU-1", "GPU-2"))
    assert devices_here(server, whole, {}).on == OnDevices(2, 2)


@pytest.mark.usefixtures("torch_cannot")
def test_a_torch_without_cuda_counts_except_for_a_command(resources: Callable[..., SystemResources]) -> None:
    server = resources(64, 64.0, gpus=CARDS)
    words = "the CPU: torch cannot use the GPUs: torch 2.9.0+cpu is built without CUDA"
    assert devices_here(server, AUTO, {}) == DevicesHere(None, words)
    assert devices_here(server, AUTO, {}, trains_with_torch=False).on == OnDevices(8)
    assert devices_here(server, DefaultThresholds(device="cuda"), {}).is_refused


@pytest.mark.usefixtures("torch_can")
def test_configure_sidebar_doctor_and_python_say_the_same(
    machine: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    manager = ResourceManager(machine(cpus=64, memory_gb=64.0, gpus=CARDS))
    found, report = manager.detect_system_resources(), manager.generate_resource_report()
    advised = report["recommendations"]
    assert (found.recommended_workers, advised["parallel_workers"]) == (8, 8)
    assert advised["devices"] == {"gpus": 8, "reason": "8 GPUs: 8 × Test 80", "refused": False}
    assert Rules().suggestion(found) == f"parallel, 8 workers: {advised['reason']}"
    most = advised["policies"]["shared"]["workers"]
    assert Rules().limit(found, 100, "parallel").workers == manager.worker_limit(100).workers == most == 32
    assert "trained on 8 GPUs: 8 × Test 80" in " ".join(doctor_text(report).split())


def test_a_torch_without_cuda_is_known_by_its_version_file(tmp_path: Path) -> None:
    import torch

    found = torch_without_cuda()
    assert (found is None) == (torch.version.cuda is not None)
    assert found is None or found.problem == f"torch {torch.__version__} is built without CUDA"
    file = tmp_path / "version.py"
    assert _without_cuda(file) is None
    file.write_text("__version__ = '2.9.0+cpu'\ncuda: Optional[str] = None\n")
    assert _without_cuda(file) == TorchDevices(problem="torch 2.9.0+cpu is built without CUDA")
    file.write_text("__version__ = '2.9.0'\ncuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n")
    assert _without_cuda(file) is None
