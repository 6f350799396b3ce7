"""The runner's samples of the machine: what of the GPUs is recorded, and what stays known of them."""

from __future__ import annotations

import threading

import pytest
from stage import machine_state

from forge_tui.resources.gpus import Gpu, GpuProcess
from forge_tui.resources.monitor import ResourceSample
from forge_tui.resources.system_probe import SystemProbe
from forge_tui.resources.usage import CpuUsage
from forge_tui.runner.machine import Machine, MachineSample
from forge_tui.settings.schema import ResourceSettings

GIB = 2**30
GPU = Gpu(0, "NVIDIA H100", 80 * GIB, GIB, 5.0, "GPU-aa", 40.0, (GpuProcess(10, GIB), GpuProcess(11, None)))
SAMPLE = ResourceSample(1.0, 5.0, 0.0, (5.0,), GIB, GIB, 2 * GIB, None, (), CpuUsage(5.0, 0.0, (5.0,), 2.0))


def test_the_gpus_are_recorded() -> None:
    gpus = (GPU, Gpu(1, "NVIDIA H100", 80 * GIB, 80 * GIB, uuid="GPU-bb", problem="it is lost"))
    record = MachineSample(1, machine_state(gpus=gpus), SAMPLE).to_record(2, GIB)
    assert record["gpus"] == [
        {
            "index": 0, "uuid": "GPU-aa", "name": "NVIDIA H100", "memory_total": 80 * GIB, "memory_used": GIB,
            "utilization_percent": 5.0, "temperature": 40.0,
        },
        {
            "index": 1, "uuid": "GPU-bb", "name": "NVIDIA H100", "memory_total": 80 * GIB, "memory_used": 80 * GIB,
            "utilization_percent": None, "temperature": None, "problem": "it is lost",
        },
    ]  # fmt: skip


def test_gpus_found_at_the_start_stay_known_while_the_driver_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(SystemProbe, "gpus", lambda self: answered.wait(30) and ())
    machine = Machine(machine_state(gpus=(GPU,)), ResourceSettings())
    try:
        machine.look_anew()
        assert machine.latest.resources.gpus == (GPU,)
        assert machine.latest.resources.problems == ("GPUs: the driver did not answer in time",)
    finally:
        answered.set()
        machine.close()
