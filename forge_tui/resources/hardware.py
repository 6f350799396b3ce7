"""Detects which CPUs and how much memory this process may use, and which limit says so. Takes at most 150 ms."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from forge_tui.resources.advice import devices_here, suggestion
from forge_tui.resources.cgroups import CgroupLimits, read_limits
from forge_tui.resources.gpus import Gpu
from forge_tui.resources.policy import GIB, DefaultThresholds, Thresholds
from forge_tui.resources.pressure import Pressure, read_pressure
from forge_tui.resources.slurm import SlurmLimit, read_slurm
from forge_tui.resources.system_probe import Memory, SystemProbe
from forge_tui.resources.usage import CpuMeter, CpuUsage, Own

_log = logging.getLogger(__name__)
_Value = TypeVar("_Value")

_GPU_SECONDS = 0.13  # NVML answers in 10–100 ms, beside the CPU sample; a driver that hangs must not hang us
GPU_START_SECONDS = 10.0
"""How long a run's start waits for the GPUs: a driver that no program keeps loaded takes a second or more for each."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit that was found: `resource` is `cpu` (value: CPUs) or `memory` (value: GiB)."""

    resource: str
    value: float
    source: str


@dataclass(frozen=True, slots=True)
class SystemResources:
    """What this process may use of the machine, at one moment. Memory in GiB, use in percent (0–100).

    `cpu_count` and `memory_gb` are those this process may use, `cpu_total` and `memory_total_gb` the machine's (0:
    unknown). A `*_limit_source` is None if the machine itself is the limit. `failures` are failed probes: then one
    worker is used. `problems` are reported and limit nothing.
    """

    cpu_count: int
    memory_gb: float
    available_memory_gb: float
    cpu_usage_percent: float
    recommended_workers: int
    memory_per_worker_gb: float
    cpu_total: int = 0
    memory_total_gb: float = 0.0
    others_cpu_percent: float | None = None
    per_core_percent: tuple[float, ...] = ()
    cpu_limit_source: str | None = None
    memory_limit_source: str | None = None
    limits: tuple[Limit, ...] = ()
    load_average: tuple[float, float, float] | None = None
    pressure: tuple[Pressure, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    problems: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(slots=True)
class _Detection:
    """What has been found so far."""

    probe: SystemProbe
    limits: list[Limit] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def attempt(self, what: str, probe: Callable[[], _Value], fallback: _Value) -> _Value:
        """Run a probe; an exception is recorded as a failure, which limits the run to one worker."""
        try:
            return probe()
        except Exception as error:
            _log.debug("%s failed", what, exc_info=True)
            self.failures.append(f"{what}: {type(error).__name__}: {error}")
            return fallback


def detect(
    probe: SystemProbe | None = None,
    settings: Thresholds | None = None,
    *,
    own: Own | None = None,
    usage: CpuUsage | None = None,
    measure_usage: bool = True,
    gpu_seconds: float = _GPU_SECONDS,
) -> SystemResources:
    """What this process may use of the machine.

    `usage`: an existing CPU sample (a monitor's last), which saves 100 ms; `measure_usage=False` skips the sample
    (use is then 0 and others' share None). `gpu_seconds`: how long to wait for the GPUs' driver; after that the GPUs
    are those that the probe found before, with a problem. Never raises: failed probes are in `failures`.
    """
    if probe is None:
        with contextlib.closing(SystemProbe()) as own_probe:
            return _detect(own_probe, settings, own, usage, measure_usage, gpu_seconds)
    return _detect(probe, settings, own, usage, measure_usage, gpu_seconds)


def _detect(
    probe: SystemProbe,
    settings: Thresholds | None,
    own: Own | None,
    usage: CpuUsage | None,
    measure_usage: bool,
    gpu_seconds: float,
) -> SystemResources:
    started = time.monotonic()
    settings = settings or DefaultThresholds()
    found = _Detection(probe)
    probe.gpu_sampler.begin()
    control = found.attempt("control groups", lambda: read_limits(probe.read), CgroupLimits())
    found.problems += control.problems
    found.failures += control.failures
    cpu_total = found.attempt("psutil.cpu_count", probe.cpu_count, 1)
    affinity = found.attempt("CPU affinity", lambda: _restricting_affinity(probe), None)
    memory = found.attempt("psutil.virtual_memory", probe.memory, Memory(0, 0))
    _collect_limits(found, control, affinity)
    cpu_count, cpu_source = _usable_cpus(found, cpu_total)
    memory_gb, memory_source = _usable_memory(found, memory)
    headroom = min((limit.headroom for limit in control.memory), default=memory.available)
    available_gb = min(memory.available / GIB, headroom / GIB, memory_gb)
    if usage is None and measure_usage:
        usage = found.attempt("psutil.cpu_percent", lambda: CpuMeter(probe, own, affinity).measure(), None)
    per_worker = settings.memory_per_worker_gb
    resources = SystemResources(
        cpu_count=cpu_count,
        memory_gb=memory_gb,
        available_memory_gb=available_gb,
        cpu_usage_percent=usage.percent if usage else 0.0,
        recommended_workers=1,
        memory_per_worker_gb=per_worker if isinstance(per_worker, (int, float)) else 0.0,
        cpu_total=cpu_total,
        memory_total_gb=memory.total / GIB,
        others_cpu_percent=usage.others_percent if usage else None,
        per_core_percent=usage.per_core if usage else (),
        cpu_limit_source=cpu_source,
        memory_limit_source=memory_source,
        limits=tuple(found.limits),
        load_average=_optional(found, "load average", probe.load_average, None),
        pressure=_optional(found, "pressure", lambda: read_pressure(probe.read, control.groups), ()),
        gpus=_gpus(found, started + gpu_seconds),
        problems=tuple(found.problems),
        failures=tuple(found.failures),
    )
    devices = devices_here(resources, settings, probe.environment)
    suggested = suggestion(resources, settings, devices).workers
    resources = replace(resources, recommended_workers=suggested, seconds=time.monotonic() - started)
    _log_detection(resources)
    return resources


def _gpus(found: _Detection, deadline: float) -> tuple[Gpu, ...]:
    answer = found.probe.gpu_sampler.result(deadline)
    if answer.problem is not None:
        found.problems.append(f"GPUs: {answer.problem}")
    return answer.gpus


def _optional(found: _Detection, what: str, probe: Callable[[], _Value], fallback: _Value) -> _Value:
    """Run a probe that no limit depends on: a failure is only reported as a problem."""
    try:
        return probe()
    except Exception as error:
        found.problems.append(f"{what}: {type(error).__name__}: {error}")
        return fallback


def _restricting_affinity(probe: SystemProbe) -> frozenset[int] | None:
    """The CPUs this process is bound to; None if it may run on every online CPU."""
    affinity = probe.affinity()
    if affinity is None or len(affinity) >= probe.online_cpus():
        return None
    return affinity


def _collect_limits(found: _Detection, control: CgroupLimits, affinity: frozenset[int] | None) -> None:
    online = found.attempt("CPUs online", found.probe.online_cpus, 1)
    for cpu in control.cpus:
        if cpu.kind == "quota" or cpu.cpus < online:  # a cpuset of all CPUs is not a limit
            found.limits.append(Limit("cpu", cpu.cpus, f"{cpu.kind} in {cpu.file}"))
    if affinity is not None:
        found.limits.append(Limit("cpu", float(len(affinity)), "CPU affinity (taskset, numactl or a batch system)"))
    found.limits.extend(Limit("memory", limit.limit / GIB, limit.file) for limit in control.memory)
    nothing: tuple[SlurmLimit, ...] = ()
    slurm = found.attempt("Slurm", lambda: read_slurm(found.probe.environment), nothing)
    found.limits.extend(Limit(limit.resource, limit.value, limit.source) for limit in slurm)


def _usable_cpus(found: _Detection, total: int) -> tuple[int, str | None]:
    """CPUs this process may use: a fractional quota counts whole CPUs only, and at least one."""
    tightest = min((limit for limit in found.limits if limit.resource == "cpu"), key=_value, default=None)
    if tightest is None or tightest.value >= total:
        return total, None
    return max(1, math.floor(tightest.value + 1e-9)), tightest.source


def _usable_memory(found: _Detection, memory: Memory) -> tuple[float, str | None]:
    tightest = min((limit for limit in found.limits if limit.resource == "memory"), key=_value, default=None)
    total = memory.total / GIB
    if tightest is None or tightest.value >= total:
        return total, None
    return tightest.value, tightest.source


def _value(limit: Limit) -> float:
    return limit.value


def _log_detection(resources: SystemResources) -> None:
    _log.debug(
        "CPUs: %d of %d (%s)", resources.cpu_count, resources.cpu_total, resources.cpu_limit_source or "no limit"
    )
    _log.debug(
        "memory: %.2f GiB of %.2f GiB (%s), %.2f GiB available",
        resources.memory_gb,
        resources.memory_total_gb,
        resources.memory_limit_source or "no limit",
        resources.available_memory_gb,
    )
    others = "unknown" if resources.others_cpu_percent is None else f"{resources.others_cpu_percent:.1f} %"
    _log.debug("CPU use: %.1f %%, by others %s", resources.cpu_usage_percent, others)
    for limit in resources.limits:
        _log.debug("limit: %s %.2f from %s", limit.resource, limit.value, limit.source)
    for words in resources.failures:
        _log.debug("detection failed: %s", words)
    for words in resources.problems:
        _log.debug("problem: %s", words)
    _log.debug("recommended workers: %d, detected in %.0f ms", resources.recommended_workers, 1e3 * resources.seconds)
