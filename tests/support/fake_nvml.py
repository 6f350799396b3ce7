"""A machine's NVML without a GPU: the C library under nvidia-ml-py, whose Python side is the real one.

Faithful in what it does as NVIDIA's own does: a GPU of another container is counted and cannot be opened, a lost one
answers nothing, MIG instances have handles of their own, process lists need a second call, and what a GPU does not have
is "not supported".
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pynvml
import pytest

from forge_tui.resources import gpus

GIB = 2**30
NOT_AVAILABLE = 2**64 - 1


@dataclass
class Instance:
    """A MIG instance: memory and processes (pid, bytes) are its own."""

    uuid: str
    name: str = "NVIDIA A100-SXM4-40GB MIG 1g.5gb"
    total: int = 5 * GIB
    used: int = GIB // 8
    processes: list[tuple[int, int]] | None = field(default_factory=list)


@dataclass
class Card:
    """A GPU. None: not supported. `error`: the code of every call for it. `mig`: its instances, if MIG is on.

    `energy`: in millijoules.
    """

    uuid: str
    name: str = "NVIDIA H100 80GB HBM3"
    total: int | None = 80 * GIB
    used: int = GIB
    busy: int | None = 0
    temperature: int | None = 35
    processes: list[tuple[int, int]] | None = field(default_factory=list)
    remapped: tuple[int, int, int, int] | None = (0, 0, 0, 0)
    retirement_pending: int | None = None
    uncorrected: int = 0
    mig: dict[int, Instance] | None = None
    energy: int | None = None
    error: int = 0


class FakeNvml:
    """NVML's C functions for these `cards`. `missing`: functions that this driver does not have yet.

    `opened` counts the inits without a shutdown; `hangs`: every call waits for it.
    """

    def __init__(self, cards: list[Card], missing: tuple[str, ...] = ()) -> None:
        self.cards, self.missing = cards, missing
        self.opened = self.inits = 0
        self.init_error = 0
        self.hangs: threading.Event | None = None

    def __getattr__(self, name: str) -> Callable[..., int]:
        try:
            found: Callable[..., int] = object.__getattribute__(self, f"_{name}")
        except AttributeError:
            raise AttributeError(name) from None  # as ctypes does for a symbol that is not in the library
        if name in self.missing:
            raise AttributeError(name)

        def call(*arguments: Any) -> int:
            if self.hangs is not None:
                self.hangs.wait(30)
            return found(*arguments)

        return call

    def _nvmlInitWithFlags(self, _flags: int) -> int:
        if self.init_error:
            return self.init_error
        self.opened += 1
        self.inits += 1
        return 0

    def _nvmlShutdown(self) -> int:
        self.opened -= 1
        return 0

    def _nvmlDeviceGetCount_v2(self, count: Any) -> int:
        if not self.opened:
            return int(pynvml.NVML_ERROR_UNINITIALIZED)
        count._obj.value = len(self.cards)
        return 0

    def _nvmlDeviceGetHandleByIndex_v2(self, index: Any, handle: Any) -> int:
        card = self.cards[index.value]
        ctypes.c_void_p.from_buffer(handle._obj).value = 0x1000 * (index.value + 1)
        return card.error

    def _nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Any, number: Any, instance: Any) -> int:
        card = self._at(handle)
        assert isinstance(card, Card)
        if card.mig is None or number.value not in card.mig:
            return int(pynvml.NVML_ERROR_NOT_FOUND)
        ctypes.c_void_p.from_buffer(instance._obj).value = _address(handle) + 1 + number.value
        return 0

    def _at(self, handle: Any) -> Card | Instance:
        number, instance = divmod(_address(handle), 0x1000)
        card = self.cards[number - 1]
        return card if not instance else (card.mig or {})[instance - 1]

    def _error(self, handle: Any) -> int:
        return getattr(self._at(handle), "error", 0)

    def _nvmlDeviceGetUUID(self, handle: Any, buffer: Any, _size: Any) -> int:
        buffer.value = self._at(handle).uuid.encode()
        return self._error(handle)

    def _nvmlDeviceGetName(self, handle: Any, buffer: Any, _size: Any) -> int:
        buffer.value = self._at(handle).name.encode()
        return self._error(handle)

    def _nvmlDeviceGetMemoryInfo(self, handle: Any, memory: Any) -> int:
        one = self._at(handle)
        if one.total is None:
            return int(pynvml.NVML_ERROR_NOT_SUPPORTED)
        memory._obj.total, memory._obj.used, memory._obj.free = one.total, one.used, one.total - one.used
        return self._error(handle)

    def _nvmlDeviceGetUtilizationRates(self, handle: Any, rates: Any) -> int:
        return self._number(handle, "busy", lambda value: setattr(rates._obj, "gpu", value))

    def _nvmlDeviceGetTemperature(self, handle: Any, _sensor: Any, degrees: Any) -> int:
        return self._number(handle, "temperature", lambda value: setattr(degrees._obj, "value", value))

    def _nvmlDeviceGetTemperatureV(self, handle: Any, degrees: Any) -> int:
        return self._number(handle, "temperature", lambda value: setattr(degrees._obj, "temperature", value))

    def _nvmlDeviceGetMigMode(self, handle: Any, current: Any, pending: Any) -> int:
        card = self._at(handle)
        if not isinstance(card, Card) or card.name.startswith("Tesla"):
            return int(pynvml.NVML_ERROR_NOT_SUPPORTED)
        current._obj.value = pending._obj.value = 0 if card.mig is None else 1
        return card.error

    def _nvmlDeviceGetMaxMigDeviceCount(self, handle: Any, count: Any) -> int:
        count._obj.value = 7
        return self._error(handle)

    def _nvmlDeviceGetTotalEnergyConsumption(self, handle: Any, energy: Any) -> int:
        return self._number(handle, "energy", lambda value: setattr(energy._obj, "value", value))

    def _nvmlDeviceGetRemappedRows(self, handle: Any, *counts: Any) -> int:
        card = self._at(handle)
        rows = getattr(card, "remapped", None)
        if rows is None:
            return int(pynvml.NVML_ERROR_NOT_SUPPORTED)
        for count, value in zip(counts, rows, strict=True):
            count._obj.value = value
        return self._error(handle)

    def _nvmlDeviceGetRetiredPagesPendingStatus(self, handle: Any, pending: Any) -> int:
        return self._number(handle, "retirement_pending", lambda value: setattr(pending._obj, "value", value))

    def _nvmlDeviceGetTotalEccErrors(self, handle: Any, kind: Any, counter: Any, count: Any) -> int:
        assert (kind.value, counter.value) == (pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC)
        return self._number(handle, "uncorrected", lambda value: setattr(count._obj, "value", value))

    def _nvmlDeviceGetComputeRunningProcesses_v3(self, handle: Any, count: Any, found: Any) -> int:
        processes = self._at(handle).processes
        if processes is None:
            return int(pynvml.NVML_ERROR_NO_PERMISSION)
        room, count._obj.value = count._obj.value, len(processes)
        if len(processes) > room:
            return int(pynvml.NVML_ERROR_INSUFFICIENT_SIZE)
        for place, (pid, memory) in enumerate(processes):
            found[place].pid, found[place].usedGpuMemory = pid, memory
        return self._error(handle)

    _nvmlDeviceGetComputeRunningProcesses_v2 = _nvmlDeviceGetComputeRunningProcesses_v3

    def _number(self, handle: Any, name: str, put: Callable[[int], None]) -> int:
        value = getattr(self._at(handle), name, None)
        if value is None:
            return int(pynvml.NVML_ERROR_NOT_SUPPORTED)
        put(value)
        return self._error(handle)


def install(monkeypatch: pytest.MonkeyPatch, *cards: Card, missing: tuple[str, ...] = ()) -> FakeNvml:
    """Let nvidia-ml-py find this library instead of the driver's."""
    fake = FakeNvml(list(cards), missing)
    monkeypatch.setattr(gpus, "_DRIVER_FILES", ("/",))
    monkeypatch.setattr(pynvml, "nvmlLib", fake)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    return fake


def _address(handle: Any) -> int:
    return int(ctypes.cast(handle, ctypes.c_void_p).value or 0)
