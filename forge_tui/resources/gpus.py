"""The NVIDIA GPUs of this machine, by NVML."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

# Any of these means that there is a driver; without one, pynvml (50 ms to import) is not imported.
_DRIVER_FILES = ("/dev/nvidiactl", "/proc/driver/nvidia/version", "/dev/dxg")
# Newest first: which of them there is depends on the driver and on the library.
_PROCESS_LISTS = (
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlDeviceGetComputeRunningProcesses_v2",
    "nvmlDeviceGetComputeRunningProcesses",
)

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process on a GPU, as its driver counts it: memory in bytes with the CUDA context, None where unknown."""

    pid: int
    memory: int | None


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, or one MIG instance of a GPU.

    `index`: NVML's, `uuid`: `GPU-…` or `MIG-…`. Memory in bytes (a total of 0: unknown), use in percent, temperature in
    °C (None if the driver does not report it). `processes`: those on it, None if unknown. `parent`: the UUID of the GPU
    that a MIG instance is a part of, which has the same index. `problem`: why nothing can run on it, in words (lost,
    uncorrectable memory errors), else None. `energy_joules`: what the whole GPU has used since its driver was loaded
    (None before Volta).
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
    energy_joules: float | None = field(default=None, compare=False)

    @property
    def memory_free(self) -> int:
        """Bytes that no process has."""
        return max(0, self.memory_total - self.memory_used)

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict, with the processes as `[{pid, memory}]`."""
        record = asdict(self)
        record["processes"] = None if self.processes is None else [asdict(one) for one in self.processes]
        return record

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Gpu:
        """From what `to_record` made."""
        processes = record["processes"]
        known = None if processes is None else tuple(GpuProcess(**one) for one in processes)
        return cls(**{**record, "processes": known})


class GpuReader:
    """Reads the GPUs. NVML stays open from the first reading to `close`.

    Opening it for every reading costs seconds where no other program keeps the driver loaded, and a GPU that is lost
    meanwhile would change the others' indices. Not for use in a process that was forked after a reading. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_open = False
        self._close_next = False
        self._known: dict[str, Gpu] = {}

    def read(self) -> tuple[Gpu, ...]:
        """All GPUs that this process may use, with MIG instances instead of the GPUs that they are parts of.

        None without a driver. A GPU that cannot be read has a `problem`, and so has one that was there before and is
        no longer listed. Raises `OSError` when NVML is there but does not answer.
        """
        if not any(os.path.exists(path) for path in _DRIVER_FILES):
            return ()
        import pynvml  # heavy: only where there is a driver

        with self._lock:
            try:
                if not self._is_open:
                    pynvml.nvmlInit()
                    self._is_open = True
                count = pynvml.nvmlDeviceGetCount()
            except pynvml.NVMLError_LibraryNotFound:
                return ()
            except pynvml.NVMLError as error:
                self._shut()  # the next reading opens it anew
                raise OSError(f"NVML: {error}") from error
            found = [gpu for index in range(count) for gpu in self._at(index)]
            found += self._gone(found)
            there = {gpu.uuid for gpu in found}
            working = {gpu.uuid: gpu for gpu in found if gpu.uuid and gpu.problem is None}
            self._known = {uuid: gpu for uuid, gpu in self._known.items() if uuid in there} | working
            if self._close_next:
                self._shut()
            return tuple(found)

    def close(self) -> None:
        """Close NVML; another reading opens it again. Never waits: a reading that is under way closes it at its end."""
        self._close_next = True
        if self._lock.acquire(blocking=False):
            try:
                self._shut()
            finally:
                self._lock.release()

    def _shut(self) -> None:
        self._close_next = False
        if not self._is_open:
            return
        import pynvml

        self._is_open = False
        try:
            pynvml.nvmlShutdown()
        except pynvml.NVMLError:
            pass  # as closed as it can be: the driver was unloaded

    def _at(self, index: int) -> list[Gpu]:
        """The GPU of an index or its MIG instances; none if it belongs to another container or batch job."""
        import pynvml

        try:
            return list(_read_gpu(index))
        except pynvml.NVMLError as error:
            if error.value == pynvml.NVML_ERROR_NO_PERMISSION:
                return []
            words = _problem(error)
            before = [gpu for gpu in self._known.values() if gpu.index == index]
            return [_unusable(gpu, words) for gpu in before] or [Gpu(index, "unknown GPU", 0, 0, problem=words)]

    def _gone(self, found: list[Gpu]) -> list[Gpu]:
        """The GPUs that were there before, and are neither there now nor divided into or joined from MIG instances."""
        there = {gpu.uuid for gpu in found} | {gpu.parent for gpu in found if gpu.parent is not None}
        missing = [gpu for gpu in self._known.values() if gpu.uuid not in there and gpu.parent not in there]
        return [_unusable(gpu, "the driver no longer lists it") for gpu in missing]


def _read_gpu(index: int) -> Iterator[Gpu]:
    """The GPU, or its MIG instances. Raises `NVMLError`."""
    import pynvml

    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    rates = _optional(pynvml.nvmlDeviceGetUtilizationRates, handle)
    millijoules = _optional(pynvml.nvmlDeviceGetTotalEnergyConsumption, handle)
    whole = replace(
        _read_device(handle, index),
        utilization_percent=None if rates is None else float(rates.gpu),
        temperature=_temperature(handle),
        problem=_memory_problem(handle),
        energy_joules=None if millijoules is None else millijoules / 1000,
    )
    mode = _optional(pynvml.nvmlDeviceGetMigMode, handle)
    if mode is None or mode[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
        yield whole
        return
    instances = 0
    for number in range(_optional(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        instance = _optional(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, number)
        if instance is None:
            continue
        instances += 1
        yield replace(
            _read_device(instance, index),
            parent=whole.uuid,
            temperature=whole.temperature,
            problem=whole.problem,
            energy_joules=whole.energy_joules,
        )
    if not instances:
        yield replace(whole, problem=whole.problem or "MIG is on, and it has no instances (nvidia-smi mig)")


def _read_device(handle: object, index: int) -> Gpu:
    """What GPUs and MIG instances have in common."""
    import pynvml

    uuid, name = _text(pynvml.nvmlDeviceGetUUID(handle)), _text(pynvml.nvmlDeviceGetName(handle))
    memory = _optional(pynvml.nvmlDeviceGetMemoryInfo, handle)  # none of its own beside a Grace or GB10 CPU
    total, used = (0, 0) if memory is None else (int(memory.total), int(memory.used))
    return Gpu(index, name, total, used, uuid=uuid, processes=_processes(handle))


def _temperature(handle: object) -> float | None:
    import pynvml

    for name in ("nvmlDeviceGetTemperature", "nvmlDeviceGetTemperatureV"):  # CUDA 14 has only the second
        read = getattr(pynvml, name, None)
        found = None if read is None else _optional(read, handle, pynvml.NVML_TEMPERATURE_GPU)
        if found is not None:
            return float(found)
    return None


def _processes(handle: object) -> tuple[GpuProcess, ...] | None:
    import pynvml

    for name in _PROCESS_LISTS:
        read = getattr(pynvml, name, None)
        found = None if read is None else _optional(read, handle)
        if found is not None:
            return tuple(GpuProcess(one.pid, one.usedGpuMemory) for one in sorted(found, key=lambda one: one.pid))
    return None


def _memory_problem(handle: object) -> str | None:
    """Uncorrectable errors of a GPU's memory for which it must be reset or replaced, in words; else None.

    Source: NVIDIA, "GPU Memory Error Management", row remapping (since Ampere) and page retirement (before).
    """
    import pynvml

    rows = _optional(pynvml.nvmlDeviceGetRemappedRows, handle)
    if rows is not None:
        _, uncorrectable, pending, failed = rows
        if failed:
            return "uncorrectable memory errors, and no spare memory is left: row remapping failed"
        if pending and uncorrectable:
            return "uncorrectable memory errors: rows are remapped when it is reset (nvidia-smi --gpu-reset)"
        return None
    if not _optional(pynvml.nvmlDeviceGetRetiredPagesPendingStatus, handle):
        return None
    kind, since_load = pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
    if _optional(pynvml.nvmlDeviceGetTotalEccErrors, handle, kind, since_load):
        return "uncorrectable memory errors: pages are retired when it is reset (nvidia-smi --gpu-reset)"
    return None


def _optional(ask: Callable[..., _Value], *arguments: object) -> _Value | None:
    """The answer, or None if this GPU, driver or user has none. Raises `NVMLError` for a GPU that is lost."""
    import pynvml

    try:
        return ask(*arguments)
    except pynvml.NVMLError as error:
        if error.value in (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED):
            raise
        return None


def _problem(error: object) -> str:
    import pynvml

    match getattr(error, "value", None):
        case pynvml.NVML_ERROR_GPU_IS_LOST:
            return "the driver has lost it: it has fallen off the bus"
        case pynvml.NVML_ERROR_RESET_REQUIRED:
            return "it must be reset (nvidia-smi --gpu-reset)"
    return f"NVML cannot read it: {error}"


def _unusable(gpu: Gpu, problem: str) -> Gpu:
    """A GPU as it was last seen, with nothing free."""
    return replace(
        gpu, memory_used=gpu.memory_total, utilization_percent=None, temperature=None, processes=None, problem=problem
    )


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
