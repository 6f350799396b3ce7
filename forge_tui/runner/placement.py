"""Chooses the next group and the number of workers, as the machine and the rules allow."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from forge_tui.resources.policy import OtherRuns, WorkerLimit
from forge_tui.runner.attempts import Attempts
from forge_tui.runner.course import Course
from forge_tui.runner.device_figures import Held, Waiting
from forge_tui.runner.governor import Load
from forge_tui.runner.groups import Group
from forge_tui.runner.work import Devices, Means, Room, Work

# If the next group has no room on the devices, so many groups are tried.
_MOST_WAITING = 64
# A worker that has no place on the node of its GPUs for this long goes elsewhere, if GPUs of others take one.
_ELSEWHERE_SECONDS = 10.0
_FIGURE = re.compile(r"[\d.]+")


class Placement:
    """Gives slots to waiting groups, and removes slots."""

    def __init__(self, work: Work, means: Means, room: Room, course: Course, attempts: Attempts) -> None:
        self._journal, self._retries = work.journal, course.retries
        self._devices = room.devices
        self._engine, self._monotonic = means.engine, means.monotonic
        self._governor, self._machine, self._other_runs = room.governor, room.machine, room.other_runs
        self._course, self._attempts = course, attempts
        self._told: set[str] = set()
        """The recorded reasons why no further worker starts, since one last started or ended."""
        self._told_full: set[str] = set()
        """The recorded reasons why none has room on the devices, since one last started."""
        self._ends_seen = 0
        self._judged = 0
        self._full_at: tuple[int, ...] | None = None
        """The state in which no waiting group had room on the devices."""
        self._other_runs.devices = attempts.device_shares

    def begin(self, *, waited: bool) -> None:
        """Begin placing workers; `waited`: after waiting for another run, so the machine's state is outdated."""
        is_to_train = not self._course.is_ending
        if waited and is_to_train:
            self._machine.look_anew()
        self._machine.watch()
        self._attempts.see_devices()
        if not waited:
            self._other_runs.decide(lambda _: None, self._wanted)
        elif is_to_train:
            # The earlier limit was shared with the run that has ended.
            self._journal.limit(self._request(self._governor.requested))

    def fill(self) -> None:
        """Request workers while models wait and there is room."""
        if self._ends_seen != self._attempts.ends:
            self._ends_seen = self._attempts.ends
            self._told.clear()
        while self._course.queue and not self._course.is_ending and not self._course.pausing:
            # A leaving worker still has its memory.
            if len(self._attempts) >= self._governor.slots or self._is_full():
                return
            # With thousands of workers on a cluster, their loads take longer than starting one.
            asks = bool(self._attempts) and not self._governor.counts_only
            held = self._governor.hold(self._machine.now(), self._attempts.loads()) if asks else None
            if held is not None:
                self._tell_hold(held, self._told)
                return
            # A trial of a search is proposed for the place that is free now, and the answer may take a while.
            if self._course.search is not None and not self._course.search.propose(next(iter(self._course.queue))):
                return
            full = self._start_next()
            if full is not None:
                self._tell_hold(full, self._told_full)
                return
            self._told.clear()
            self._told_full.clear()

    @property
    def stranded(self) -> str | None:
        """Why no model that waits can ever be placed, once no worker is left; else None."""
        if self._attempts or not self._course.queue:
            return None
        search = self._course.search
        if search is not None and search.problem is not None and not search.is_proposed(next(iter(self._course.queue))):
            return search.problem
        return None if self._devices is None else self._devices.pool.stranded

    def _start_next(self) -> str | None:
        """Start the next group, on GPUs the next one that has room; returns why none has, or None."""
        if self._devices is not None:
            return self._place_next(self._devices)
        group = self._course.queue.take()
        self._attempts.start(group, ahead=self._is_ahead())
        return None

    def _place_next(self, devices: Devices) -> str | None:
        self._engine.want_gpus(self._wanted(), more=self._full_at is not None)
        changes = self._attempts.see_changed_devices()
        look, queue = self._machine.latest.number, len(self._course.queue)
        now = (look, self._attempts.ends, len(self._attempts), queue, changes)
        if now == self._full_at:
            return ""  # nothing has changed since then
        cluster = self._engine.cluster_gpus()

        def decide(others: OtherRuns) -> str | None:
            closed = {} if cluster is None else cluster.closed
            loads = self._attempts.device_loads()
            found = devices.pool.choose(self._waiting(devices), loads, others.devices, closed)
            # A GPU of its own may come at once, and is better than a part of one.
            is_early = cluster is not None and cluster.is_asking
            if isinstance(found, Held):
                return "" if is_early else found.reason
            if is_early and any(set(load.devices) & set(found.devices) for load in loads):
                return ""
            self._journal.decide("place", found.reason)
            group = self._course.queue.take(found.position)
            self._attempts.start(group, ahead=self._is_ahead(), devices=found.devices)
            return None

        # Other runs must not choose the same memory.
        held = self._other_runs.decide(decide, self._wanted)
        self._full_at = None if held is None else now
        return held

    def _waiting(self, devices: Devices) -> Iterator[Waiting]:
        search = self._course.search
        for group in itertools.islice(self._course.queue, _MOST_WAITING):
            if search is not None and not search.is_proposed(group):
                return  # what it needs is not known yet
            kind = self._retries.kind(group)
            outgrown = devices.costs.above(kind)
            above = outgrown if devices.pool.has_larger(outgrown) else 0
            yield Waiting(self._name(group), devices.costs.need(kind), above)

    def _name(self, group: Group) -> str:
        name = self._journal.models[group[0]].name
        return name if len(group) == 1 else f"{name} and {len(group) - 1} more"

    def _is_full(self) -> bool:
        """Whether the engine has no place for a further worker; one may always be requested."""
        capacity = self._engine.capacity()
        return bool(self._attempts) and capacity is not None and capacity <= 0

    def _tell_hold(self, reason: str, told: set[str]) -> None:
        """Record why no further worker starts: each reason once until one does, however often its figures change."""
        kind = _FIGURE.sub("", reason)
        if kind and kind not in told:
            told.add(kind)
            self._journal.decide("hold", reason)

    def _is_ahead(self) -> bool:
        """Whether to prepare the worker that will follow the one that starts now."""
        if self._governor.counts_only:
            return bool(self._course.queue) and len(self._attempts) + 1 >= self._governor.slots
        loads = [*self._attempts.loads(), Load(0)]
        if not self._course.queue or len(loads) < self._governor.slots:
            return False
        return self._governor.has_room(self._machine.latest.resources, loads)

    # --- number of workers

    def set_workers(self, requested: int, reason: str) -> None:
        """Change the requested number of workers; the rules may allow fewer."""
        before = self._governor.slots
        limit = self._request(requested)
        self._journal.limit(limit)
        kind = "grow" if limit.workers > before else "shrink"
        self._journal.decide(kind, f"up to {limit.workers} at once from now on ({reason}): {limit.reason}")
        while len(self._attempts.loads()) > limit.workers:
            self._requeue_newest(limit.reason)

    @property
    def is_within_slots(self) -> bool:
        """Whether the number of workers is within the limit."""
        return len(self._attempts) <= self._governor.slots

    def judge(self) -> None:
        """Let the governor judge every new sample of the machine."""
        self._send_elsewhere()
        self._engine.want_gpus(self._wanted(), more=bool(self._course.queue) and self._full_at is not None)
        if self._governor.is_outdated and not self._course.is_ending:
            before = self._governor.slots
            limit = self._request(self._governor.requested)
            if limit.workers != before:
                self._journal.limit(limit)
        look = self._machine.latest
        if look.number == self._judged:
            return
        self._judged = look.number
        self._attempts.see_devices()
        self._attempts.keep_sample()
        warning = self._course.disk.look(self._journal.clock(), len(self._attempts))
        if warning is not None:
            self._journal.record(warning)
        if self._course.is_ending:
            return
        now = self._monotonic()
        verdict = self._other_runs.decide(
            lambda others: self._governor.look(look.resources, self._attempts.loads(), others, now), self._wanted
        )
        if verdict.limit is not None:
            self._journal.limit(verdict.limit)
        if verdict.grown is not None:
            self._journal.decide("grow", verdict.grown)
        if verdict.warning is not None:
            self._journal.warn("memory", verdict.warning)
        if verdict.requeue is not None:
            self._requeue_newest(verdict.requeue)

    def _send_elsewhere(self) -> None:
        """Queue workers again that wait in vain on the node of their GPUs."""
        cluster = self._engine.cluster_gpus()
        if cluster is None or cluster.closed.keys() >= set(cluster.uuids):
            return
        late = self._monotonic() - _ELSEWHERE_SECONDS
        for attempt in self._attempts:
            if not attempt.devices or attempt.leaving is not None or attempt.requested_at > late:
                continue
            if (needs := attempt.worker.waits_for) is not None:
                self._journal.decide("requeue", f"{attempt.name} goes to another node: on its own it waits for {needs}")
                attempt.withdraw()

    def _request(self, workers: int) -> WorkerLimit:
        resources, loads = self._machine.latest.resources, self._attempts.loads()
        return self._other_runs.decide(
            lambda others: self._governor.request(workers, resources, loads, others), self._wanted
        )

    def _wanted(self) -> int:
        """The number of workers that this run can use and may have: none while it waits for another one."""
        if self._course.waiting:
            return 0
        return min(self._governor.slots, len(self._attempts) + len(self._course.queue))

    def _requeue_newest(self, reason: str) -> None:
        """Checkpoint the worker that was started last and queue its models again."""
        attempt = self._attempts.newest()
        when = "after a checkpoint" if attempt.is_placed else "before its worker is placed"
        self._journal.decide("requeue", f"{attempt.name} makes room {when}: {reason}")
        attempt.requeue(reason)
