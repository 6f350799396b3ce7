"""What a worker costs, measured by itself."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

_STEP = 1.05


class MemoryMeter:
    """Measures what this process costs since it was forked, in bytes.

    Memory: its peak RSS minus its RSS at the start. Pages shared with the fork server are in both figures, so they
    count once for all workers; those of them that this process has written to since are its own, and are added. GPU
    memory: the most that torch has reserved on `device`.
    """

    def __init__(self, device: str) -> None:
        self._on_gpu = device.startswith("cuda")
        self._base = _status("VmRSS") or _peak_by_rusage()
        self._peak_before = _status("VmHWM")  # in a process that was just forked the same
        self._told = 0
        self._seen = 0

    def grown(self) -> dict[str, int] | None:
        """`memory` and on a GPU `gpu_memory`, or None while the cost is about what was told last."""
        # Asked first: it takes 2 µs, reading the kernel's account 150 µs of every epoch.
        before, self._seen = self._seen, _peak_by_rusage()
        if self._told and self._seen == before:
            return None
        cost = self.peak()
        if self._told and cost <= self._told * _STEP:
            return None
        self._told = cost
        told = {"memory": cost + self._copied()}
        if self._on_gpu:
            told["gpu_memory"] = torch.cuda.max_memory_reserved()
        return told

    def peak(self) -> int:
        """The most it has grown by so far."""
        peak = _status("VmHWM") or _peak_by_rusage()
        return self.now() if peak == self._peak_before else max(0, peak - self._base)

    def now(self) -> int:
        """What it has grown by at this moment, as far as the system tells."""
        return max(0, _status("VmRSS") - self._base)

    def _copied(self) -> int:
        """Pages of the fork server that became this process's own by being written to; reading them takes 1 ms."""
        private = 0
        try:
            for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
                if line.startswith(("Private_Dirty:", "Private_Clean:")):
                    private += int(line.split()[1]) * 1024
        except OSError:
            return 0
        grown = _status("VmRSS") - self._base
        return min(self._base, max(0, private - max(0, grown)))


def _status(name: str) -> int:
    """A size from the kernel's account of this process (proc_pid_status(5)), in bytes; 0 where there is none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)


def _peak_by_rusage() -> int:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
