"""`ResourceManager`, the kept interface: detection, limits and monitoring behind one object."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from forge_tui.resources.advice import devices_here
from forge_tui.resources.hardware import GPU_START_SECONDS, Limit, SystemResources, detect
from forge_tui.resources.monitor import Monitor, ResourceSample, take_sample
from forge_tui.resources.policy import (
    GIB,
    HIGH_CPU_THRESHOLD,
    MAX_CPU_UTILIZATION,
    MAX_SUGGESTED_WORKERS,
    MEMORY_PER_WORKER,
    MIN_AVAILABLE_MEMORY,
    DefaultThresholds,
    Thresholds,
    WorkerLimit,
    worker_limit,
)
from forge_tui.resources.system_probe import SystemProbe
from forge_tui.resources.usage import CpuMeter, Own

__all__ = [
    "HIGH_CPU_THRESHOLD",
    "MAX_CPU_UTILIZATION",
    "MAX_SUGGESTED_WORKERS",
    "MEMORY_PER_WORKER",
    "MIN_AVAILABLE_MEMORY",
    "Limit",
    "ResourceManager",
    "ResourceSample",
    "SystemResources",
    "get_optimal_workers",
    "get_resource_summary",
]


class ResourceManager:
    """Detects what this process may use, says how many workers that allows and why, and monitors use.

    Works without arguments. `probe` reads the system (tests pass another), `settings` is the `[resources]` table (its
    defaults if None), `own` says which processes belong to this user's runs and so do not count as others' load.
    Thread-safe.
    """

    def __init__(
        self, probe: SystemProbe | None = None, settings: Thresholds | None = None, own: Own | None = None
    ) -> None:
        self._probe = probe or SystemProbe()
        self._settings: Thresholds = settings or DefaultThresholds()
        self._own = own
        self._lock = threading.Lock()
        self._monitor: Monitor | None = None
        self._sample: ResourceSample | None = None
        self._receivers: list[Callable[[ResourceSample], None]] = []

    @property
    def _monitoring(self) -> bool:
        monitor = self._monitor
        return monitor is not None and monitor.is_alive

    def detect_system_resources(self) -> SystemResources:
        """What this process may use now; a failed probe gives one worker, not an exception. ≤ 150 ms."""
        sample = self._sample if self._monitoring else None
        try:
            return detect(self._probe, self._settings, own=self._own, usage=sample.usage if sample else None)
        finally:
            if not self._monitoring:
                self._probe.close()

    def worker_limit(self, requested: int, *, mode: str = "parallel") -> WorkerLimit:
        """How many of the requested workers may run, with reason, hint and warnings."""
        resources = self.detect_system_resources()
        devices = devices_here(resources, self._settings, self._probe.environment)
        return worker_limit(requested, resources, self._settings, mode=mode, on=devices.on)

    def validate_worker_count(self, requested: int) -> tuple[int, str]:
        """(workers, reason): the requested number, or fewer if the machine does not allow as many; at least 1."""
        limit = self.worker_limit(requested)
        return limit.workers, limit.reason

    def start_monitoring(self, interval: float = 5.0, meter: CpuMeter | None = None) -> None:
        """Sample every `interval` seconds in the background; does nothing if monitoring already.

        `meter`: one that is measuring already, to have the first sample in less than 100 ms.

        Raises `ValueError` unless the interval is positive.
        """
        if not interval > 0:
            raise ValueError(f"interval = {interval!r}: must be a number of seconds greater than 0")
        with self._lock:
            if not self._monitoring:
                self._sample = None
                self._monitor = Monitor(self._probe, self._settings, interval, self._receive, self._own, meter)

    def stop_monitoring(self) -> None:
        """End the background thread and wait for it. Does nothing if not monitoring."""
        with self._lock:
            monitor, self._monitor = self._monitor, None
        if monitor is not None:
            monitor.stop()
            self._probe.close()

    def on_sample(self, receiver: Callable[[ResourceSample], None]) -> Callable[[], None]:
        """Call `receiver` with every sample, in the monitor's thread; returns a function that removes it."""
        with self._lock:
            self._receivers = [*self._receivers, receiver]

        def remove() -> None:
            with self._lock:
                self._receivers = [entry for entry in self._receivers if entry is not receiver]

        return remove

    def latest_sample(self) -> ResourceSample | None:
        """The monitor's newest sample; None before the first."""
        return self._sample

    def get_current_metrics(self) -> dict[str, Any]:
        """Use of the machine: the monitor's newest sample, or one taken now (100 ms). JSON-able.

        Raises what psutil raises if the system cannot be read.
        """
        sample = self._sample if self._monitoring else None
        if sample is None:
            sample = take_sample(self._probe, CpuMeter(self._probe, self._own).measure(), self._settings)
        return {
            "timestamp": sample.time,
            "cpu_percent": sample.cpu_percent,
            "others_cpu_percent": sample.others_cpu_percent,
            "per_core_percent": list(sample.per_core),
            "memory_percent": sample.memory_percent,
            "memory_used_gb": sample.memory_used / GIB,
            "available_memory_gb": sample.memory_available / GIB,
            "memory_gb": sample.memory_limit / GIB,
            "load_average": list(sample.load_average) if sample.load_average else None,
            "pressure": [asdict(entry) for entry in sample.pressure],
            "alerts": list(sample.alerts),
            "monitoring": self._monitoring,
        }

    def generate_resource_report(self) -> dict[str, Any]:
        """What was detected, from where, what it allows under both policies and why. JSON-able.

        `system_info`, `current_usage`, `recommendations` (with `parallel_workers`, `training_mode_suggestion`),
        `constraints` (with `memory_limited`, `cpu_limited`, `high_usage`).
        """
        from forge_tui.resources.resource_report import build_report  # here: a monitor needs none

        # A driver that no program keeps loaded may take seconds; detection then finds it loaded.
        self._probe.gpu_sampler.begin()
        self._probe.gpu_sampler.result(time.monotonic() + GPU_START_SECONDS)
        return build_report(self.detect_system_resources(), self._settings, self._probe)

    def _receive(self, sample: ResourceSample) -> None:
        self._sample = sample
        for receiver in self._receivers:
            receiver(sample)


def get_optimal_workers(requested: int = 3) -> tuple[int, str]:
    """(workers, reason): how many of the requested workers this machine allows."""
    return ResourceManager().validate_worker_count(requested)


def get_resource_summary() -> dict[str, Any]:
    """The resource report of this machine with its main figures at the top. JSON-able."""
    report = ResourceManager().generate_resource_report()
    system, usage, recommendations = report["system_info"], report["current_usage"], report["recommendations"]
    return {
        "cpu_count": system["cpu_count"],
        "memory_gb": system["memory_gb"],
        "available_memory_gb": usage["available_memory_gb"],
        "cpu_usage_percent": usage["cpu_percent"],
        "recommended_workers": recommendations["parallel_workers"],
        **report,
    }
