"""How many workers may run at once, adapted to the machine's state. Pure: figures in, verdicts out.

The minimum of three limits: the resource rules (`resources.policy`), a ceiling that memory pressure lowers and quiet
raises again, and the memory left for one more worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from forge_tui.resources.policy import (
    GIB,
    MEASURED_MARGIN,
    OnDevices,
    OtherRuns,
    WorkerLimit,
    is_measured,
    worker_limit,
)
from forge_tui.runner.patience import Patience

if TYPE_CHECKING:
    from forge_tui.resources.hardware import SystemResources
    from forge_tui.settings.schema import ResourceSettings

# A change of the machine's state counts after this time: a compiler's burst is no reason to stop a model.
SETTLE_SECONDS = 10.0
# Seconds between removing two workers: freeing their memory takes time.
REQUEUE_SECONDS = 5.0
# After this much quiet time one more is tried.
GROW_SECONDS = 30.0
# Factor on the estimate of a worker that has not reported its memory yet.
_UNMEASURED_MARGIN = 1.5


@dataclass(frozen=True, slots=True)
class Load:
    """An active worker, by its number: its peak memory in bytes, None if not reported yet.

    `held`: its present memory, None if unknown.
    """

    worker: int
    memory: int | None = None
    held: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The changes to make now; usually none.

    `limit`: a new limit; `grown`: why one more may be tried; `requeue`: why the newest worker is to be checkpointed
    and queued again; `warning`: a problem that this cannot solve.
    """

    limit: WorkerLimit | None = None
    grown: str | None = None
    requeue: str | None = None
    warning: str | None = None


class Governor:
    """Admits workers and removes them.

    `limit` is the rules' limit before the first step; each worker counts as `cpus`; `estimate` is a worker's memory in
    bytes, until one has reported its real memory; None: unknown, and if memory is measured a second worker waits for
    that. `on`: the run's GPUs; what their memory allows is decided by `device_pool`.
    """

    counts_only = False
    """Whether only the number of workers matters for a further one, and neither this machine's memory nor theirs."""
    is_outdated = False
    """Whether the limit is not that of the present nodes of a cluster."""

    def __init__(
        self,
        settings: ResourceSettings,
        limit: WorkerLimit,
        *,
        mode: str,
        cpus: int,
        estimate: int | None,
        on: OnDevices | None = None,
    ) -> None:
        self._settings = settings
        self._mode = mode
        self._cpus = cpus
        self._on = on
        self._measures = is_measured(settings, on)
        self._memory = _Cost(estimate)
        self.limit = limit
        self.requested = limit.requested
        self._ceiling: int | None = None
        self._settle, self._quiet = Patience(SETTLE_SECONDS), Patience(GROW_SECONDS)
        self._differs_since: float | None = None
        self._tight_since: float | None = None
        self._tight: str | None = None
        self._warned = False
        self._next_requeue = 0.0
        self._quiet_since = 0.0

    @property
    def slots(self) -> int:
        """The maximum number of workers now."""
        return self.limit.workers if self._ceiling is None else min(self.limit.workers, self._ceiling)

    def measured(self, memory: int) -> None:
        """Record a worker's peak memory (bytes)."""
        self._memory.take(memory)

    def ran_out(self, beside: int, now: float) -> int:
        """Lower the limit after a worker ran out of memory with `beside` others; returns the new one."""
        self._ceiling = max(1, min(self.slots - 1, beside))
        self._quiet_since = now
        self._quiet.fell(now)
        return self._ceiling

    def request(self, workers: int, resources: SystemResources, load: Sequence[Load], others: OtherRuns) -> WorkerLimit:
        """Change the requested number of workers; returns the new limit."""
        self.requested = workers
        self._ceiling, self._differs_since, self._next_requeue = None, None, 0.0
        self._settle, self._quiet = Patience(SETTLE_SECONDS), Patience(GROW_SECONDS)
        self.limit = self._rules(resources, load, others)
        return self.limit

    def look(self, resources: SystemResources, load: Sequence[Load], others: OtherRuns, now: float) -> Verdict:
        """Judge the present state of the machine.

        `load`: the workers that are to continue, in the order of their start; `others`: this user's other runs; `now`:
        monotonic seconds.
        """
        limit = self._new_limit(resources, load, others, now)
        self._see_pressure(resources, now)
        requeue = self._requeue(load, now)
        warning = None
        if self._tight is not None and requeue is None and len(load) <= 1 and not self._warned:
            warning, self._warned = self._tight, True
        if now - self._quiet_since >= GROW_SECONDS:
            self._warned = False
        return Verdict(limit, self._grow(resources, load, now), requeue, warning)

    def hold(self, resources: SystemResources, load: Sequence[Load]) -> str | None:
        """Why no further worker may start now, or None if one may; empty if just all slots are taken.

        One worker may always run.
        """
        if len(load) >= self.slots:
            return ""
        if not load:
            return None
        if self._tight is not None:
            return f"{len(load)} at once: {self._tight}"
        return self._lack(resources, load)

    def has_room(self, resources: SystemResources, load: Sequence[Load]) -> bool:
        """Whether there is memory for a further process, independently of the slots."""
        return self._tight is None and self._lack(resources, load) is None

    # --- the rules

    def _rules(self, resources: SystemResources, load: Sequence[Load], others: OtherRuns) -> WorkerLimit:
        # Memory that our workers hold counts as available, and so does the expected memory of those that have not
        # reported it yet.
        own = sum(self._memory.expected(worker.memory if worker.held is None else worker.held) for worker in load) / GIB
        available = min(resources.memory_gb, resources.available_memory_gb + own)
        return worker_limit(
            self.requested,
            replace(resources, available_memory_gb=available),
            self._settings,
            mode=self._mode,
            threads=self._cpus,
            others=others,
            on=self._on,
        )

    def _new_limit(
        self, resources: SystemResources, load: Sequence[Load], others: OtherRuns, now: float
    ) -> WorkerLimit | None:
        found = self._rules(resources, load, others)
        if found.workers == self.limit.workers:
            self._differs_since = None
            return None
        if self._differs_since is None:
            self._differs_since = now
        grows, yields = found.workers > self.limit.workers, found.limited_by == "other_runs"
        wait = self._settle.seconds if grows else SETTLE_SECONDS
        if not yields and now - self._differs_since < wait:
            return None
        if grows:
            self._settle.grew(now)
        elif not yields:
            self._settle.fell(now)
        self._differs_since = None
        self.limit = found
        return found

    # --- pressure

    def _see_pressure(self, resources: SystemResources, now: float) -> None:
        self._tight = self._pressure(resources)
        if self._tight is None:
            self._tight_since = None
            return
        self._quiet_since = now
        if self._tight_since is None:
            self._tight_since = now

    def _pressure(self, resources: SystemResources) -> str | None:
        """The problem with the memory, or None."""
        settings = self._settings
        reserve = settings.memory_reserve * resources.memory_gb
        if resources.available_memory_gb < reserve:
            where = f" ({resources.memory_limit_source})" if resources.memory_limit_source else ""
            return (
                f"{resources.available_memory_gb:.2f} GiB of memory are left, less than the {reserve:.2f} GiB to be "
                f"kept free ([resources] memory_reserve){where}"
            )
        for entry in resources.pressure:
            if entry.resource == "memory" and entry.some_percent > settings.memory_pressure_threshold:
                return (
                    f"memory pressure: work waited {entry.some_percent:.0f} % of the last 10 s, more than "
                    f"{settings.memory_pressure_threshold:g} % ([resources] memory_pressure_threshold)"
                )
        return None

    def _requeue(self, load: Sequence[Load], now: float) -> str | None:
        """Why the newest worker must be removed, or None. Never the last one."""
        if len(load) <= 1 or now < self._next_requeue:
            return None
        if len(load) > self.slots:
            lacked = f"at most {self.slots} at once after a lack of memory"
            reason = self.limit.reason if self._ceiling is None else lacked
        elif self._tight is not None and self._tight_since is not None and now - self._tight_since >= REQUEUE_SECONDS:
            reason = self._tight
            self._ceiling = len(load) - 1
            self._quiet.fell(now)
        else:
            return None
        if len(load) - 1 <= self.slots:
            self._next_requeue = now + REQUEUE_SECONDS
        return reason

    def _grow(self, resources: SystemResources, load: Sequence[Load], now: float) -> str | None:
        """Raise the ceiling by one after a quiet time, if there is memory."""
        wait = self._quiet.seconds
        if self._ceiling is None or self._tight is not None or now - self._quiet_since < wait:
            return None
        if len(load) >= self._ceiling and self._lack(resources, load) is not None:
            return None
        self._quiet_since = now
        self._quiet.grew(now)
        self._ceiling += 1
        reason = f"up to {self._ceiling} at once: memory has been free for {wait:.0f} s"
        if self._ceiling >= self.limit.workers:
            self._ceiling = None
        return reason

    # --- room for one more

    def _lack(self, resources: SystemResources, load: Sequence[Load]) -> str | None:
        if self._measures:
            available = resources.available_memory_gb * GIB - self._settings.memory_reserve * resources.memory_gb * GIB
            # Between two steps a worker holds little memory, and what it is about to allocate seems available.
            held = [worker.memory if worker.held is None else worker.held for worker in load]
            return self._memory.lack(available, held, "memory")
        return None


class _Cost:
    """A worker's cost in one kind of memory, in bytes."""

    def __init__(self, estimate: int | None) -> None:
        """`estimate`: None where nothing is known before one was measured."""
        self._bytes = estimate or 0
        self._is_unknown = estimate is None
        self._is_estimate = True

    def expected(self, known: int | None) -> int:
        """The cost to assume for a worker: its own if known, else that of others."""
        return self._bytes if known is None else known

    def take(self, cost: int) -> None:
        """Record a measured cost; the largest counts."""
        self._bytes = cost if self._is_estimate else max(self._bytes, cost)
        self._is_estimate = self._is_unknown = False

    def lack(self, available: float, held: Sequence[int | None], what: str) -> str | None:
        """Why another worker, beside those with `held`, does not fit in `available`; None if it does."""
        if self._is_unknown:
            return f"{len(held)} at once until it is measured how much of {what} a worker needs"
        needed = self._bytes * (_UNMEASURED_MARGIN if self._is_estimate else MEASURED_MARGIN)
        # Running workers below their peak will grow to it.
        growth = sum(max(0.0, needed - (now or 0)) for now in held)
        left = max(0.0, available - growth)
        if needed <= left:
            return None
        source = "estimated" if self._is_estimate else "measured"
        return (
            f"{len(held)} at once: a further worker needs {needed / GIB:.2f} GiB ({source}, with a margin), "
            f"and {left / GIB:.2f} GiB of {what} are left for it"
        )
