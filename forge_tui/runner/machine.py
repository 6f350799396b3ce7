"""The runner's samples of the machine: taken in a thread, so that scheduling never waits for them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from forge_tui.resources.cgroups import read_limits
from forge_tui.resources.energy import CpuCounters, CpuEnergyReader
from forge_tui.resources.gpus import Gpu
from forge_tui.resources.hardware import SystemResources, detect
from forge_tui.resources.host_gpus import HostGpus
from forge_tui.resources.monitor import Monitor, ResourceSample, memory_room
from forge_tui.resources.policy import GIB, Thresholds
from forge_tui.resources.system_probe import SystemProbe

SAMPLE_SECONDS = 2.0
_LAST_GPUS_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class MachineSample:
    """The machine at one moment; `number` counts the samples, so that each is judged once. The first has no sample.

    `energy`: the counters of its CPUs, where they are readable.
    """

    number: int
    resources: SystemResources
    sample: ResourceSample | None = None
    energy: CpuCounters | None = None

    def to_record(self, workers: int, own_memory: int, hosts: Sequence[HostGpus] | None = None) -> dict[str, Any]:
        """A row of the run's resource history: percent, bytes, UNIX seconds. Our `workers` use `own_memory`.

        `hosts`: the nodes of a cluster whose GPUs count; None: this machine's.
        """
        assert self.sample is not None
        sample = self.sample
        waits = (entry.some_percent for entry in sample.pressure if entry.resource == "memory")
        return {
            "time": sample.time,
            "cpu_percent": sample.cpu_percent,
            "others_cpu_percent": sample.others_cpu_percent,
            "memory_used": sample.memory_used,
            "memory_available": sample.memory_available,
            "memory_limit": sample.memory_limit,
            "memory_pressure_percent": max(waits, default=None),
            "workers": workers,
            "own_memory": own_memory,
            "gpus": [_gpu_record(gpu) for gpu in self.resources.gpus] if hosts is None else _on_nodes(hosts),
        }


def _on_nodes(hosts: Sequence[HostGpus]) -> list[dict[str, Any]]:
    return [{**_gpu_record(gpu), "host": host.host} for host in hosts for gpu in host.gpus]


def _gpu_record(gpu: Gpu) -> dict[str, Any]:
    """What changes, and what identifies the GPU."""
    record = {
        "index": gpu.index,
        "uuid": gpu.uuid,
        "name": gpu.name,
        "memory_total": gpu.memory_total,
        "memory_used": gpu.memory_used,
        "utilization_percent": gpu.utilization_percent,
        "temperature": gpu.temperature,
    }
    return record if gpu.problem is None else {**record, "problem": gpu.problem}


class Machine:
    """Takes a sample every two seconds after `watch`; `latest` is the newest. Close it."""

    def __init__(self, first: SystemResources, settings: Thresholds, probe: SystemProbe | None = None) -> None:
        self._probe = probe or SystemProbe()
        self._probe.gpu_sampler.remember(first.gpus)
        self._settings = settings
        self.latest = MachineSample(0, first)
        self.energy = CpuEnergyReader(self._probe)
        self._monitor: Monitor | None = None

    def watch(self) -> None:
        """Start sampling; a run that waits for another one does not."""
        if self._monitor is None:
            self._monitor = Monitor(self._probe, self._settings, SAMPLE_SECONDS, self._receive)

    def look_anew(self) -> None:
        """Take a new sample now, in 100 ms, because the last one is old."""
        self.latest = MachineSample(self.latest.number, detect(self._probe, self._settings))

    def now(self) -> SystemResources:
        """The last sample with the present memory, for admitting a worker (1 ms)."""
        try:
            available, _limit = memory_room(self._probe, read_limits(self._probe.read))
        except Exception:  # a boundary, as in detection: use the last sample
            return self.latest.resources
        return replace(self.latest.resources, available_memory_gb=available / GIB)

    def last_gpus(self) -> tuple[Gpu, ...]:
        """The GPUs as they are now; as they were in the last sample if the driver does not answer at once."""
        self._probe.gpu_sampler.begin()
        return self._probe.gpu_sampler.result(time.monotonic() + _LAST_GPUS_SECONDS).gpus

    def close(self) -> None:
        """Stop sampling."""
        if self._monitor is not None:
            self._monitor.stop()
        self._probe.close()

    def _receive(self, sample: ResourceSample) -> None:
        """Called in the monitor's thread; replacing one attribute needs no lock."""
        found = detect(self._probe, self._settings, usage=sample.usage)
        self.latest = MachineSample(self.latest.number + 1, found, sample, self.energy.read())
