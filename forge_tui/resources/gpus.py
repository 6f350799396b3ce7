"""The NVIDIA GPUs of this machine, by NVML."""

from __future__ import annotations

import os
from dataclasses import dataclass

# Any of these means that there is a driver; without one, pynvml (50 ms to import) is not imported.
_DRIVER_FILES = ("/dev/nvidiactl", "/proc/driver/nvidia/version", "/dev/dxg")


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process on a GPU, as its driver counts it: memory in bytes with the CUDA context, None where unknown."""

    pid: int
    memory: int | None


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, or one MIG instance of a GPU.

    `index`: NVML's, `uuid`: `GPU-…` or `MIG-…`. Memory in bytes, use in percent, temperature in °C (None if the driver
    does not report it). `processes`: those on it, None if unknown. `parent`: the UUID of the GPU that a MIG instance
    is a part of. `problem`: why nothing can run on it, in words (lost, uncorrectable memory errors), else None.
    """

    index: int
    name: str
    memory_total: int
    memory_used: int
    utilization_percent: float | None = None
    uuid: str = ""
    temperature: float | None = None
    processes: tuple[GpuProcess, ...] | None = None
    parent: str | None = None
    problem: str | None = None

    @property
    def memory_free(self) -> int:
        """Bytes that no process has."""
        return max(0, self.memory_total - self.memory_used)


def read_gpus() -> tuple[Gpu, ...]:
    """All GPUs NVML knows; none without a driver. Raises `OSError` when NVML is there but does not answer."""
    if not any(os.path.exists(path) for path in _DRIVER_FILES):
        return ()
    import pynvml  # heavy: only where there is a driver

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        return ()
    except pynvml.NVMLError as error:
        raise OSError(f"NVML: {error}") from error
    try:
        return tuple(_read_gpu(index) for index in range(pynvml.nvmlDeviceGetCount()))
    except pynvml.NVMLError as error:
        raise OSError(f"NVML: {error}") from error
    finally:
        pynvml.nvmlShutdown()


def _read_gpu(index: int) -> Gpu:
    import pynvml

    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    name = pynvml.nvmlDeviceGetName(handle)
    try:
        utilization: float | None = float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    except pynvml.NVMLError:  # not supported on partitioned (MIG) and some older devices
        utilization = None
    name = name.decode() if isinstance(name, bytes) else str(name)
    return Gpu(index, name, int(memory.total), int(memory.used), utilization)
