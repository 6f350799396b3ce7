"""What a worker costs, measured by itself."""

from __future__ import annotations

import resource
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
        self._peak_before = _peak()
        self._base = _status("VmRSS") or self._peak_before
        self._told = 0

    def grown(self) -> dict[str, int] | None:
        """`memory` and on a GPU `gpu_memory`, or None while the cost is about what was told last (1 µs).

        `memory` lacks the pages that were copied: see `with_copied`.
        """
        cost = self.peak()
        if self._told and cost <= self._told * _STEP:
            return None
        self._told = cost
        told = {"memory": cost}
        if self._on_gpu:
            told["gpu_memory"] = torch.cuda.max_memory_reserved()
        return told

    def with_copied(self, told: dict[str, int]) -> dict[str, int]:
        """What `grown` gave, with the pages that were copied, and `shared`: its RSS less that is what it costs now.

        Takes 5 ms of waiting for the kernel, in any thread.
        """
        copied = self._copied()
        return {**told, "memory": told["memory"] + copied, "shared": self._base - copied}

    def peak(self) -> int:
        """The most it has grown by so far."""
        peak = _peak()
        return self.now() if peak == self._peak_before else max(0, peak - self._base)

    def now(self) -> int:
        """What it has grown by at this moment, as far as the system tells."""
        return max(0, _status("VmRSS") - self._base)

    def _copied(self) -> int:
        """Pages of the fork server that became this process's own by being written to."""
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


def _peak() -> int:
    """The most memory that this process has held: the kernel's VmHWM, without reading and parsing a file."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
