"""The runner's state of one worker with its model or group, and the failure record of an unexplained end."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from forge_tui.engines.base import EndKind, WorkerHandle
from forge_tui.protocol.events import ModelEvent, ModelFailed, ModelStarted
from forge_tui.protocol.job import Job, models_in_words
from forge_tui.runner.watchdog import Watchdog


@dataclass(slots=True)
class OnDevices:
    """A worker on GPUs: its `devices`, the `kind` of its need, and its memory there in bytes.

    `reported`: its peak as torch counts it, with an assumed context, first known at the machine's sample `reported_at`;
    `seen`: its peak as the driver counts it, None: never seen; `held`: on each device now. `has_trained`: an epoch is
    done, so these are what such a worker needs, `seen` after two more samples of the machine.
    """

    devices: tuple[str, ...]
    kind: Hashable
    began: float
    reported: int | None = None
    reported_at: int = 0
    seen: int | None = None
    held: dict[str, int] = field(default_factory=dict)
    has_trained: bool = False
    samples_since: int = 0

    @property
    def peak(self) -> int | None:
        """Its peak on one device so far, as reported or seen."""
        return max((one for one in (self.reported, self.seen) if one is not None), default=None)

    @property
    def is_measured(self) -> bool:
        """Whether its peak is what such a worker needs: before its first epoch it is less."""
        return self.has_trained and (self.reported is not None or self.samples_since > 1)

    @property
    def is_unseen(self) -> bool:
        """Whether nothing is known of its memory though it has trained: a command whose processes are not named."""
        return self.has_trained and self.samples_since > 1 and self.peak is None

    def see(self, held: dict[str, int], sample: int) -> None:
        """Take what the driver counts on each device at a sample of the machine, by its number."""
        self.samples_since += self.has_trained
        if held:
            self.hold(held)
        elif self.reported is not None and sample > self.reported_at + 1:
            # The sample was begun after the report: it has that memory in its figures.
            self.held = dict.fromkeys(self.devices, self.reported)

    def hold(self, held: dict[str, int]) -> None:
        """Take bytes on its devices; none: nothing is known."""
        if held:
            self.held = held
            self.seen = max(self.seen or 0, *held.values())


@dataclass(slots=True)
class Attempt:
    """One attempt at a model, or at a group of them.

    `jobs`: the models that the worker still has, by index; `cancelled`: those of them that were asked to leave, with
    the reason; `pruned`: the cancelled ones that halving stopped; `hopeless`: those that would fail so again.
    `leaving`: why the runner has asked the whole worker to stop, `withdrawn` if it was requested and not placed. Peak
    costs, and the worker's memory `shared` with others, in bytes; None: not reported yet. `waits_for`: what was
    recorded that it waits for since `requested_at` (monotonic), before it is placed.
    """

    worker: WorkerHandle
    watchdog: Watchdog
    jobs: dict[int, Job]
    cancelled: dict[int, str] = field(default_factory=dict)
    pruned: set[int] = field(default_factory=set)
    failures: dict[int, ModelFailed] = field(default_factory=dict)
    hopeless: set[int] = field(default_factory=set)
    outcome: str | None = None
    memory: int | None = None
    shared: int | None = None
    on_devices: OnDevices | None = None
    leaving: Literal["requeued", "killed", "withdrawn"] | None = None
    reason: str | None = None
    patience_ends: float | None = None
    requested_at: float = 0.0
    waits_for: str | None = None
    where: str | None = None

    @classmethod
    def begin(cls, worker: WorkerHandle, patience: float | None, now: float) -> Attempt:
        """A worker requested at `now` (monotonic); it hangs after `patience` seconds without a step (None: never)."""
        jobs = {job.index: job for job in worker.jobs}
        return cls(worker, Watchdog(patience, now), jobs, requested_at=now)

    @property
    def is_leaving(self) -> bool:
        """Whether the worker was asked to stop, or all its models to leave."""
        return self.leaving is not None or self.jobs.keys() <= self.cancelled.keys()

    @property
    def devices(self) -> tuple[str, ...]:
        """Its GPUs by UUID; empty on the CPU."""
        return () if self.on_devices is None else self.on_devices.devices

    @property
    def is_placed(self) -> bool:
        """Whether the worker has been placed, not only requested."""
        return self.worker.place is not None

    def started(self, event: ModelStarted) -> ModelStarted:
        """`event` with the worker's name and place."""
        place = None if self.worker.place is None else asdict(self.worker.place)
        return replace(event, worker=event.worker if self.worker.name is None else self.worker.name, place=place)

    def covers(self, event: ModelEvent) -> bool:
        """Whether the event is of this attempt at a model that the worker still has."""
        job = self.jobs.get(event.index)
        return job is not None and job.attempt == event.attempt

    def stop(self) -> None:
        """End the worker after a checkpoint; withdraw it if it is not placed."""
        if self.is_placed:
            self.worker.send({"command": "stop"})
        else:
            self.withdraw()

    def kill(self) -> None:
        """End the worker at once, because the run ends."""
        self.leaving = "killed"
        self.worker.kill()

    def requeue(self, reason: str) -> None:
        """End the worker after a checkpoint, to free its place."""
        self.leaving, self.reason = "requeued", reason
        self.stop()

    def withdraw(self) -> None:
        """Withdraw the worker, which is not placed."""
        self.leaving = "withdrawn"
        self.worker.kill()

    @property
    def name(self) -> str:
        """The names of its models."""
        return models_in_words(self.jobs.values())

    def held(self, resident: int | None) -> int | None:
        """The worker's present memory, from its `resident` bytes, often far less than its peak; None: unknown."""
        return None if self.shared is None or resident is None else max(0, resident - self.shared)

    def lost_device(self, job: Job, when: float, words: str) -> ModelFailed:
        """The failure record of a model whose device was lost."""
        return ModelFailed(
            time=when, model=job.model, index=job.index, attempt=job.attempt, kind="device_lost", message=words
        )

    def hang(self, job: Job, when: float) -> ModelFailed:
        """The failure record of a hanging worker, with the place if it has reported it."""
        patience = self.watchdog.patience
        said = "" if self.where else " and does not answer (stopped, or stuck in native code)"
        return ModelFailed(
            time=when,
            model=job.model,
            index=job.index,
            attempt=job.attempt,
            kind="hang",
            message=f"worker {self.worker.name or '—'} has made no step for {patience:g} s ([run] hang_seconds){said}",
            traceback=self.where,
        )


def unexplained(worker: WorkerHandle, job: Job, when: float) -> ModelFailed:
    """The failure record of a model whose worker ended without reporting on it."""
    assert worker.ended is not None
    kind = EndKind.EXIT if worker.ended.kind is EndKind.NOT_PLACED else worker.ended.kind
    return ModelFailed(
        time=when,
        model=job.model,
        index=job.index,
        attempt=job.attempt,
        kind=kind.value,
        message=f"worker {worker.name or '—'} {worker.ended.words} before the model was finished",
    )
