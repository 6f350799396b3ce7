"""The active attempts: starts their workers, handles messages, watches and controls them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from forge_tui.engines.base import EndKind, WorkerHandle
from forge_tui.protocol.phases import WAITING, TrainingPhase
from forge_tui.resources.policy import DeviceShare
from forge_tui.runner.attempt import Attempt, OnDevices
from forge_tui.runner.course import Course
from forge_tui.runner.device_figures import DeviceLoad
from forge_tui.runner.device_use import DeviceUse
from forge_tui.runner.governor import Load
from forge_tui.runner.groups import Group
from forge_tui.runner.messages import Messages
from forge_tui.runner.outcomes import Outcomes
from forge_tui.runner.resource_history import ResourceHistory
from forge_tui.runner.watchdog import HangVerdict
from forge_tui.runner.work import Means, Room, Work

# A worker that is placed sooner has not waited.
_WAITING_SECONDS = 1.0
# Up to so many attempts are looked at after every message; with more, that would cost more than the messages.
_MANY = 16
_WATCH_SECONDS, _SECONDS_PER_ATTEMPT = 0.1, 0.0001


class Attempts:
    """All active attempts, the newest last."""

    def __init__(self, work: Work, means: Means, room: Room, course: Course) -> None:
        self._code, self._journal = work.code, work.journal
        self._hang_seconds = work.settings.run.hang_seconds or None
        self._engine, self._monotonic = means.engine, means.monotonic
        self._governor, self._machine = room.governor, room.machine
        self._course = course
        self._outcomes = Outcomes(work, means, room, course)
        self._messages = Messages(work, means, course, self._measured)
        self._device_use = None if room.devices is None else DeviceUse(work, means, room, room.devices)
        self._resources = ResourceHistory(work.journal.resources)
        self._energy, self._counted = room.energy, room.machine.latest.number
        self._running: dict[int, Attempt] = {}
        """By the worker's own number."""
        self._watched_at = float("-inf")
        self.ends = 0
        """The number of ended attempts."""

    def __len__(self) -> int:
        return len(self._running)

    def __iter__(self) -> Iterator[Attempt]:
        return iter(list(self._running.values()))

    def start(self, group: Group, *, ahead: bool, devices: tuple[str, ...] = ()) -> None:
        """Request a worker for a group, on these GPUs. `ahead`: another one will take its place."""
        jobs = [self._course.retries.job(index) for index in group]
        jobs[0] = self._code.job(jobs[0])  # once per worker
        log = jobs[0].model
        worker = self._engine.spawn("train", jobs, log, self._on_message, self._on_exit, ahead=ahead, devices=devices)
        attempt = self._running[worker.id] = Attempt.begin(worker, self._hang_seconds, self._monotonic())
        if self._energy is not None:
            self._energy.use(devices)
        if devices:
            attempt.on_devices = OnDevices(devices, self._course.retries.kind(group), self._monotonic())
        for index in group:
            self._messages.forget_speed(index)

    def of(self, index: int) -> Attempt | None:
        """The attempt at a model, or None."""
        return next((attempt for attempt in self if index in attempt.jobs), None)

    def loads(self) -> list[Load]:
        """The workers that are to continue."""
        resident = self._engine.samples()
        return [
            Load(number, attempt.memory, attempt.held(resident.get(number)))
            for number, attempt in self._running.items()
            if not attempt.is_leaving
        ]

    def newest(self) -> Attempt:
        """The last started attempt of those that are to continue."""
        return [attempt for attempt in self if not attempt.is_leaving][-1]

    def is_held(self, attempt: Attempt) -> bool:
        """Whether its worker is paused at a step."""
        return all(self._journal.models[index].phase is TrainingPhase.PAUSED for index in attempt.jobs)

    @property
    def are_all_held(self) -> bool:
        """Whether every worker is paused."""
        return all(self.is_held(attempt) for attempt in self)

    def watch(self) -> None:
        """End workers that hang, and cancelled ones that do not leave."""
        now = self._monotonic()
        pause = max(_WATCH_SECONDS, len(self) * _SECONDS_PER_ATTEMPT)
        if len(self) > _MANY and now - self._watched_at < pause:
            return
        self._watched_at = now
        for attempt in self:
            self._tell_waiting(attempt, now)
            if attempt.patience_ends is not None and now >= attempt.patience_ends:
                attempt.patience_ends = None
                attempt.worker.kill()
            # After a continue it must make steps; a worker that is not placed has nothing to do.
            waits = not attempt.is_placed or (self._course.pausing and self.is_held(attempt))
            match attempt.watchdog.look(now, waits=waits):
                case HangVerdict.ASK:
                    attempt.worker.send({"command": "where"})
                case HangVerdict.END:
                    # A worker that has reported a failure must leave too.
                    for index, job in attempt.jobs.items():
                        attempt.failures.setdefault(index, attempt.hang(job, self._journal.clock()))
                    attempt.worker.kill()

    def _tell_waiting(self, attempt: Attempt, now: float) -> None:
        """Record what a worker that is not placed waits for."""
        words = attempt.worker.waits_for
        if (
            words is None
            or words == attempt.waits_for
            or attempt.leaving
            or now - attempt.requested_at < _WAITING_SECONDS
        ):
            return
        attempt.waits_for = words
        self._journal.decide("place", f"{attempt.name} waits for a place: {words}")
        for index in attempt.jobs:
            if self._journal.models[index].phase is TrainingPhase.QUEUED:
                self._journal.phase(index, TrainingPhase.QUEUED, f"{WAITING}{words}")

    def begin_samples(self) -> None:
        """Count the run's energy from here."""
        if self._energy is not None:
            self._energy.begin(self._machine.latest.resources.gpus)

    def keep_sample(self) -> None:
        """Record the last resource sample with the run, with its workers' memory."""
        look = self._machine.latest
        if look.sample is not None:
            costs = sum(attempt.memory or 0 for attempt in self)
            cluster = self._engine.cluster_gpus()
            hosts = None if cluster is None else cluster.hosts
            self._resources.add(look.number, look.to_record(len(self), costs, hosts))
        if self._energy is not None and look.number != self._counted:
            self._counted = look.number
            self._energy.take(look.energy, look.resources.gpus, self._devices())

    def end_samples(self) -> None:
        """Record what is left of the resource samples, and the energy since the last one."""
        self._resources.close()
        if self._energy is not None:
            gpus = self._machine.last_gpus() if self._energy.uses_gpus else ()
            self._energy.take(self._machine.energy.read(), gpus, ())

    def _devices(self) -> list[str]:
        """The GPUs that workers are on."""
        return [uuid for attempt in self for uuid in attempt.devices]

    def _measured(self, attempt: Attempt, gpu_memory: int | None) -> None:
        if attempt.memory is not None:
            self._governor.measured(attempt.memory)
        if gpu_memory is not None and self._device_use is not None:
            self._device_use.reported(attempt, gpu_memory)
        self.keep_sample()  # a short run may end between two samples

    def see_devices(self) -> None:
        """Take the devices' figures of the machine's last sample; ends the workers on a device that is lost."""
        if self._device_use is not None:
            self._device_use.see(list(self))

    def see_changed_devices(self) -> int:
        """The same where nodes with GPUs have come or gone; returns a number that grows with that."""
        return 0 if self._device_use is None else self._device_use.see_changes(list(self))

    def device_loads(self) -> list[DeviceLoad]:
        """What all workers take on GPUs."""
        return [] if self._device_use is None else self._device_use.loads(list(self))

    def device_shares(self) -> tuple[DeviceShare, ...]:
        """What this run has on GPUs, for this user's other runs."""
        return () if self._device_use is None else self._device_use.shares(list(self))

    def _on_message(self, worker: WorkerHandle, message: dict[str, Any]) -> None:
        attempt = self._running.get(worker.id)
        if attempt is None:
            return  # its models have another worker by now
        if "left" in message:
            attempt.watchdog.sign_of_life(self._monotonic())
            self._outcomes.left(attempt, message["left"], beside=len(self))
            return
        self._messages.take(attempt, message, self._monotonic())

    def _on_exit(self, worker: WorkerHandle) -> None:
        attempt = self._running.pop(worker.id)
        self.ends += 1
        on_its_devices = sum(1 for other in self if set(other.devices) & set(attempt.devices)) if attempt.devices else 0
        self._outcomes.ended(attempt, beside=self._beside(attempt), on_its_devices=on_its_devices)

    def _beside(self, attempt: Attempt) -> int:
        """How many other workers there are; for one that ran out of memory, on the same machine."""
        worker = attempt.worker
        kinds = {failure.kind for failure in attempt.failures.values()}
        if worker.ended is not None:
            kinds.add(worker.ended.kind.value)
        if EndKind.OUT_OF_MEMORY.value not in kinds:
            return len(self)
        host = None if worker.place is None else worker.place.host
        return sum(one.worker.place is None or one.worker.place.host == host for one in self)
