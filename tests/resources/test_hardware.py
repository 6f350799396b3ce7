"""Detection on machines of every size, within affinity and Slurm limits, and when probes fail."""

from __future__ import annotations

import logging
import threading

import psutil
import pytest

from forge_tui.resources.gpus import Gpu
from forge_tui.resources.hardware import detect
from forge_tui.resources.policy import DefaultThresholds, worker_limit
from forge_tui.resources.usage import CpuUsage


@pytest.mark.parametrize(
    ("cpus", "memory_gb", "recommended"),
    [(1, 4.0, 1), (4, 7.6, 1), (8, 15.5, 2), (16, 31.2, 4), (32, 62.7, 6), (256, 1024.0, 6)],
)
def test_machines_of_every_size(machine, cpus, memory_gb, recommended):
    found = detect(machine(cpus=cpus, memory_gb=memory_gb))
    assert (found.cpu_count, found.cpu_total) == (cpus, cpus)
    assert found.memory_gb == pytest.approx(memory_gb)
    assert (found.recommended_workers, found.failures) == (recommended, ())
    assert (found.cpu_limit_source, found.memory_limit_source) == (None, None)


def test_affinity_limits_the_cpus(machine):
    found = detect(machine(cpus=64, affinity=frozenset({3, 5, 7})))
    assert (found.cpu_count, found.cpu_total) == (3, 64)
    assert "affinity" in found.cpu_limit_source


@pytest.mark.parametrize(
    ("environment", "cpus", "memory_gb"),
    [
        ({"SLURM_CPUS_PER_TASK": "4"}, 4, 256.0),
        ({"SLURM_CPUS_ON_NODE": "16", "SLURM_CPUS_PER_TASK": "8"}, 8, 256.0),
        ({"SLURM_CPUS_ON_NODE": "16", "SLURM_MEM_PER_NODE": "65536"}, 16, 64.0),
        ({"SLURM_CPUS_ON_NODE": "16", "SLURM_MEM_PER_CPU": "2048"}, 16, 32.0),
        ({"SLURM_MEM_PER_NODE": "0"}, 64, 256.0),  # all of the node's
        ({"SLURM_CPUS_ON_NODE": "512"}, 64, 256.0),  # more than there is limits nothing
    ],
)
def test_slurm_limits(machine, environment, cpus, memory_gb):
    found = detect(machine(cpus=64, memory_gb=256.0, environment=environment))
    assert (found.cpu_count, found.memory_gb) == (cpus, memory_gb)
    assert (found.cpu_limit_source or "Slurm").startswith("Slurm")


def test_available_memory_never_exceeds_the_limit(machine):
    found = detect(machine(memory_gb=256.0, available_gb=200.0, environment={"SLURM_MEM_PER_NODE": "8192"}))
    assert (found.memory_gb, found.available_memory_gb) == (8.0, 8.0)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"cpus": RuntimeError("no /proc")}, "psutil.cpu_count: RuntimeError: no /proc"),
        ({"memory_gb": PermissionError("denied"), "available_gb": 0}, "psutil.virtual_memory: PermissionError: denied"),
        ({"busy": OSError("no stat")}, "psutil.cpu_percent: OSError: no stat"),
        ({"environment": {"SLURM_CPUS_PER_TASK": "many"}}, "Slurm: ValueError: SLURM_CPUS_PER_TASK='many'"),
    ],
)
def test_a_probe_that_fails_gives_one_worker(machine, broken, words):
    found = detect(machine(**{"cpus": 32, "memory_gb": 256.0, **broken}))
    assert found.recommended_workers == 1
    assert words in "; ".join(found.failures)
    limit = worker_limit(4, found, DefaultThresholds())
    assert (limit.workers, limit.limited_by) == (1, "detection")


@pytest.mark.parametrize("name", ["cpu_count", "virtual_memory", "cpu_percent"])
def test_psutil_is_asked_at_detection_time(monkeypatch, name):
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("patched")

    monkeypatch.setattr(psutil, name, fail)
    found = detect()
    assert found.failures == (f"psutil.{name}: RuntimeError: patched",)
    assert found.recommended_workers == 1


def test_a_count_psutil_cannot_tell_is_a_failure(monkeypatch):
    monkeypatch.setattr(psutil, "cpu_count", lambda *args, **kwargs: None)
    assert "psutil.cpu_count" in detect().failures[0]


def test_gpus_are_found_and_a_broken_driver_limits_nothing(machine):
    card = Gpu(0, "NVIDIA H100", 80 * 2**30, 2**30, 3.0)
    assert detect(machine(gpus=(card,))).gpus == (card,)
    found = detect(machine(gpus=OSError("NVML: driver mismatch")))
    assert (found.gpus, found.failures) == ((), ())
    assert found.problems == ("GPUs: OSError: NVML: driver mismatch",)


def test_a_driver_that_hangs_does_not_hold_up_detection(machine):
    answered = threading.Event()
    probe = machine()
    probe.gpus = lambda: answered.wait(30) and ()
    try:
        assert detect(probe).problems == ("GPUs: the driver did not answer in time",)
    finally:
        answered.set()


def test_a_sample_at_hand_saves_taking_one(machine):
    probe = machine(busy=AssertionError("must not be sampled"))
    found = detect(probe, usage=CpuUsage(95.0, 90.0, (95.0,), 5.0))
    assert (found.cpu_usage_percent, found.others_cpu_percent, found.failures) == (95.0, 90.0, ())
    assert detect(probe, measure_usage=False).others_cpu_percent is None


def test_pressure_is_read_where_the_kernel_has_it(machine):
    text = "some avg10=12.50 avg60=1.00 avg300=0.00 total=5\nfull avg10=2.25 avg60=0.00 avg300=0.00 total=1\n"
    found = detect(machine(files={"/proc/pressure/memory": text}))
    assert [(p.resource, p.some_percent, p.full_percent) for p in found.pressure] == [("memory", 12.5, 2.25)]
    assert detect(machine()).pressure == ()


def test_detection_is_logged_in_detail(machine, caplog):
    caplog.set_level(logging.DEBUG, logger="forge_tui.resources")
    detect(machine(cpus=64, environment={"SLURM_CPUS_PER_TASK": "4"}))
    assert "CPUs: 4 of 64 (Slurm (SLURM_CPUS_PER_TASK=4))" in caplog.text
    assert "recommended workers: 2" in caplog.text
