"""The kept interface: ResourceManager, its monitor, its report, and the functions beside it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from forge_tui.resources.hardware import SystemResources
from forge_tui.resources.manager import ResourceManager, get_optimal_workers, get_resource_summary
from forge_tui.resources.policy import DefaultThresholds


def test_works_without_arguments():
    found = ResourceManager().detect_system_resources()
    assert found.cpu_count >= 1
    assert 0 < found.available_memory_gb <= found.memory_gb
    assert found.memory_per_worker_gb == 8.0


@pytest.mark.parametrize(("cpus", "memory_gb", "workers"), [(4, 8, 1), (8, 16, 2), (16, 32, 4), (32, 64, 8)])
def test_the_descriptions_table(machine, cpus, memory_gb, workers):
    count, reason = ResourceManager(machine(cpus=cpus, memory_gb=memory_gb)).validate_worker_count(8)
    assert count == workers
    assert reason


def test_an_invalid_count_gives_one_worker():
    count, reason = ResourceManager().validate_worker_count(0)
    assert count == 1
    assert reason.startswith("Invalid")


def test_validation_asks_detection_so_that_it_can_be_replaced(monkeypatch):
    manager = ResourceManager()
    monkeypatch.setattr(
        manager, "detect_system_resources", lambda: SystemResources(16, 64.0, 60.0, 10.0, 6, 8.0), raising=True
    )
    assert manager.validate_worker_count(5)[0] == 5
    assert manager.generate_resource_report()["recommendations"]["parallel_workers"] == 6


def test_settings_decide(machine):
    probe = machine(cpus=16, memory_gb=16.0)
    assert ResourceManager(probe).validate_worker_count(8)[0] == 2
    assert ResourceManager(probe, DefaultThresholds(policy="dedicated")).validate_worker_count(8)[0] == 8


def test_functions(monkeypatch):
    gigabyte = 2**30
    monkeypatch.setattr(psutil, "cpu_count", lambda *args, **kwargs: 16)
    memory = type("Memory", (), {"total": 16 * gigabyte, "available": 12 * gigabyte})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval=None, percpu=False: 95.0)
    workers, reason = get_optimal_workers(4)
    assert workers == 1
    assert "95 % busy" in reason
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval=None, percpu=False: 5.0)
    summary = get_resource_summary()
    assert summary["cpu_usage_percent"] == 5.0
    assert summary["recommended_workers"] <= 2
    assert json.loads(json.dumps(summary, allow_nan=False))["system_info"]["cpu_count"] == summary["cpu_count"]


def test_monitoring_starts_samples_and_ends():
    manager = ResourceManager()
    received = threading.Event()
    manager.on_sample(lambda sample: received.set())
    assert not manager._monitoring
    manager.start_monitoring(interval=0.05)
    manager.start_monitoring(interval=0.05)
    assert manager._monitoring
    assert sum(thread.name == "forge-tui-monitor" for thread in threading.enumerate()) == 1
    assert received.wait(30)
    sample = manager.latest_sample()
    assert sample is not None
    assert 0 < sample.memory_available <= sample.memory_limit
    assert len(sample.per_core) == psutil.cpu_count()
    metrics = manager.get_current_metrics()
    assert metrics["monitoring"]
    assert json.loads(json.dumps(metrics))["timestamp"] >= sample.time
    manager.stop_monitoring()
    manager.stop_monitoring()
    assert not manager._monitoring
    assert not any(thread.name == "forge-tui-monitor" for thread in threading.enumerate())


def test_metrics_without_monitoring(machine):
    metrics = ResourceManager(machine(busy=42.0, memory_gb=10.0, available_gb=4.0)).get_current_metrics()
    assert (metrics["cpu_percent"], metrics["memory_percent"], metrics["monitoring"]) == (42.0, 60.0, False)
    assert metrics["alerts"] == ["Memory: 4.0 GiB available, less than 8 GiB"]
    assert metrics["timestamp"] > 1.7e9


def test_a_failing_receiver_and_a_failing_probe_do_not_end_monitoring(machine, caplog):
    caplog.set_level(logging.WARNING, logger="forge_tui.resources")
    probe, twice, calls = machine(), threading.Event(), []

    def fail(sample: object) -> None:
        calls.append(sample)
        if len(calls) == 1:
            probe.gigabytes = OSError("gone for a while")
            threading.Timer(0.3, lambda: setattr(probe, "gigabytes", 32.0)).start()
        else:
            twice.set()
        raise RuntimeError("receiver")

    manager = ResourceManager(probe)
    manager.on_sample(fail)
    manager.start_monitoring(interval=0.05)
    try:
        assert twice.wait(30)
        assert manager._monitoring
    finally:
        manager.stop_monitoring()
    assert "a receiver of resource samples failed" in caplog.text
    assert caplog.text.count("resource sample failed: OSError: gone for a while") == 1


@pytest.mark.parametrize("interval", [0, -1.0, float("nan")])
def test_an_interval_must_be_positive(interval):
    with pytest.raises(ValueError, match="interval"):
        ResourceManager().start_monitoring(interval)


def test_alerts_are_logged_once(machine, caplog):
    caplog.set_level(logging.WARNING, logger="forge_tui.resources")
    thrice, samples = threading.Event(), []
    manager = ResourceManager(machine(available_gb=1.0))
    manager.on_sample(lambda sample: (samples.append(sample), len(samples) >= 3 and thrice.set()))
    manager.start_monitoring(interval=0.01)
    assert thrice.wait(30)
    manager.stop_monitoring()
    assert caplog.text.count("Memory: 1.0 GiB available") == 1


def test_the_room_needs_no_torch_textual_or_pydantic_and_prints_nothing():
    code = (
        "import sys; from forge_tui.resources.manager import *; m = ResourceManager(); m.generate_resource_report();"
        "m.validate_worker_count(99);"
        "sys.exit(','.join({'torch', 'textual', 'pydantic', 'numpy', 'pynvml'} & set(sys.modules) - allowed) or 0)"
    )
    allowed = "{'pynvml'}" if Path("/dev/nvidiactl").exists() else "set()"
    done = subprocess.run(
        [sys.executable, "-c", f"allowed = {allowed}\n{code}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("", "")
