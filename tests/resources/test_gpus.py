"""What NVML says of GPUs: MIG instances, other containers, lost and failing GPUs, and drivers that lack something."""

from __future__ import annotations

import threading
import time

import pynvml
import pytest
from fake_nvml import GIB, NOT_AVAILABLE, Card, Instance, install

from forge_tui.resources.gpu_sampler import GpuSampler
from forge_tui.resources.gpus import Gpu, GpuProcess, GpuReader
from forge_tui.resources.hardware import detect
from forge_tui.resources.manager import ResourceManager

A, B, C = (f"GPU-{letter * 8}-0000-0000-0000-000000000000" for letter in "abc")


def test_everything_of_a_gpu_is_read(monkeypatch):
    card = Card(A, used=3 * GIB, busy=63, temperature=54, processes=[(4712, NOT_AVAILABLE), (4711, 2 * GIB)])
    install(monkeypatch, card)
    assert GpuReader().read() == (
        Gpu(
            0, "NVIDIA H100 80GB HBM3", 80 * GIB, 3 * GIB, 63.0, A, 54.0,
            (GpuProcess(4711, 2 * GIB), GpuProcess(4712, None)),
        ),
    )  # fmt: skip


def test_what_a_gpu_does_not_report_is_unknown(monkeypatch):
    install(monkeypatch, Card(A, name="NVIDIA GB10", total=None, busy=None, temperature=None, processes=None))
    (gpu,) = GpuReader().read()
    assert (gpu.memory_total, gpu.utilization_percent, gpu.temperature, gpu.processes) == (0, None, None, None)
    assert gpu.problem is None


@pytest.mark.parametrize("missing", ["nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetTemperature"])
def test_drivers_older_and_newer_are_read_by_the_functions_that_they_have(monkeypatch, missing):
    install(monkeypatch, Card(A, temperature=54, processes=[(4711, GIB)]), missing=(missing,))
    (gpu,) = GpuReader().read()
    assert (gpu.temperature, gpu.processes) == (54.0, (GpuProcess(4711, GIB),))


def test_mig_instances_take_the_place_of_their_gpu(monkeypatch):
    small = Instance("MIG-1", total=5 * GIB, used=GIB, processes=[(4711, GIB)])
    large = Instance("MIG-2", "NVIDIA A100-SXM4-40GB MIG 3g.20gb", 20 * GIB, 0)
    install(monkeypatch, Card(A), Card(B, busy=None, temperature=60, mig={0: small, 3: large}))
    whole, first, second = GpuReader().read()
    assert (whole.uuid, whole.parent) == (A, None)
    assert [(one.uuid, one.index, one.parent, one.memory_total, one.temperature) for one in (first, second)] == [
        ("MIG-1", 1, B, 5 * GIB, 60.0),
        ("MIG-2", 1, B, 20 * GIB, 60.0),
    ]
    assert (first.processes, first.utilization_percent) == ((GpuProcess(4711, GIB),), None)


def test_a_gpu_with_mig_on_and_no_instances_says_so(monkeypatch):
    install(monkeypatch, Card(A, mig={}))
    (gpu,) = GpuReader().read()
    assert gpu.uuid == A
    assert "MIG is on" in str(gpu.problem)


def test_a_gpu_of_another_container_is_left_out(monkeypatch):
    install(monkeypatch, Card(A, error=pynvml.NVML_ERROR_NO_PERMISSION), Card(B))
    assert [gpu.uuid for gpu in GpuReader().read()] == [B]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (pynvml.NVML_ERROR_GPU_IS_LOST, "fallen off the bus"),
        (pynvml.NVML_ERROR_RESET_REQUIRED, "must be reset"),
        (pynvml.NVML_ERROR_UNKNOWN, "Unknown Error"),
    ],
)
def test_a_gpu_that_is_lost_has_a_problem_and_keeps_its_identity(monkeypatch, error, words):
    fake = install(monkeypatch, Card(A), Card(B, used=GIB), Card(C))
    reader = GpuReader()
    reader.read()
    fake.cards[1].error = error
    first, lost, third = reader.read()
    assert (first.problem, third.problem) == (None, None)
    assert (lost.uuid, lost.index, lost.memory_total, lost.memory_free) == (B, 1, 80 * GIB, 0)
    assert words in str(lost.problem)
    fake.cards[1].error = 0
    assert reader.read()[1].problem is None


def test_a_gpu_that_was_lost_before_the_first_reading_has_no_name(monkeypatch):
    install(monkeypatch, Card(A, error=pynvml.NVML_ERROR_GPU_IS_LOST), Card(B))
    lost, other = GpuReader().read()
    assert (lost.name, lost.uuid, other.uuid) == ("unknown GPU", "", B)


def test_mig_instances_of_a_lost_gpu_are_all_lost(monkeypatch):
    fake = install(monkeypatch, Card(A, mig={0: Instance("MIG-1"), 1: Instance("MIG-2")}))
    reader = GpuReader()
    reader.read()
    fake.cards[0].error = pynvml.NVML_ERROR_GPU_IS_LOST
    assert [(gpu.uuid, gpu.problem is None) for gpu in reader.read()] == [("MIG-1", False), ("MIG-2", False)]


def test_a_gpu_that_is_no_longer_listed_has_a_problem(monkeypatch):
    fake = install(monkeypatch, Card(A), Card(B))
    reader = GpuReader()
    reader.read()
    del fake.cards[0]
    there, gone = reader.read()
    assert (there.uuid, gone.uuid, gone.problem) == (B, A, "the driver no longer lists it")


def test_a_gpu_that_is_divided_is_not_missed(monkeypatch):
    fake = install(monkeypatch, Card(A))
    reader = GpuReader()
    reader.read()
    fake.cards[0].mig = {0: Instance("MIG-1")}
    assert [gpu.uuid for gpu in reader.read()] == ["MIG-1"]
    fake.cards[0].error = pynvml.NVML_ERROR_GPU_IS_LOST
    assert [(gpu.uuid, gpu.problem is None) for gpu in reader.read()] == [("MIG-1", False)]
    fake.cards[0].error, fake.cards[0].mig = 0, None
    assert [(gpu.uuid, gpu.problem) for gpu in reader.read()] == [(A, None)]


@pytest.mark.parametrize(
    ("card", "words"),
    [
        (Card(A, remapped=(0, 1, 0, 1)), "remapping failed"),
        (Card(A, remapped=(0, 1, 1, 0)), "reset"),
        (Card(A, remapped=(1, 0, 1, 0)), None),
        (Card(A, remapped=(0, 2, 0, 0)), None),
        (Card(A, "Tesla V100", remapped=None, retirement_pending=1, uncorrected=2), "retired"),
        (Card(A, "Tesla V100", remapped=None, retirement_pending=1), None),
        (Card(A, "Tesla V100", remapped=None, uncorrected=2), None),
    ],
)
def test_uncorrectable_memory_errors_that_await_a_reset_are_a_problem(monkeypatch, card, words):
    install(monkeypatch, card)
    problem = GpuReader().read()[0].problem
    assert (problem is None) if words is None else (words in str(problem))


def test_nvml_stays_open_between_readings_until_it_is_closed(monkeypatch):
    fake = install(monkeypatch, Card(A))
    reader = GpuReader()
    reader.read()
    reader.read()
    assert (fake.inits, fake.opened) == (1, 1)
    reader.close()
    reader.close()
    assert fake.opened == 0
    reader.read()
    assert (fake.inits, fake.opened) == (2, 1)


def test_one_detection_leaves_nvml_closed(monkeypatch):
    fake = install(monkeypatch, Card(A))
    assert [gpu.uuid for gpu in detect(measure_usage=False, gpu_seconds=30.0).gpus] == [A]
    assert fake.opened == 0


def test_a_manager_keeps_nvml_open_only_while_it_monitors(monkeypatch):
    fake = install(monkeypatch, Card(A))
    manager = ResourceManager()
    assert [gpu["uuid"] for gpu in manager.generate_resource_report()["system_info"]["gpus"]] == [A]
    assert fake.opened == 0
    manager.start_monitoring(3600.0)
    manager.generate_resource_report()
    manager.generate_resource_report()
    assert (fake.inits, fake.opened) == (2, 1)
    manager.stop_monitoring()
    assert fake.opened == 0


def test_a_driver_that_does_not_answer_is_an_error_and_is_asked_anew(monkeypatch):
    fake = install(monkeypatch, Card(A))
    fake.init_error = pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH
    reader = GpuReader()
    with pytest.raises(OSError, match="version mismatch"):
        reader.read()
    fake.init_error = 0
    assert [gpu.uuid for gpu in reader.read()] == [A]


def test_no_library_is_no_gpu(monkeypatch):
    install(monkeypatch)
    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "CDLL", lambda name: (_ for _ in ()).throw(OSError(name)))
    assert GpuReader().read() == ()


def test_a_driver_that_hangs_is_waited_for_by_one_thread_and_keeps_its_last_answer(monkeypatch):
    fake = install(monkeypatch, Card(A))
    reader = GpuReader()
    sampler = GpuSampler(reader.read)
    sampler.begin()
    assert sampler.result(time.monotonic() + 30).problem is None
    fake.hangs = threading.Event()
    try:
        for _ in range(3):
            sampler.begin()
            answer = sampler.result(time.monotonic())
            assert ([gpu.uuid for gpu in answer.gpus], answer.problem) == ([A], "the driver did not answer in time")
        assert sum(thread.name == "forge-tui-gpus" for thread in threading.enumerate()) == 1
        reader.close()  # does not wait
        assert fake.opened == 1
    finally:
        fake.hangs.set()
    sampler.result(time.monotonic() + 30)
    assert fake.opened == 0
