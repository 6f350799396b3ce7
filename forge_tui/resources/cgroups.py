"""Limits of this process's control groups and all their ancestors: v1, v2 and both at once.

Sources: cgroups(7), proc_pid_mountinfo(5), the kernel's Documentation/admin-guide/cgroup-v1 and cgroup-v2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Read = Callable[[str], str | None]
"""The text of a file, None if it does not exist; raises `OSError` if it cannot be read."""

UNLIMITED_BYTES = 1 << 60  # v1 writes "no limit" as the greatest multiple of the page size in 63 bits


@dataclass(frozen=True, slots=True)
class Group:
    """This process's place in one hierarchy, as directories below the mount point, its own first."""

    version: int
    controllers: frozenset[str]
    path: str
    mount_point: str
    directories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """A memory limit (bytes), what is left of it (reclaimable cache counts as free), and the file that sets it."""

    limit: int
    headroom: int
    file: str


@dataclass(frozen=True, slots=True)
class CpuLimit:
    """A limit on CPUs (a quota may be fractional) and the file that sets it."""

    cpus: float
    file: str
    kind: str  # "quota" or "cpuset"


@dataclass(slots=True)
class CgroupLimits:
    """All limits found. `failures` are existing files that cannot be read: the limit is then unknown."""

    groups: tuple[Group, ...] = ()
    memory: list[MemoryLimit] = field(default_factory=list)
    cpus: list[CpuLimit] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def find_groups(read: Read) -> tuple[tuple[Group, ...], list[str]]:
    """The groups of this process and where they are mounted; the second value lists problems in words."""
    memberships = read("/proc/self/cgroup")
    mounts = read("/proc/self/mountinfo")
    if memberships is None or mounts is None:
        return (), []  # not Linux, or a kernel without control groups
    mounted = [mount for line in mounts.splitlines() if (mount := _parse_mount(line)) is not None]
    groups, problems = [], []
    for line in memberships.splitlines():
        number, controllers, path = line.split(":", 2)
        path = path.removesuffix(" (deleted)")
        version = 2 if number == "0" and not controllers else 1
        names = frozenset(controllers.split(",")) - {""}
        if version == 1 and not names & {"cpu", "cpuset", "memory"}:
            continue
        # A hierarchy may be mounted twice (in a container that sees the host's): the shortest root has most ancestors.
        candidates = sorted(
            (m for m in mounted if m[0] == version and (version == 2 or names & m[1])), key=lambda m: len(m[2])
        )
        if not candidates:
            continue
        fitting = [(mount[3], inner) for mount in candidates if (inner := _below(path, mount[2])) is not None]
        mount_point, inner = fitting[0] if fitting else (candidates[0][3], "")
        if not fitting:
            root = candidates[0][2]
            problems.append(
                f"the control group {path} lies outside what is mounted at {mount_point} (root {root}); "
                "only the limits at that mount point are seen"
            )
        groups.append(Group(version, names, path, mount_point, tuple(_upwards(mount_point, inner))))
    return tuple(groups), problems


def read_limits(read: Read) -> CgroupLimits:
    """Memory, quota and cpuset limits of every ancestor of this process's control groups."""
    found = CgroupLimits()
    try:
        found.groups, found.problems = find_groups(read)
    except (OSError, ValueError) as error:
        found.failures.append(f"control groups: {_words(error)}")
        return found
    for group in found.groups:
        for position, directory in enumerate(group.directories):
            for reader in _READERS[group.version]:
                if group.version == 1 and reader.controller not in group.controllers:
                    continue
                try:
                    reader.read(read, directory, position == 0, found)
                except (OSError, ValueError, IndexError, KeyError) as error:
                    found.failures.append(f"{directory}: {reader.controller} limit: {_words(error)}")
    return found


def parse_cpu_list(text: str) -> frozenset[int]:
    """The CPUs of a kernel list such as `0-3,8`."""
    cpus: set[int] = set()
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            cpus.update(range(int(first), int(last or first) + 1))
    return frozenset(cpus)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _parse_mount(line: str) -> tuple[int, frozenset[str], str, str] | None:
    """(version, controllers, root, mount point) of one line of mountinfo, None for other file systems."""
    before, separator, after = line.partition(" - ")
    if not separator:
        return None
    kind = after.split(" ", 1)[0]
    if kind not in ("cgroup", "cgroup2"):
        return None
    fields = before.split(" ")
    options = after.rsplit(" ", 1)[-1].split(",")
    version = 2 if kind == "cgroup2" else 1
    return version, frozenset(options), _unescape(fields[3]), _unescape(fields[4])


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _below(path: str, root: str) -> str | None:
    """`path` relative to a mount's root, None when it is not below it."""
    if "/.." in path or "/.." in root:
        return None
    root = root.rstrip("/")
    if path == root or path.startswith(root + "/"):
        return path[len(root) :].strip("/")
    return None


def _upwards(mount_point: str, inner: str) -> Iterator[str]:
    parts = [part for part in inner.split("/") if part]
    for count in range(len(parts), -1, -1):
        yield "/".join([mount_point.rstrip("/"), *parts[:count]])


def _number(read: Read, path: str) -> int | None:
    """The value of a file; None where it is absent or says that there is no limit."""
    text = read(path)
    if text is None or text.strip() == "max":
        return None
    return int(text)


def _statistics(read: Read, directory: str) -> dict[str, int]:
    text = read(f"{directory}/memory.stat") or ""
    return {name: int(value) for name, _, value in (line.partition(" ") for line in text.splitlines())}


def _add_memory(found: CgroupLimits, limit: int, used: int, cache: int, file: str) -> None:
    headroom = min(limit, max(0, limit - max(0, used - cache)))
    found.memory.append(MemoryLimit(limit, headroom, file))


def _memory_v1(read: Read, directory: str, is_own: bool, found: CgroupLimits) -> None:
    if not is_own and (read(f"{directory}/memory.use_hierarchy") or "1").strip() == "0":
        return  # this ancestor's limit does not include its children's use
    statistics: dict[str, int] | None = None
    limit = _number(read, f"{directory}/memory.limit_in_bytes")
    used = 0
    if limit is not None and limit < UNLIMITED_BYTES:
        statistics = _statistics(read, directory)
        used = _number(read, f"{directory}/memory.usage_in_bytes") or 0
        _add_memory(found, limit, used, _cache_v1(statistics), f"{directory}/memory.limit_in_bytes")
    if is_own:
        # Ancestors that a container cannot see still count here.
        statistics = _statistics(read, directory) if statistics is None else statistics
        inherited = statistics.get("hierarchical_memory_limit", UNLIMITED_BYTES)
        if inherited < min(UNLIMITED_BYTES, limit if limit is not None else UNLIMITED_BYTES):
            used = used or _number(read, f"{directory}/memory.usage_in_bytes") or 0
            file = f"{directory}/memory.stat (hierarchical_memory_limit)"
            _add_memory(found, inherited, used, _cache_v1(statistics), file)


def _cache_v1(statistics: dict[str, int]) -> int:
    return statistics.get("total_inactive_file", 0) + statistics.get("total_active_file", 0)


def _memory_v2(read: Read, directory: str, is_own: bool, found: CgroupLimits) -> None:
    # memory.high is not a hard limit, but beyond it the kernel slows down every allocation.
    for name in ("memory.max", "memory.high"):
        limit = _number(read, f"{directory}/{name}")
        if limit is None or limit >= UNLIMITED_BYTES:
            continue
        statistics = _statistics(read, directory)
        cache = sum(statistics.get(key, 0) for key in ("inactive_file", "active_file", "slab_reclaimable"))
        used = _number(read, f"{directory}/memory.current") or 0
        _add_memory(found, limit, used, cache, f"{directory}/{name}")


def _quota_v1(read: Read, directory: str, is_own: bool, found: CgroupLimits) -> None:
    quota = _number(read, f"{directory}/cpu.cfs_quota_us")
    period = _number(read, f"{directory}/cpu.cfs_period_us")
    if quota is not None and quota > 0 and period:
        found.cpus.append(CpuLimit(quota / period, f"{directory}/cpu.cfs_quota_us", "quota"))


def _quota_v2(read: Read, directory: str, is_own: bool, found: CgroupLimits) -> None:
    text = read(f"{directory}/cpu.max")
    if text is None or text.startswith("max"):
        return
    words = text.split()
    period = int(words[1]) if len(words) > 1 else 100_000  # microseconds; the kernel's default
    found.cpus.append(CpuLimit(int(words[0]) / period, f"{directory}/cpu.max", "quota"))


def _cpuset(*names: str) -> Callable[[Read, str, bool, CgroupLimits], None]:
    def read_cpuset(read: Read, directory: str, is_own: bool, found: CgroupLimits) -> None:
        for name in names:
            cpus = parse_cpu_list(read(f"{directory}/{name}") or "")
            if cpus:
                found.cpus.append(CpuLimit(float(len(cpus)), f"{directory}/{name}", "cpuset"))
                return

    return read_cpuset


@dataclass(frozen=True, slots=True)
class _Reader:
    controller: str
    read: Callable[[Read, str, bool, CgroupLimits], None]


_READERS = {
    1: (
        _Reader("memory", _memory_v1),
        _Reader("cpu", _quota_v1),
        _Reader("cpuset", _cpuset("cpuset.effective_cpus", "cpuset.cpus")),
    ),
    2: (
        _Reader("memory", _memory_v2),
        _Reader("cpu", _quota_v2),
        _Reader("cpuset", _cpuset("cpuset.cpus.effective", "cpuset.cpus")),
    ),
}
