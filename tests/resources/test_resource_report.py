"""The report as data and as text."""

from __future__ import annotations

import json
import os

import pytest

from forge_tui.resources.doctor import doctor_text
from forge_tui.resources.gpus import Gpu, GpuProcess
from forge_tui.resources.manager import ResourceManager
from forge_tui.resources.policy import DefaultThresholds

GIB = 2**30
CONTAINER = {
    "/proc/self/cgroup": "0::/box\n",
    "/proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
    "/sys/fs/cgroup/box/memory.max": str(24 * GIB),
    "/sys/fs/cgroup/box/cpu.max": "800000 100000",
    "/sys/fs/cgroup/box/cpu.weight": "100",
    "/proc/pressure/memory": "some avg10=1.50 avg60=0.00 avg300=0.00 total=0\n",
}


def test_report_of_a_container(machine):
    card = Gpu(0, "NVIDIA H100", 80 * GIB, GIB, None)
    report = ResourceManager(
        machine(cpus=64, memory_gb=256.0, files=CONTAINER, gpus=(card,))
    ).generate_resource_report()
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["system_info"]["cpu_count"] == 8
    assert report["system_info"]["memory_gb"] == 24.0
    advice = report["recommendations"]
    assert (advice["parallel_workers"], advice["training_mode_suggestion"]) == (3, "parallel")
    assert (advice["limited_by"], advice["hint"]) == ("memory", "--policy dedicated")
    assert advice["policies"]["dedicated"]["workers"] == 8
    constraints = report["constraints"]
    assert (constraints["memory_limited"], constraints["cpu_limited"], constraints["high_usage"]) == (
        True,
        False,
        False,
    )
    assert constraints["words"] == ["memory limit: 8 GiB per worker of 24.0 GiB (/sys/fs/cgroup/box/memory.max)"]

    text = doctor_text(report)
    assert max(len(line) for line in text.splitlines()) <= 80
    flat = " ".join(text.split())
    for words in (
        "8 of 64, limited by quota in /sys/fs/cgroup/box/cpu.max",
        "24.0 of 256.0 GiB, limited by /sys/fs/cgroup/box/memory.max",
        "NVIDIA H100, 1.0 of 80.0 GiB in use",
        "memory pressure some work waited 1.5 %",
        "shared up to 3 workers on 4 CPUs",
        "More with: --policy dedicated",
        "dedicated up to 8 workers on 8 CPUs",
        "nice yields only to processes of the same control group (/sys/fs/cgroup/box)",
        "--mode parallel --workers 3",
    ):
        assert words in flat


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({"cpus": 4, "memory_gb": 128.0}, (False, True, False)),
        ({"cpus": 64, "memory_gb": 16.0}, (True, False, False)),
        ({"cpus": 64, "memory_gb": 256.0, "available_gb": 4.0}, (True, False, False)),
        ({"cpus": 64, "memory_gb": 256.0, "busy": 95.0}, (False, False, True)),
        ({"cpus": 64, "memory_gb": 256.0}, (False, False, False)),
        ({"cpus": 1, "memory_gb": 4.0}, (True, True, False)),
    ],
)
def test_constraints_say_what_limits(machine, details, expected):
    constraints = ResourceManager(machine(**details)).generate_resource_report()["constraints"]
    assert (constraints["memory_limited"], constraints["cpu_limited"], constraints["high_usage"]) == expected
    assert bool(constraints["words"]) == any(expected)


def test_a_small_machine_is_advised_to_train_in_series(machine):
    report = ResourceManager(machine(cpus=1, memory_gb=4.0)).generate_resource_report()
    assert report["recommendations"]["training_mode_suggestion"] == "series"
    assert "--mode series" in doctor_text(report)


def test_a_failed_detection_is_told(machine):
    report = ResourceManager(machine(cpus=OSError("no /proc"), memory_gb=64.0)).generate_resource_report()
    assert report["recommendations"]["parallel_workers"] == 1
    assert report["recommendations"]["limited_by"] == "detection"
    assert "psutil.cpu_count: OSError: no /proc; one worker is used" in " ".join(doctor_text(report).split())


def test_the_suggestion_names_what_more_is_possible(machine):
    advice = ResourceManager(machine(cpus=64, memory_gb=512.0)).generate_resource_report()["recommendations"]
    assert (advice["parallel_workers"], advice["hint"]) == (6, "--workers 32")
    assert advice["reason"].startswith("at most 6 are suggested; 32 are possible")


def test_dedicated_report(machine):
    settings = DefaultThresholds(policy="dedicated", memory_per_worker_gb="measured")
    report = ResourceManager(machine(cpus=4, memory_gb=16.0), settings).generate_resource_report()
    assert report["recommendations"]["parallel_workers"] == 4
    assert report["recommendations"]["memory_per_worker_gb"] == "measured"
    assert doctor_text(report).startswith("Machine\n")


def test_gpus_are_told_with_who_is_on_them(machine):
    me, bob = os.getuid(), os.getuid() + 1
    files = {
        "/proc/10/status": f"PPid:\t1\nUid:\t{me}\n", "/proc/10/cmdline": "forge-tui: planner_1 (my-run)\0",
        "/proc/11/status": f"PPid:\t1\nUid:\t{bob}\n", "/proc/11/cmdline": "python\0",
    }  # fmt: skip
    gpus = (
        Gpu(
            0, "NVIDIA H100", 80 * GIB, 41 * GIB, 63.0, "GPU-aa11", 54.0,
            (GpuProcess(10, GIB), GpuProcess(11, None)),
        ),
        Gpu(1, "NVIDIA A100 MIG 1g.5gb", 5 * GIB, 0, None, "MIG-1", 40.0, (), "GPU-bb22"),
        Gpu(1, "NVIDIA A100 MIG 1g.5gb", 5 * GIB, 0, None, "MIG-2", 40.0, None, "GPU-bb22"),
        Gpu(2, "NVIDIA H100", 80 * GIB, 80 * GIB, uuid="GPU-cc33", problem="the driver has lost it"),
    )  # fmt: skip
    environment = {"CUDA_VISIBLE_DEVICES": "GPU-aa"}
    probe = machine(files=files, gpus=gpus, environment=environment, users={me: "ada", bob: "bob"})
    report = ResourceManager(probe).generate_resource_report()
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    system = report["system_info"]
    assert system["gpus"][0]["processes"] == [
        {"pid": 10, "memory": GIB, "user": "ada", "models": "planner_1", "run": "my-run"},
        {"pid": 11, "memory": None, "user": "bob", "models": None, "run": None},
    ]
    assert [gpu["parent"] for gpu in system["gpus"]] == [None, "GPU-bb22", "GPU-bb22", None]
    assert (system["visible_gpus"], system["gpu_limit_source"]) == (["GPU-aa11"], "CUDA_VISIBLE_DEVICES=GPU-aa")
    text = doctor_text(report)
    assert max(len(line) for line in text.splitlines()) <= 80
    flat = " ".join(text.split())
    for words in (
        "GPU 0 NVIDIA H100 (GPU-aa11), 41.0 of 80.0 GiB in use, 63 % busy, 54 °C; planner_1 of run my-run; bob: 1 proc",
        "GPU 1.0 NVIDIA A100 MIG 1g.5gb (MIG-1), 0.0 of 5.0 GiB in use, 40 °C; nobody is on it",
        "GPU 1.1 NVIDIA A100 MIG 1g.5gb (MIG-2), 0.0 of 5.0 GiB in use, 40 °C; unknown who is on it",
        "GPU 2 NVIDIA H100 (GPU-cc33): the driver has lost it",
        "GPUs visible 0, limited by CUDA_VISIBLE_DEVICES=GPU-aa",
    ):
        assert words in flat
