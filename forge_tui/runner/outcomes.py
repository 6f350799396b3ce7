"""Handles the models of an ended worker, and a model that has left its group."""

from __future__ import annotations

from forge_tui.protocol.events import ModelFailed
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.runner import groups
from forge_tui.runner.attempt import Attempt, unexplained
from forge_tui.runner.course import Course
from forge_tui.runner.device_failures import DeviceFaults
from forge_tui.runner.work import Means, Room, Work


class Outcomes:
    """Records how each model's attempt ended, and queues retries."""

    def __init__(self, work: Work, means: Means, room: Room, course: Course) -> None:
        self._journal = work.journal
        self._monotonic = means.monotonic
        self._governor = room.governor
        self._course = course
        self._faults = DeviceFaults(work, means, room)
        self._runs_command = bool(work.settings.run.command)
        self._kept = "its directory is kept" if self._runs_command else "its newest checkpoint is kept"
        self._continues = "its command is started again" if self._runs_command else "it continues from its checkpoint"
        self._stops = "stopped" if self._runs_command else "stopped after a checkpoint"

    def left(self, attempt: Attempt, index: int, beside: int) -> None:
        """Handle a model that has left its continuing group: done, diverged, or cancelled after a checkpoint.

        `beside`: active workers, including this one.
        """
        job = attempt.jobs.pop(index)
        failure = attempt.failures.pop(index, None)
        reason = attempt.cancelled.pop(index, None)
        model = self._journal.models[index]
        is_done = model.phase is TrainingPhase.COMPLETED
        why = model.reason if is_done else failure.message if failure else reason
        self._journal.decide("group", f"{job.model} leaves its group: {why}")
        if is_done:
            return
        if reason is not None:
            self._journal.phase(index, TrainingPhase.CANCELLED, reason, pruned=index in attempt.pruned)
        elif failure is not None:
            follows = self._course.retries.follows(failure, beside=beside, is_ending=self._course.is_ending)
            if self._course.retries.failed(failure, follows):
                self._course.queue.put_first((index,))

    def ended(self, attempt: Attempt, beside: int, on_its_devices: int = 0) -> None:
        """Handle an ended worker with `beside` other active ones, `on_its_devices` of them."""
        models = self._journal.models
        attempt.jobs = {i: job for i, job in attempt.jobs.items() if models[i].phase is not TrainingPhase.COMPLETED}
        for index in attempt.jobs.keys() & attempt.cancelled.keys():
            reason = attempt.cancelled[index]
            self._journal.phase(index, TrainingPhase.CANCELLED, reason, pruned=index in attempt.pruned)
            del attempt.jobs[index]
        if not attempt.jobs:
            return
        if attempt.leaving == "withdrawn":
            self._withdrawn(attempt)
        elif attempt.leaving == "killed":
            for index in attempt.jobs:
                self._journal.phase(index, TrainingPhase.QUEUED, f"killed; {self._kept}")
        elif attempt.outcome == "stopped":
            self._stopped(attempt)
        else:
            self._broken(attempt, beside, on_its_devices)

    def _withdrawn(self, attempt: Attempt) -> None:
        """Requeue the models of a worker that was withdrawn before it was placed."""
        for index in attempt.jobs:
            if self._journal.models[index].phase.is_active:  # it was placed at the same moment, and had begun
                self._journal.phase(index, TrainingPhase.QUEUED, "the worker was withdrawn")
        if not self._course.is_ending:
            self._course.queue.put_back(tuple(attempt.jobs))

    def _stopped(self, attempt: Attempt) -> None:
        """Handle a worker that has stopped after a checkpoint."""
        # Without a request from here, the worker itself was signalled, and the run continues.
        reason = attempt.reason or f"the worker was signalled to stop; {self._continues}"
        for index in attempt.jobs:
            self._journal.phase(index, TrainingPhase.QUEUED, self._stops if self._course.is_ending else reason)
            if self._runs_command and not self._course.is_ending:
                self._course.retries.begin_again(index, reason)
        if not self._course.is_ending:
            self._course.queue.put_first(tuple(attempt.jobs))

    def _broken(self, attempt: Attempt, beside: int, on_its_devices: int) -> None:
        """Handle each model of a worker that ended before it was done."""
        again, split, shrink = list[int](), False, False
        thin: ModelFailed | None = None
        for index, job in attempt.jobs.items():
            failure = attempt.failures.get(index) or unexplained(attempt.worker, job, self._journal.clock())
            failure = self._faults.judged(attempt, failure, on_its_devices)
            members = len(attempt.jobs)
            follows = self._course.retries.follows(
                failure,
                beside=beside,
                is_ending=self._course.is_ending,
                members=members,
                is_hopeless=index in attempt.hopeless,
                on_device=self._faults.lack(attempt, failure, on_its_devices),
            )
            if self._course.retries.failed(failure, follows):
                again.append(index)
            split = split or follows.split
            shrink = shrink or follows.shrink
            thin = failure if follows.thin else thin
            if follows.elsewhere:
                self._faults.needs_more(attempt)
        if shrink:
            workers = self._governor.ran_out(beside, self._monotonic())
            what = f"{workers} worker{'s' if workers > 1 else ''} at once from now on"
            self._journal.decide("shrink", f"{attempt.name} ran out of memory: {what}")
        if thin is not None:
            self._faults.fewer(attempt, on_its_devices, thin)
        if split:
            self._journal.decide("group", f"{attempt.name} ran out of memory: in two groups from now on")
        self._course.queue.put_first(*(groups.halves(tuple(again)) if split else [tuple(again)]))
