"""Out-of-memory kills by the kernel, which the killed process cannot report itself.

Sources: the kernel's Documentation/admin-guide/cgroup-v2 (memory.events) and cgroup-v1/memory (memory.oom_control),
proc_vmstat(5). Counted since kernel 4.13.
"""

from __future__ import annotations

from forge_tui.resources.cgroups import Read, find_groups


def oom_kills(read: Read) -> int | None:
    """How many processes near this one the kernel has killed for lack of memory so far; None if not counted.

    A rise between two calls means a kill in between. The kernel counts a kill in the victim's group, whichever limit
    was hit, so the count of this process's nearest group is used: those further up include other users' processes
    (v2) or none of ours (v1). Without such a group it is the machine's count.
    """
    return _count(read, oom_counter(read))


def oom_counter(read: Read) -> str:
    """The file with that count. It stays the same for a process that stays in its group."""
    paths = (f"{directory}/{name}" for directory, name in _counters(read))
    return next((path for path in paths if _count(read, path) is not None), "/proc/vmstat")


def oom_kills_in(read: Read, counter: str) -> int | None:
    """As `oom_kills`, from the file that `oom_counter` found."""
    return _count(read, counter)


def _counters(read: Read) -> list[tuple[str, str]]:
    """The files that may have a count, this process's own group before its ancestors."""
    try:
        groups, _ = find_groups(read)
    except (OSError, ValueError):
        return []  # the machine's count remains
    return [
        (directory, "memory.events" if group.version == 2 else "memory.oom_control")
        for group in groups
        if group.version == 2 or "memory" in group.controllers
        for directory in group.directories
    ]


def _count(read: Read, path: str) -> int | None:
    """The number in the line `oom_kill N` of a file; None if there is none."""
    try:
        lines = (read(path) or "").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(" ")
        if name == "oom_kill" and value.strip().isdigit():
            return int(value)
    return None
