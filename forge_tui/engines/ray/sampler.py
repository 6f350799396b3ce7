"""An agent's samples of its node, taken in a thread."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import NamedTuple

from forge_tui.resources.cgroups import read_limits
from forge_tui.resources.gpu_users import SeenGpu, seen_gpus
from forge_tui.resources.gpus import Gpu
from forge_tui.resources.hardware import GPU_START_SECONDS, SystemResources, detect
from forge_tui.resources.monitor import Monitor, ResourceSample, memory_room
from forge_tui.resources.policy import GIB, Thresholds
from forge_tui.resources.system_probe import SystemProbe

_SECONDS = 2.0


class Look(NamedTuple):
    """The GPUs at the newest sample, by its number; `read`: that of the sample in which the driver last gave them."""

    number: int
    read: int
    gpus: tuple[Gpu, ...]


class Sampler:
    """Takes a sample every two seconds. Close it."""

    def __init__(self, settings: Thresholds, probe: SystemProbe | None = None) -> None:
        self._settings, self._probe = settings, probe or SystemProbe()
        self._lock = threading.Lock()
        self._latest = detect(self._probe, settings, gpu_seconds=GPU_START_SECONDS)
        self._look = Look(1, 1, self._latest.gpus)
        self._monitor = Monitor(self._probe, settings, _SECONDS, self._receive)

    def now(self) -> SystemResources:
        """The last sample with the present memory."""
        try:
            available, _limit = memory_room(self._probe, read_limits(self._probe.read))
        except Exception:  # a boundary, as in detection: use the last sample
            return self._latest
        return replace(self._latest, available_memory_gb=available / GIB)

    def look(self) -> Look:
        """The GPUs as last seen."""
        return self._look

    def look_anew(self) -> None:
        """Take a new sample now, in 100 ms: a GPU may just have failed."""
        self._keep(detect(self._probe, self._settings))

    def seen(self) -> tuple[SeenGpu, ...]:
        """The GPUs, and who is on them."""
        return seen_gpus(self._look.gpus, self._probe)

    def close(self) -> None:
        """End the thread, and close the driver."""
        self._monitor.stop()
        self._probe.close()

    def _receive(self, sample: ResourceSample) -> None:
        """Called in the monitor's thread."""
        self._keep(detect(self._probe, self._settings, usage=sample.usage))

    def _keep(self, found: SystemResources) -> None:
        """Take a sample. Where the driver does not answer, it has the GPUs of the last answer again."""
        with self._lock:
            number, read, gpus = self._look
            is_new = found.gpus is not gpus
            self._latest = found
            self._look = Look(number + 1, number + 1 if is_new else read, found.gpus)
