"""Clocks of a profile: phases of training by the wall clock, and what the process had of the CPUs meanwhile."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from forge_tui.training.process import synchronize

# A trace of more phases is too large to look at.
_MOST_SPANS = 4_000
_SCHEDULER = Path("/proc/thread-self/schedstat")


@dataclass(slots=True)
class Total:
    """How often a phase was measured, and its nanoseconds in all."""

    times: int = 0
    nanoseconds: int = 0


class PhaseClock:
    """Divides the time of one thread into phases, without gaps: each mark ends the phase that it names.

    On a GPU a mark waits until it has done all so far, so that the time of a phase is its own.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._at = 0
        self.totals: dict[str, Total] = {}
        self.spans: list[tuple[str, int, int]] = []
        """The first phases: name, begin and end by `time.perf_counter_ns`."""

    def start(self) -> None:
        """The time from here is the next mark's."""
        synchronize(self._device)
        self._at = time.perf_counter_ns()

    def mark(self, phase: str, *, times: int = 1) -> None:
        """The time since the last mark was `phase`; `times`: how often that counts."""
        synchronize(self._device)
        begun, self._at = self._at, time.perf_counter_ns()
        total = self.totals.get(phase)
        if total is None:
            total = self.totals[phase] = Total()
        total.times += times
        total.nanoseconds += self._at - begun
        if len(self.spans) < _MOST_SPANS:
            self.spans.append((phase, begun, self._at))


class CpuClock:
    """What the process had of the CPUs since it was made. Used in the training thread."""

    def __init__(self) -> None:
        self._begun, self._used, self._waited = time.perf_counter(), time.process_time(), _waited_seconds()

    @property
    def seconds(self) -> float:
        """Wall-clock seconds."""
        return time.perf_counter() - self._begun

    @property
    def cpus(self) -> float:
        """How many CPUs all threads together kept busy (the mean)."""
        return (time.process_time() - self._used) / self.seconds

    @property
    def wait(self) -> float | None:
        """Share of the time in which this thread was ready but waited for a CPU; None: the system reports none."""
        now = _waited_seconds()
        return None if now is None or self._waited is None else min(1.0, (now - self._waited) / self.seconds)


def _waited_seconds() -> float | None:
    """Seconds that this thread has waited in a CPU's queue. Source: Linux, Documentation/scheduler/sched-stats.rst."""
    try:
        _running, waiting, _slices = _SCHEDULER.read_text().split()
        return int(waiting) / 1e9
    except (OSError, ValueError):
        return None
