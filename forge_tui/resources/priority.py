"""Lower priority for workers, and whether it has any effect here.

`nice` compares processes of one scheduling group only. Every session is such a group where the kernel groups
automatically (sched(7), "The autogroup feature"), and so is every control group with a CPU controller.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from forge_tui.resources.cgroups import find_groups
from forge_tui.resources.probe import SystemProbe

LOWER_PRIORITY = 10  # nice; about a ninth of the share of a process at 0


@dataclass(frozen=True, slots=True)
class PriorityEffect:
    """Whether lower priority yields to all other work on the machine, and why in words."""

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
    if probe.read("/proc/self/autogroup") is not None and probe.writable("/proc/self/autogroup"):
        return PriorityEffect(True, "nice works together with the session's autogroup, which a run lowers too")
    return PriorityEffect(False, "sessions are grouped automatically and /proc/self/autogroup cannot be written")


def lower_priority(nice: int = LOWER_PRIORITY, *, own_session: bool = False) -> str | None:
    """Lower this process's priority; with `own_session` that of its session's autogroup too.

    Returns a problem in words, None when all was done. A priority that is lower already is kept.
    """
    problems = []
    try:
        missing = nice - os.getpriority(os.PRIO_PROCESS, 0)
        if missing > 0:
            os.nice(missing)
    except OSError as error:
        problems.append(f"nice: {error}")
    if own_session and os.path.exists("/proc/self/autogroup"):
        try:
            with open("/proc/self/autogroup", "w") as file:
                file.write(str(nice))
        except OSError as error:
            problems.append(f"/proc/self/autogroup: {error}")
    return "; ".join(problems) or None
