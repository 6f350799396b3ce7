"""A worker's own measurement of its memory."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch

from forge_tui.resources.policy import CONTEXT_BYTES

_STEP = 1.05


class MemoryMeter:
    """Measures the memory of this process since it was forked, in bytes.

    Memory: peak RSS minus RSS at the start. Pages shared with the fork server are in both figures, so they count once
    for all workers; pages that this process has written to since are added. GPU memory: the peak reserved by torch, of
    several GPUs the largest, and the CUDA context, which torch does not count.
    """

    def __init__(self, device: str) -> None:
        self._on_gpu = device.startswith("cuda")
        self._peak_before = _peak()
        self._base = _status("VmRSS") or self._peak_before
        self._told = self._told_of_gpu = 0

    def grown(self) -> dict[str, int] | None:
        """`memory` and on a GPU `gpu_memory`; None if nearly the same as last time (1 µs; on a GPU more).

        `memory` does not include copied pages: see `with_copied`.
        """
        cost, on_gpu = self.peak(), self._reserved()
        if self._told and cost <= self._told * _STEP and on_gpu <= self._told_of_gpu * _STEP:
            return None
        self._told, self._told_of_gpu = max(cost, self._told), on_gpu
        costs = {"memory": cost}
        if on_gpu:
            costs["gpu_memory"] = on_gpu + CONTEXT_BYTES
        return costs

    def _reserved(self) -> int:
        """The peak that torch has reserved on a GPU; 0 before CUDA has started."""
        if not self._on_gpu or not torch.cuda.is_initialized():
            return 0
        return max(torch.cuda.max_memory_reserved(number) for number in range(torch.cuda.device_count()))

    def with_copied(self, grown: dict[str, int]) -> dict[str, int]:
        """The result of `grown` with copied pages, and `shared`: its present cost is its RSS less this.

        Waits 5 ms for the kernel; callable in any thread.
        """
        copied = self._copied()
        return {**grown, "memory": grown["memory"] + copied, "shared": self._base - copied}

    def peak(self) -> int:
        """The peak growth so far."""
        peak = _peak()
        return self.now() if peak == self._peak_before else max(0, peak - self._base)

    def now(self) -> int:
        """The present growth, as far as the system reports it."""
        return max(0, _status("VmRSS") - self._base)

    def _copied(self) -> int:
        """Bytes of the fork server's pages that were copied because this process wrote to them."""
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
    """A size from /proc/self/status (proc_pid_status(5)), in bytes; 0 if missing."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)


def _peak() -> int:
    """The peak RSS of this process: the kernel's VmHWM, without reading a file."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
