"""How many workers and threads the machine allows, and why.

Policy `shared` leaves at least half of the machine to others; `dedicated` takes all CPUs and measured memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from forge_tui.errors import ResourceError
from forge_tui.safe_io.printing import named

if TYPE_CHECKING:
    from forge_tui.resources.hardware import SystemResources

GIB = 2**30

# The description's limits; `[resources]` of the settings has the same defaults (a test compares them).
MEMORY_PER_WORKER = 8.0  # GiB
MAX_CPU_UTILIZATION = 0.5  # fraction of the CPUs
HIGH_CPU_THRESHOLD = 80.0  # percent
MIN_AVAILABLE_MEMORY = 8.0  # GiB
MAX_SUGGESTED_WORKERS = 6
MEMORY_PRESSURE = 10.0  # percent of the last 10 s in which work waited for memory

# Firmware and kernel reserve a part of the memory that is sold as 8, 16, 32 or 64 GB: up to 5 %.
_FIRMWARE_SHARE = 1.05
MEASURED_MARGIN = 1.15  # workers differ: sequence lengths, allocator, validation
# Workers on one GPU take turns on it: more of them than this make each slower and fill no gaps any more (assumed).
WORKERS_PER_DEVICE = 8
# A process's CUDA context with the kernels that torch loads, and its cuBLAS workspaces: assumed, as reported for recent
# GPUs (0.3 to 0.6 GiB); where the driver counts memory per process, its figure is used instead.
CONTEXT_BYTES = 600 << 20


class Thresholds(Protocol):
    """What the arithmetic needs of `settings.schema.ResourceSettings`."""

    @property
    def policy(self) -> str: ...
    @property
    def memory_per_worker_gb(self) -> float | str: ...
    @property
    def max_cpu_utilization(self) -> float: ...
    @property
    def high_cpu_threshold(self) -> float: ...
    @property
    def min_available_memory_gb(self) -> float: ...
    @property
    def max_suggested_workers(self) -> int: ...
    @property
    def memory_pressure_threshold(self) -> float: ...
    @property
    def device(self) -> str | tuple[str, ...]: ...
    @property
    def devices_per_model(self) -> int: ...


@dataclass(frozen=True, slots=True)
class DefaultThresholds:
    """The defaults of `[resources]`, without the settings' schema (which takes 90 ms to import)."""

    policy: str = "shared"
    memory_per_worker_gb: float | str = MEMORY_PER_WORKER
    max_cpu_utilization: float = MAX_CPU_UTILIZATION
    high_cpu_threshold: float = HIGH_CPU_THRESHOLD
    min_available_memory_gb: float = MIN_AVAILABLE_MEMORY
    max_suggested_workers: int = MAX_SUGGESTED_WORKERS
    memory_pressure_threshold: float = MEMORY_PRESSURE
    device: str | tuple[str, ...] = "auto"
    devices_per_model: int = 1


@dataclass(frozen=True, slots=True)
class WorkerLimit:
    """How many workers may run at once, what decided it, and the flag that would allow more.

    `limited_by`: `cpu`, `memory`, `devices`, `busy`, `other_runs` or `detection` if the machine allows fewer than
    requested; `request` if it would allow more; `none` if it allows exactly as many. `threads_allowed`: per worker.
    """

    workers: int
    requested: int
    policy: str
    reason: str
    limited_by: str
    hint: str | None
    threads_allowed: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceShare:
    """What a run has on a device: workers, bytes that they may hold there, and bytes that they will still take.

    A worker whose memory is not seen yet counts with all that it needs in both.
    """

    uuid: str
    workers: int
    held: int
    growth: int


@dataclass(frozen=True, slots=True)
class OtherRuns:
    """What this user's other live runs use together: workers, CPUs for their threads, and shares of devices."""

    workers: int = 0
    cpus: int = 0
    devices: tuple[DeviceShare, ...] = ()


@dataclass(frozen=True, slots=True)
class OnDevices:
    """A run on GPUs: how many it may use, and how many each worker gets."""

    devices: int
    per_model: int = 1


@dataclass(frozen=True, slots=True)
class _Cap:
    workers: int
    limited_by: str
    reason: str
    hint: str | None
    shortfall: str | None = None  # the reason if a certain number was requested


def worker_limit(
    requested: int,
    resources: SystemResources,
    settings: Thresholds,
    *,
    mode: str = "parallel",
    worker_bytes: int | None = None,
    running: int = 0,
    growth_bytes: int = 0,
    threads: int = 1,
    others: OtherRuns | None = None,
    on: OnDevices | None = None,
) -> WorkerLimit:
    """How many workers may run at once, each with `threads`; at least one, whatever the limits say.

    `worker_bytes`: memory per worker, measured or estimated, if memory is measured; beside `running` workers, which
    are expected to grow by `growth_bytes` in total. `others`: what this user's other runs use. `on`: the run's
    GPUs; the memory of a worker on them is measured, not assumed.
    """
    if requested < 1:
        threads = threads_allowed(1, resources, settings)
        reason = f"Invalid worker count {requested}: at least one worker is needed, so one is used"
        return WorkerLimit(1, requested, settings.policy, reason, "request", "--workers 1", threads)
    tightest = _tightest(requested, resources, settings, worker_bytes, running, growth_bytes, threads, others, on)
    most = max(1, tightest.workers)
    wanted = 1 if mode == "series" else requested
    workers = min(wanted, most)
    warnings = list(standing_warnings(resources, settings))
    if tightest.limited_by == "detection" or most < wanted:
        words = tightest.shortfall or tightest.reason
        if tightest.shortfall and tightest.limited_by == "memory":
            warnings.append(f"Memory warning: {tightest.shortfall}; using {workers}")
        if workers != requested:
            words = f"{workers} instead of {requested}: {words}"
        limited_by, hint = tightest.limited_by, tightest.hint
    elif mode == "series":
        words, limited_by, hint = "one model at a time (series mode)", "none", None
        if most > 1:
            words += f"; this machine allows {_count(most)}"
            limited_by, hint = "request", "--mode parallel"
    elif most > wanted:
        words = f"{_count(workers)} as requested; this machine allows {most}: {tightest.reason}"
        limited_by, hint = "request", f"--workers {most}"
    else:
        words = f"{_count(workers)} as requested, all that this machine allows: {tightest.reason}"
        limited_by, hint = "none", tightest.hint
    threads = threads_allowed(workers, resources, settings)
    return WorkerLimit(workers, requested, settings.policy, words, limited_by, hint, threads, tuple(warnings))


@dataclass(frozen=True, slots=True)
class Capacity:
    """The most workers the machine allows, whatever is requested; fields as in `WorkerLimit`."""

    workers: int
    limited_by: str
    reason: str
    hint: str | None


def capacity(resources: SystemResources, settings: Thresholds, on: OnDevices | None = None) -> Capacity:
    """The most workers the machine allows, what decides that, and the flag that would allow more."""
    tightest = _tightest(1, resources, settings, None, 0, 0, 1, None, on)
    return Capacity(max(1, tightest.workers), tightest.limited_by, tightest.reason, tightest.hint)


def _tightest(
    requested: int,
    resources: SystemResources,
    settings: Thresholds,
    worker_bytes: int | None,
    running: int,
    growth_bytes: int,
    threads: int,
    others: OtherRuns | None,
    on: OnDevices | None,
) -> _Cap:
    """The limit that allows the fewest workers; between equal ones the more severe."""
    if resources.failures:
        what = "; ".join(resources.failures)
        return _Cap(0, "detection", f"detection failed ({what}), so one worker is used", None)
    caps = _one_worker_caps(resources, settings) if settings.policy == "shared" else []
    caps.append(_cpu_cap(resources, settings, threads))
    caps += _memory_caps(requested, resources, settings, worker_bytes, running, growth_bytes, on)
    if on is not None:
        caps.append(_device_cap(on))
    if others is not None and others.workers > 0:
        share = cpu_share(resources, settings)
        left = [(share - others.cpus) // threads]
        fixed = memory_capacity(resources, settings, on)
        if fixed is not None:
            left.append(fixed - others.workers)
        reason = (
            f"your other runs have {_count(others.workers)} on {_cpus(others.cpus)}, and all your runs together may "
            f"use {_cpus(share)}"
        )
        caps.append(_Cap(max(1, min(left)), "other_runs", reason, "--after RUN"))
    return min(caps, key=lambda cap: cap.workers)


def threads_allowed(workers: int, resources: SystemResources, settings: Thresholds, *, other_threads: int = 0) -> int:
    """Threads per worker such that `workers` together keep within the policy's CPUs; at least one."""
    return max(1, (cpu_share(resources, settings) - other_threads) // max(1, workers))


def cpu_share(resources: SystemResources, settings: Thresholds) -> int:
    """CPUs that all workers together may use under the policy; at least one."""
    if settings.policy == "dedicated":
        return max(1, resources.cpu_count)
    return max(1, math.floor(resources.cpu_count * settings.max_cpu_utilization + 1e-9))


def require_room_for_one(estimated_bytes: int, resources: SystemResources) -> None:
    """Raise `ResourceError` if one model alone (bytes) exceeds all the memory this process may use."""
    if resources.failures or estimated_bytes <= resources.memory_gb * GIB:
        return
    source = f" ({resources.memory_limit_source})" if resources.memory_limit_source else ""
    raise ResourceError(
        f"one model needs about {estimated_bytes / GIB:.1f} GiB, but {resources.memory_gb:.1f} GiB is all that this "
        f"process may use{named(source)}: train with a smaller --model-size or --batch-size, or raise that limit"
    )


def memory_capacity(resources: SystemResources, settings: Thresholds, on: OnDevices | None = None) -> int | None:
    """Workers that fit in memory at a fixed size each; None if memory is measured instead."""
    if is_measured(settings, on):
        return None
    return math.floor(_FIRMWARE_SHARE * resources.memory_gb / float(settings.memory_per_worker_gb) + 1e-9)


def is_busy(resources: SystemResources, settings: Thresholds) -> bool:
    """Whether others' work keeps the CPUs busier than the threshold."""
    return _others_percent(resources) > settings.high_cpu_threshold


def is_low_on_memory(resources: SystemResources, settings: Thresholds) -> bool:
    """Whether less memory is available than the policy requires to be free."""
    return resources.available_memory_gb < settings.min_available_memory_gb


def is_measured(settings: Thresholds, on: OnDevices | None = None) -> bool:
    """Whether a worker's memory is measured. On GPUs it is, unless another size than the default is set: most of what a
    model takes is then the GPU's memory.
    """
    size = settings.memory_per_worker_gb
    return settings.policy == "dedicated" or size == "measured" or (on is not None and size == MEMORY_PER_WORKER)


def _device_cap(on: OnDevices) -> _Cap:
    devices = "1 GPU" if on.devices == 1 else f"{on.devices} GPUs"
    each = f", {on.per_model} for each worker" if on.per_model > 1 else ""
    reason = f"GPU limit: at most {WORKERS_PER_DEVICE} workers on each of {devices}{each}"
    return _Cap(on.devices * WORKERS_PER_DEVICE // on.per_model, "devices", reason, None)


def _others_percent(resources: SystemResources) -> float:
    return resources.cpu_usage_percent if resources.others_cpu_percent is None else resources.others_cpu_percent


def _cpu_cap(resources: SystemResources, settings: Thresholds, threads: int) -> _Cap:
    cpus = f"the {resources.cpu_count} CPUs" if resources.cpu_count != 1 else "the 1 CPU"
    cpus += f" this process may use{_because(resources.cpu_limit_source)}"
    each = f", {threads} threads per worker" if threads > 1 else ""
    if settings.policy == "dedicated":
        reason = f"CPU limit: one worker for each of {cpus} (policy dedicated; memory is measured)"
        return _Cap(cpu_share(resources, settings) // threads, "cpu", reason + each, None)
    part = "half" if settings.max_cpu_utilization == 0.5 else f"{100 * settings.max_cpu_utilization:g} %"
    reason = f"CPU limit: at most {part} of {cpus} (policy shared)"
    hint = "--policy dedicated" if resources.cpu_count > 1 else None
    return _Cap(cpu_share(resources, settings) // threads, "cpu", reason + each, hint)


def _memory_caps(
    requested: int,
    resources: SystemResources,
    settings: Thresholds,
    worker_bytes: int | None,
    running: int,
    growth_bytes: int,
    on: OnDevices | None,
) -> list[_Cap]:
    fixed = memory_capacity(resources, settings, on)
    where = _because(resources.memory_limit_source)
    if fixed is not None:
        each = float(settings.memory_per_worker_gb)
        needs = "1 worker needs" if requested == 1 else f"{requested} workers need"
        shortfall = f"{needs} {requested * each:g}GB, but only {resources.memory_gb:.1f}GB available{where}"
        reason = f"memory limit: {each:g} GiB per worker of {resources.memory_gb:.1f} GiB{where}"
        return [_Cap(fixed, "memory", reason, "--policy dedicated", shortfall)]
    if worker_bytes is None or worker_bytes <= 0:
        return []
    free = resources.available_memory_gb * GIB - growth_bytes
    more = max(0, math.floor(free / (worker_bytes * MEASURED_MARGIN)))
    reason = (
        f"memory limit: a worker takes {_size(worker_bytes)} (with a margin of "
        f"{100 * (MEASURED_MARGIN - 1):.0f} %), and {_size(max(0, free))} is available{where}"
    )
    if running:
        reason += f" beside the {running} running"
    return [_Cap(running + more, "memory", reason, "--batch-size N (smaller) or --model-size N (smaller)")]


def _one_worker_caps(resources: SystemResources, settings: Thresholds) -> list[_Cap]:
    caps = []
    if is_low_on_memory(resources, settings):
        caps.append(_Cap(1, "memory", _low_memory_words(resources, settings), "--policy dedicated"))
    if is_busy(resources, settings):
        caps.append(_Cap(1, "busy", _busy_words(resources, settings), "--policy dedicated"))
    return caps


def standing_warnings(resources: SystemResources, settings: Thresholds) -> tuple[str, ...]:
    """What is wrong with the machine now, however many workers are requested."""
    if resources.failures:
        return tuple(f"Detection failed: {failure}" for failure in resources.failures)
    warnings = []
    if settings.policy == "shared":
        if is_low_on_memory(resources, settings):
            warnings.append("Memory warning: " + _low_memory_words(resources, settings))
        if is_busy(resources, settings):
            warnings.append("CPU warning: " + _busy_words(resources, settings))
    return tuple(warnings)


def _low_memory_words(resources: SystemResources, settings: Thresholds) -> str:
    return (
        f"only {resources.available_memory_gb:.1f} GiB of memory is available, less than the "
        f"{settings.min_available_memory_gb:g} GiB that must be free{_because(resources.memory_limit_source)}"
    )


def _busy_words(resources: SystemResources, settings: Thresholds) -> str:
    return (
        f"the CPUs are {_others_percent(resources):.0f} % busy with others' work, more than "
        f"{settings.high_cpu_threshold:g} % (high CPU usage)"
    )


def _because(source: str | None) -> str:
    return f" ({source})" if source else ""


def _count(workers: int) -> str:
    return "1 worker" if workers == 1 else f"{workers} workers"


def _cpus(cpus: int) -> str:
    return "1 CPU" if cpus == 1 else f"{cpus} CPUs"


def _size(size: float) -> str:
    return f"{size / GIB:.1f} GiB" if size >= 0.95 * GIB else f"{size / 2**20:.0f} MiB"
