"""Steadies the machine's displayed figures: small fluctuations are not redrawn."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from forge_tui.resources.gpu_users import SeenGpu
    from forge_tui.resources.monitor import ResourceSample
    from forge_tui.resources.pressure import Pressure

PERCENT = 2.0
"""Percentage points by which CPU use and pressure may differ from the displayed values."""

CORE_PERCENT = 7.0
"""The same for one core, which is drawn as one of eight heights."""

MEMORY_BYTES = 64 << 20
LOAD = 0.1
DEGREES = 1.0


def steadied(sample: ResourceSample, shown: ResourceSample | None) -> ResourceSample:
    """`sample` with figures near the `shown` ones replaced by these; `shown` itself if all are."""
    if shown is None:
        return sample
    steady = replace(
        sample,
        cpu_percent=_near(sample.cpu_percent, shown.cpu_percent, PERCENT),
        others_cpu_percent=_near(sample.others_cpu_percent, shown.others_cpu_percent, PERCENT),
        memory_used=_near(sample.memory_used, shown.memory_used, MEMORY_BYTES),
        memory_available=_near(sample.memory_available, shown.memory_available, MEMORY_BYTES),
    )
    if len(sample.per_core) == len(shown.per_core):
        pairs = zip(sample.per_core, shown.per_core, strict=True)
        steady = replace(steady, per_core=tuple(_near(now, before, CORE_PERCENT) for now, before in pairs))
    if sample.load_average is not None and shown.load_average is not None:
        one, five, fifteen = zip(sample.load_average, shown.load_average, strict=True)
        steady = replace(steady, load_average=(_near(*one, LOAD), _near(*five, LOAD), _near(*fifteen, LOAD)))
    if len(sample.pressure) == len(shown.pressure) and all(map(_same_pressure, sample.pressure, shown.pressure)):
        steady = replace(steady, pressure=shown.pressure)
    return shown if replace(steady, time=shown.time, usage=shown.usage) == shown else steady


def steadied_gpus(seen: tuple[SeenGpu, ...], shown: tuple[SeenGpu, ...]) -> tuple[SeenGpu, ...]:
    """As `steadied`, for the GPUs."""
    if len(seen) != len(shown):
        return seen
    return tuple(_steadied_gpu(now, before) for now, before in zip(seen, shown, strict=True))


def _steadied_gpu(now: SeenGpu, shown: SeenGpu) -> SeenGpu:
    gpu, before = now.gpu, shown.gpu
    steady = replace(gpu, memory_used=_near(gpu.memory_used, before.memory_used, MEMORY_BYTES))
    if gpu.utilization_percent is not None and before.utilization_percent is not None:
        steady = replace(
            steady, utilization_percent=_near(gpu.utilization_percent, before.utilization_percent, PERCENT)
        )
    if gpu.temperature is not None and before.temperature is not None:
        steady = replace(steady, temperature=_near(gpu.temperature, before.temperature, DEGREES))
    return replace(now, gpu=steady)


_Number = TypeVar("_Number", int, float)


def _near(now: _Number, shown: _Number, tolerance: float) -> _Number:
    return shown if abs(now - shown) <= tolerance else now


def _same_pressure(now: Pressure, shown: Pressure) -> bool:
    return now.resource == shown.resource and abs(now.some_percent - shown.some_percent) <= PERCENT
