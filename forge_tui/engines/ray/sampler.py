"""An agent's samples of its node, taken in a thread."""

from __future__ import annotations

from dataclasses import replace

from forge_tui.resources.cgroups import read_limits
from forge_tui.resources.hardware import SystemResources, detect
from forge_tui.resources.monitor import Monitor, ResourceSample, memory_room
from forge_tui.resources.policy import GIB, Thresholds
from forge_tui.resources.system_probe import SystemProbe

_SECONDS = 2.0


class Sampler:
    """Takes a sample every two seconds. Close it."""

    def __init__(self, settings: Thresholds, probe: SystemProbe | None = None) -> None:
        self._settings, self._probe = settings, probe or SystemProbe()
        self._latest = detect(self._probe, settings)
        self._monitor = Monitor(self._probe, settings, _SECONDS, self._receive)

    def now(self) -> SystemResources:
        """The last sample with the present memory."""
        try:
            available, _limit = memory_room(self._probe, read_limits(self._probe.read))
        except Exception:  # a boundary, as in detection: use the last sample
            return self._latest
        return replace(self._latest, available_memory_gb=available / GIB)

    def close(self) -> None:
        """End the thread."""
        self._monitor.stop()

    def _receive(self, sample: ResourceSample) -> None:
        """Called in the monitor's thread; replacing one attribute needs no lock."""
        self._latest = detect(self._probe, self._settings, usage=sample.usage)
