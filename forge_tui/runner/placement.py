"""Chooses the next group and the number of workers, as the machine and the rules allow."""

from __future__ import annotations

import re

from forge_tui.resources.policy import WorkerLimit
from forge_tui.runner.attempts import Attempts
from forge_tui.runner.course import Course
from forge_tui.runner.governor import Load
from forge_tui.runner.work import Means, Room, Work

_FIGURE = re.compile(r"[\d.]+")


class Placement:
    """Gives slots to waiting groups, and removes slots."""

    def __init__(self, work: Work, means: Means, room: Room, course: Course, attempts: Attempts) -> None:
        self._journal = work.journal
        self._engine, self._monotonic = means.engine, means.monotonic
        self._governor, self._machine, self._other_runs = room.governor, room.machine, room.other_runs
        self._course, self._attempts = course, attempts
        self._told: set[str] = set()
        """The recorded reasons why no further worker starts, since one last started or ended."""
        self._ends_seen = 0
        self._judged = 0

    def begin(self, *, waited: bool) -> None:
        """Begin placing workers; `waited`: after waiting for another run, so the machine's state is outdated."""
        is_to_train = not self._course.is_ending
        if waited and is_to_train:
            self._machine.look_anew()
        self._machine.watch()
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
            held = self._governor.hold(self._machine.now(), self._attempts.loads()) if self._attempts else None
            if held is not None:
                self._tell_hold(held)
                return
            self._told.clear()
            group = self._course.queue.take()
            self._attempts.start(group, ahead=self._is_ahead())

    def _is_full(self) -> bool:
        """Whether the engine has no place for a further worker; one may always be requested."""
        capacity = self._engine.capacity()
        return bool(self._attempts) and capacity is not None and capacity <= 0

    def _tell_hold(self, reason: str) -> None:
        """Record why no further worker starts: each reason once until one does, however often its figures change."""
        kind = _FIGURE.sub("", reason)
        if kind and kind not in self._told:
            self._told.add(kind)
            self._journal.decide("hold", reason)

    def _is_ahead(self) -> bool:
        """Whether to prepare the worker that will follow the one that starts now."""
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
        look = self._machine.latest
        if look.number == self._judged:
            return
        self._judged = look.number
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
