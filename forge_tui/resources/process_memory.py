"""Memory of one process, as the kernel counts it (proc_pid_status(5))."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """Bytes: resident now, its peak, and the part that is not backed by files (None: unknown)."""

    resident: int
    peak: int | None
    anonymous: int | None


def process_memory(pid: int) -> ProcessMemory | None:
    """A process's resident memory; None if it has ended (a zombie has no memory)."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return _by_psutil(pid)
    except ProcessLookupError:
        return None
    sizes = {}
    for line in lines:
        name, _, rest = line.partition(":")
        if name in ("VmRSS", "VmHWM", "RssAnon"):
            sizes[name] = 1024 * int(rest.split()[0])
    if "VmRSS" not in sizes:
        return None
    return ProcessMemory(sizes["VmRSS"], sizes.get("VmHWM"), sizes.get("RssAnon"))


def peak_rss(pid: int) -> int | None:
    """The peak resident memory of a process, in bytes; None if it has ended or the system does not report it."""
    memory = process_memory(pid)
    return memory.peak if memory else None


def process_tree_rss(pid: int) -> int:
    """Resident bytes of a process and all its descendants; shared pages count once per process."""
    own = process_memory(pid)
    return (0 if own is None else own.resident) + descendants_rss(pid)


def ancestor_among(pid: int, wanted: Collection[int]) -> int | None:
    """The process itself or its nearest ancestor that is one of the `wanted`; None if none is.

    It reads as many processes as there are ancestors, where to look for descendants reads all of the machine's.
    """
    try:
        process: psutil.Process | None = psutil.Process(pid)
        while process is not None:
            if process.pid in wanted:
                return int(process.pid)
            process = process.parent()
    except psutil.Error:
        pass
    return None


def descendants_rss(pid: int) -> int:
    """Resident bytes of all descendants of a process; shared pages count once per process."""
    try:
        processes = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return 0
    memories = (process_memory(process.pid) for process in processes)
    return sum(memory.resident for memory in memories if memory is not None)


def _by_psutil(pid: int) -> ProcessMemory | None:
    try:
        return ProcessMemory(int(psutil.Process(pid).memory_info().rss), None, None)
    except psutil.Error:
        return None
