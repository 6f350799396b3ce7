"""The memory of a worker with all processes of its command, and whether they use a CPU."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import psutil

from forge_tui.resources.oom import oom_counter, oom_kills_in
from forge_tui.resources.process_memory import process_memory
from forge_tui.resources.system_probe import SystemProbe
from forge_tui.worker.command_process import peak_of_ended

_FIRST_SECONDS, _SECONDS = 0.5, 1.0
_STEP = 1.05
_BUSY_SECONDS = 0.05


class TreeMeter:
    """Measures the processes below `pid` (this worker), in bytes; shared pages count once per process."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._base = 0
        self._peak = self._told = 0
        self._cpu = 0.0
        self._next = 0.0
        self._kills: int | None = None

    def begin(self) -> None:
        """Note what the worker itself has, before the command is there."""
        memory = process_memory(self._pid)
        self._base = 0 if memory is None else memory.resident
        self._kills = _oom_kills()
        self._next = time.monotonic() + _FIRST_SECONDS

    def look(self, send: Callable[[dict[str, Any]], None]) -> bool:
        """Once a second: report a new peak, and return whether the processes have used a CPU since then."""
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + _SECONDS
        memory, cpu = 0, 0.0
        for process in self._tree():
            try:
                used = process_memory(process.pid)
                times = process.cpu_times()
            except psutil.Error:
                continue
            memory += 0 if used is None else used.resident
            cpu += times.user + times.system
        self._take(memory, send)
        was_busy, self._cpu = abs(cpu - self._cpu) >= _BUSY_SECONDS, cpu
        return was_busy

    def end(self, send: Callable[[dict[str, Any]], None]) -> None:
        """Report the peak of a command that has ended, perhaps before it was measured."""
        self._take(peak_of_ended(), send)

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel has killed a process for lack of memory since `begin`."""
        now = _oom_kills()
        return now is not None and self._kills is not None and now > self._kills

    def processes(self) -> str:
        """The command's processes in words, one a line."""
        found = []
        for process in self._tree():
            try:
                found.append(f"{process.name()} ({process.pid}): {process.status()}")
            except psutil.Error:
                continue
        return "\n".join(["processes of the command:", *found])

    def _tree(self) -> list[psutil.Process]:
        try:
            found: list[psutil.Process] = psutil.Process(self._pid).children(recursive=True)
            return found
        except psutil.Error:
            return []

    def _take(self, memory: int, send: Callable[[dict[str, Any]], None]) -> None:
        self._peak = max(self._peak, memory)
        if self._peak > self._told * _STEP:
            self._told = self._peak
            send({"memory": self._peak, "shared": self._base})


@functools.cache
def oom_counter_here() -> str:
    """The file with the count; found once, in the fork server: that takes 3 ms."""
    return oom_counter(SystemProbe().read)


def _oom_kills() -> int | None:
    return oom_kills_in(SystemProbe().read, oom_counter_here())
