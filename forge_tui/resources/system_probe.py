"""The only access to the system: psutil, /proc, /sys and the environment. Tests replace it."""

from __future__ import annotations

import errno
import functools
import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from forge_tui.resources.gpu_sampler import GpuSampler
from forge_tui.resources.gpus import Gpu, GpuReader


@dataclass(frozen=True, slots=True)
class Memory:
    """Physical memory in bytes: total, and available without swapping (cache counts as free)."""

    total: int
    available: int


class SystemProbe:
    """Reads this machine. Every method may raise; detection turns that into one worker.

    `root` replaces `/` in all paths: a test passes a directory with its own /proc and /sys.
    psutil's functions are looked up at each call, so that tests can patch them. Close it once it is no longer used.
    """

    def __init__(self, root: str | Path = "/", environment: Mapping[str, str] | None = None) -> None:
        self.root = Path(root)
        self.environment: Mapping[str, str] = os.environ if environment is None else environment

    def read(self, path: str) -> str | None:
        """Text of a file given by its absolute path; None if it does not exist or the kernel does not support it."""
        try:
            return (self.root / path.lstrip("/")).read_text(errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno in _NOT_OFFERED:
                return None
            raise

    def names(self, path: str) -> tuple[str, ...]:
        """The names in a directory, sorted; empty if it does not exist."""
        try:
            return tuple(sorted(os.listdir(self.root / path.lstrip("/"))))
        except (FileNotFoundError, NotADirectoryError):
            return ()

    def link(self, path: str) -> str | None:
        """The target of a symbolic link; None if there is no such link."""
        try:
            return os.readlink(self.root / path.lstrip("/"))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EINVAL):
                return None
            raise

    def user_name(self, uid: int) -> str:
        """The name of a user; the number if it has none."""
        try:
            return pwd.getpwuid(uid).pw_name
        except (KeyError, OverflowError):
            return str(uid)

    def writable(self, path: str) -> bool:
        """Whether this process may write the file."""
        return os.access(self.root / path.lstrip("/"), os.W_OK)

    def cpu_count(self) -> int:
        """Logical CPUs that are online. Raises `RuntimeError` if unknown."""
        count = psutil.cpu_count()
        if count is None or count < 1:
            raise RuntimeError("the number of CPUs is unknown")
        return int(count)

    def online_cpus(self) -> int:
        """CPUs that the kernel has online: an affinity mask of all of them is not a limit."""
        return os.sysconf("SC_NPROCESSORS_ONLN")

    def affinity(self) -> frozenset[int] | None:
        """CPUs this process may run on; None if the system has no CPU affinity."""
        if not hasattr(os, "sched_getaffinity"):
            return None
        return frozenset(os.sched_getaffinity(0))

    def memory(self) -> Memory:
        """Physical memory, from psutil."""
        memory = psutil.virtual_memory()
        return Memory(int(memory.total), int(memory.available))

    def cpu_percent(self, interval: float) -> float:
        """Use of all CPUs of the machine over the next `interval` seconds (0–100)."""
        return float(psutil.cpu_percent(interval=interval))

    def cpu_times(self) -> list[tuple[float, float]]:
        """(busy, total) seconds of each CPU since the machine started."""
        return [_busy_and_total(times) for times in psutil.cpu_times(percpu=True)]

    def load_average(self) -> tuple[float, float, float] | None:
        """Mean number of runnable processes over 1, 5 and 15 minutes."""
        return os.getloadavg() if hasattr(os, "getloadavg") else None

    def gpus(self) -> tuple[Gpu, ...]:
        """The GPUs of the machine. Raises `OSError` when the driver does not answer; it may hang."""
        return self._gpu_reader.read()

    @functools.cached_property
    def gpu_sampler(self) -> GpuSampler:
        """Reads `gpus` in a thread."""
        return GpuSampler(lambda: self.gpus())

    @functools.cached_property
    def _gpu_reader(self) -> GpuReader:
        return GpuReader()

    def close(self) -> None:
        """Let go of the driver, without waiting for it."""
        self._gpu_reader.close()


_NOT_OFFERED = {19, 95}  # ENODEV, EOPNOTSUPP: a pressure file of a kernel started with PSI off


def _busy_and_total(times: Any) -> tuple[float, float]:
    # As psutil.cpu_percent: guest time is already in user time, waiting for I/O is idle.
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total - times.idle - getattr(times, "iowait", 0.0), total
