"""Lower priority for workers, and whether it has any effect here.

`nice` only compares processes of one scheduling group. Every control group with a CPU controller is one, and with
autogrouping every session (sched(7), "The autogroup feature").
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from forge_tui.resources.cgroups import find_groups
from forge_tui.resources.system_probe import SystemProbe

LOWER_PRIORITY = 10  # nice; about a ninth of the share of a process at 0

_AUTOGROUP = "/proc/self/autogroup"
_NICE = re.compile(r"nice (-?[0-9]+)")  # of `/autogroup-31 nice 0`
_RATE_SECONDS = 0.11  # proc_sched_autogroup_set_nice in the kernel: EAGAIN within 100 ms of any other change
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class PriorityEffect:
    """Whether lower priority yields to all other work on the machine, and why."""

    works: bool
    reason: str


def priority_effect(probe: SystemProbe) -> PriorityEffect:
    """What `nice` does here for processes in a session of their own. Raises `OSError`, `ValueError`."""
    groups, _ = find_groups(probe.read)
    for group in groups:
        own = group.directories[0]
        if len(group.directories) > 1 and (
            "cpu" in group.controllers or (group.version == 2 and probe.read(f"{own}/cpu.weight") is not None)
        ):
            return PriorityEffect(False, f"nice yields only to processes of the same control group ({own})")
    if (probe.read("/proc/sys/kernel/sched_autogroup_enabled") or "0").strip() != "1":
        return PriorityEffect(True, "nice yields to all other processes")
    if probe.read(_AUTOGROUP) is not None and probe.writable(_AUTOGROUP):
        return PriorityEffect(True, "nice works together with the session's autogroup, which a run lowers too")
    return PriorityEffect(False, "sessions are grouped automatically and /proc/self/autogroup cannot be written")


def lower_priority(nice: int = LOWER_PRIORITY, *, own_session: bool = False) -> str | None:
    """Lower this process's priority; with `own_session` that of its session's autogroup too.

    Returns a problem in words, None if all was done. A priority that is lower already is kept.
    """
    problems = [_lower_process(nice), lower_session(nice) if own_session else None]
    return "; ".join(problem for problem in problems if problem) or None


def lower_session(nice: int = LOWER_PRIORITY, file: str = _AUTOGROUP) -> str | None:
    """Lower the priority of this session's autogroup against other sessions, not that of any process.

    Returns a problem in words, None if it was done, was lower already, or sessions are not grouped. Takes up to half a
    second while others change theirs: the kernel accepts one such change every 100 ms from all users together.
    """
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_RATE_SECONDS)
        try:
            present = _NICE.search(Path(file).read_text())
            if present is None or int(present[1]) < nice:  # raising it needs no privilege, so check first
                _write(file, str(nice).encode())
            return None
        except FileNotFoundError:
            return None
        except BlockingIOError:
            continue
        except OSError as error:
            return f"{file}: {error.strerror or error}"
    return f"{file}: other sessions keep changing their priority; the kernel accepts one change at a time"


def _write(file: str, data: bytes) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def _lower_process(nice: int) -> str | None:
    try:
        missing = nice - os.getpriority(os.PRIO_PROCESS, 0)
        if missing > 0:
            os.nice(missing)
    except OSError as error:
        return f"nice: {error.strerror or error}"
    return None
