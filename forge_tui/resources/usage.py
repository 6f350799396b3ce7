"""CPU use, and how much of it is others' work rather than our own runs'."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from forge_tui.resources.system_probe import SystemProbe

SAMPLE_SECONDS = 0.1  # the shortest sample used for a decision; at 100 ticks per second it resolves 10 %
_OWN_TITLE = "forge-tui:"

Own = Callable[[psutil.Process], bool]
"""Whether a process belongs to this user's runs; then its descendants do too."""


@dataclass(frozen=True, slots=True)
class CpuUsage:
    """CPU use over `seconds`: of the whole machine, of each CPU, and by processes outside this user's runs."""

    percent: float
    others_percent: float
    per_core: tuple[float, ...]
    seconds: float


def is_own(process: psutil.Process) -> bool:
    """The default predicate: this process, and any whose command line or title is ours."""
    if process.pid == os.getpid():
        return True
    command = process.cmdline()
    if not command:
        return False
    return command[0].startswith(_OWN_TITLE) or any(pair == ("-m", "forge_tui") for pair in itertools.pairwise(command))


@dataclass(frozen=True, slots=True)
class _Times:
    """`seconds` of its own, `waited` of its children that have ended and were waited for."""

    parent: int
    started: int
    seconds: float
    waited: float = 0.0


class CpuMeter:
    """Measures CPU use between two calls; keeps only the previous reading.

    `own` says which processes do not count as others' work; `cpus` restricts others' share to these CPUs (None: all).
    Only this user's processes are read, and the predicate runs only for those that used CPU time.
    """

    def __init__(self, probe: SystemProbe, own: Own | None = None, cpus: frozenset[int] | None = None) -> None:
        self._probe = probe
        self._own = own or is_own
        self._cpus = cpus
        self._begin()

    def measure(self, seconds: float = SAMPLE_SECONDS) -> CpuUsage:
        """CPU use over the next `seconds`. Raises what psutil raises."""
        self._begin()
        percent = self._probe.cpu_percent(seconds)
        return self._finish(percent)

    def since_last(self) -> CpuUsage | None:
        """CPU use since the previous call, without waiting; None if that is shorter than a sample."""
        if time.monotonic() - self._time < SAMPLE_SECONDS:
            return None
        return self._finish(None)

    @property
    def seconds_left(self) -> float:
        """Seconds until `since_last` has a result; 0 if it has one."""
        return max(0.0, self._time + SAMPLE_SECONDS - time.monotonic())

    def _begin(self) -> None:
        self._time = time.monotonic()
        self._cores = self._probe.cpu_times()
        self._processes = _own_user_times()

    def _finish(self, percent: float | None) -> CpuUsage:
        before_time, before_cores, before_processes = self._time, self._cores, self._processes
        self._begin()
        seconds = self._time - before_time
        busy = [now[0] - before[0] for now, before in zip(self._cores, before_cores, strict=False)]
        total = [now[1] - before[1] for now, before in zip(self._cores, before_cores, strict=False)]
        per_core = tuple(_percent(b, t) for b, t in zip(busy, total, strict=True))
        machine = _percent(sum(busy), sum(total)) if percent is None else percent
        # With CPU sets, only the load on our CPUs says whether we would disturb others.
        mine = [cpu for cpu in sorted(self._cpus or ()) if cpu < len(per_core)]
        if mine and len(mine) < len(per_core):
            considered = _percent(sum(busy[cpu] for cpu in mine), sum(total[cpu] for cpu in mine))
        else:
            considered, mine = machine, list(range(len(per_core)))
        own = 0.0
        if seconds >= SAMPLE_SECONDS / 2:
            own = 100.0 * self._own_seconds(before_processes) / (seconds * max(1, len(mine)))
        return CpuUsage(machine, min(100.0, max(0.0, considered - own)), per_core, seconds)

    def _own_seconds(self, before: dict[int, _Times]) -> float:
        verdicts: dict[int, bool] = {}
        used = 0.0
        for pid, times in self._processes.items():
            earlier = before.get(pid)
            if earlier is not None and earlier.started == times.started:
                delta = times.seconds - earlier.seconds
            else:
                delta = times.seconds  # began within the sample
            if delta > 0 and self._belongs(pid, verdicts):
                used += delta
        return used

    def _belongs(self, pid: int, verdicts: dict[int, bool]) -> bool:
        """Whether a process or one of its ancestors is our own."""
        chain: list[int] = []
        verdict = False
        while pid not in verdicts and pid in self._processes and pid not in chain:
            chain.append(pid)
            try:
                verdict = self._own(psutil.Process(pid))
            except psutil.Error:  # it has ended: its parent decides
                verdict = False
            if verdict:
                break
            pid = self._processes[pid].parent
        verdict = verdict or verdicts.get(pid, False)
        verdicts.update(dict.fromkeys(chain, verdict))
        return verdict


def tree_seconds(pid: int) -> float:
    """CPU seconds of a process and all its descendants since it began, with those that have ended.

    The time of a child that has ended is its parent's once that has waited for it, so nothing is counted twice or lost.
    """
    times = _own_user_times()
    children: dict[int, list[int]] = {}
    for child, one in times.items():
        children.setdefault(one.parent, []).append(child)
    seconds, waiting = 0.0, [pid]
    while waiting:
        process = waiting.pop()
        if process in times:
            seconds += times[process].seconds + times[process].waited
        waiting += children.get(process, [])
    return seconds


def _percent(part: float, whole: float) -> float:
    return min(100.0, max(0.0, 100.0 * part / whole)) if whole > 0 else 0.0


def _own_user_times() -> dict[int, _Times]:
    """CPU times of this user's processes. Read from /proc: 15 µs per process, a tenth of psutil's cost."""
    if not os.path.exists("/proc/self/stat"):
        return _own_user_times_by_psutil()
    user, ticks = os.getuid(), os.sysconf("SC_CLK_TCK")
    found: dict[int, _Times] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            if os.stat(f"/proc/{name}").st_uid != user:
                continue
            with open(f"/proc/{name}/stat", "rb", buffering=0) as file:
                text = file.read(2048)
        except OSError:  # it has ended meanwhile
            continue
        fields = text[text.rfind(b")") + 2 :].split()  # the name in brackets may contain anything
        own, waited = (int(fields[at]) + int(fields[at + 1]) for at in (11, 13))
        found[int(name)] = _Times(int(fields[1]), int(fields[19]), own / ticks, waited / ticks)
    return found


def _own_user_times_by_psutil() -> dict[int, _Times]:
    user = os.getuid()
    found: dict[int, _Times] = {}
    for process in psutil.process_iter():
        try:
            if process.uids().real == user:
                times = process.cpu_times()
                waited = times.children_user + times.children_system
                seconds = times.user + times.system
                found[process.pid] = _Times(process.ppid(), int(process.create_time()), seconds, waited)
        except psutil.Error:  # it has ended, or we may not read it
            continue
    return found
