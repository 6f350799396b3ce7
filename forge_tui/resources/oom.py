"""Kills by the kernel for want of memory, which a killed process cannot tell of itself.

Sources: the kernel's Documentation/admin-guide/cgroup-v2 (memory.events) and cgroup-v1/memory (memory.oom_control),
proc_vmstat(5). Kernels since 4.13 count.
"""

from __future__ import annotations

from forge_tui.resources.cgroups import Read, find_groups


def oom_kills(read: Read) -> int | None:
    """How many processes near this one the kernel has killed for want of memory so far; None where nothing tells.

    A rise between two looks says that one was killed in between. The kernel counts a kill at the group its victim was
    in, whichever limit was hit, so the nearest group of this process that has a count is asked: those further up count
    other users' processes too (v2) or none of ours (v1). Without such a group it is the machine's count.
    """
    for directory, name in _counters(read):
        count = _count(read, f"{directory}/{name}")
        if count is not None:
            return count
    return _count(read, "/proc/vmstat")


def _counters(read: Read) -> list[tuple[str, str]]:
    """The files that may tell, this process's own group before its ancestors."""
    try:
        groups, _ = find_groups(read)
    except (OSError, ValueError):
        return []  # the machine's count is left
    return [
        (directory, "memory.events" if group.version == 2 else "memory.oom_control")
        for group in groups
        if group.version == 2 or "memory" in group.controllers
        for directory in group.directories
    ]


def _count(read: Read, path: str) -> int | None:
    """The number in the line `oom_kill N` of a file; None where there is none to be read."""
    try:
        lines = (read(path) or "").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(" ")
        if name == "oom_kill" and value.strip().isdigit():
            return int(value)
    return None
