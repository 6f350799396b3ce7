"""What the runner remembers of a worker at work on a model or a group, and how it explains an end without a word."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import Literal

from forge_tui.engines.local import Worker
from forge_tui.protocol.events import ModelFailed
from forge_tui.protocol.job import Job, models_in_words
from forge_tui.resources.oom import oom_kills
from forge_tui.resources.process_memory import process_memory
from forge_tui.resources.system_probe import SystemProbe
from forge_tui.runner.watchdog import Watchdog
from forge_tui.text.exit_status import exit_in_words


@dataclass(slots=True)
class Attempt:
    """One attempt at a model, or at a group of them.

    `jobs`: the models that the worker still has, by index; `cancelled`: those of them that it was told to let go, with
    the reason; `pruned`: those of the cancelled ones that others did better than. `leaving`: why the runner has told
    the whole worker to go. Costs at their peak, and what of the worker's memory is `shared` with the fork server, in
    bytes; None: not told yet.
    """

    worker: Worker
    watchdog: Watchdog
    oom_kills: int | None
    jobs: dict[int, Job]
    cancelled: dict[int, str] = field(default_factory=dict)
    pruned: set[int] = field(default_factory=set)
    failures: dict[int, ModelFailed] = field(default_factory=dict)
    outcome: str | None = None
    memory: int | None = None
    gpu_memory: int | None = None
    shared: int | None = None
    leaving: Literal["requeued", "killed"] | None = None
    reason: str | None = None
    patience_ends: float | None = None
    where: str | None = None

    @classmethod
    def begin(cls, worker: Worker, patience: float | None, now: float) -> Attempt:
        """A worker asked for at `now` (monotonic); it hangs after `patience` seconds without a step (None: never)."""
        jobs = {job.index: job for job in worker.jobs}
        return cls(worker, Watchdog(patience, now), oom_kills(SystemProbe().read), jobs)

    @property
    def is_leaving(self) -> bool:
        """Whether the worker was told to go, or to let go of all that it has."""
        return self.leaving is not None or self.jobs.keys() <= self.cancelled.keys()

    @property
    def name(self) -> str:
        """Its models, in words."""
        return models_in_words(self.jobs.values())

    def held(self) -> int | None:
        """What the worker costs at this moment (bytes), often far less than at its peak; None: not known."""
        if self.shared is None or self.worker.pid is None:
            return None
        memory = process_memory(self.worker.pid)
        return None if memory is None else max(0, memory.resident - self.shared)

    def oom_kills_since(self) -> int:
        """How many processes the kernel has ended for want of memory since this attempt began."""
        now = oom_kills(SystemProbe().read)
        return 0 if now is None or self.oom_kills is None else now - self.oom_kills

    def not_mine(self) -> None:
        """One kill by the kernel has been explained: it was another worker's."""
        if self.oom_kills is not None:
            self.oom_kills += 1

    def hang(self, job: Job, when: float) -> ModelFailed:
        """The record of a worker that hangs, with the place where it does if it could still say so."""
        patience = self.watchdog.patience
        said = "" if self.where else " and does not answer (stopped, or stuck in native code)"
        return ModelFailed(
            time=when,
            model=job.model,
            index=job.index,
            attempt=job.attempt,
            kind="hang",
            message=f"worker {self.worker.pid or '—'} has made no step for {patience:g} s ([run] hang_seconds){said}",
            traceback=self.where,
        )


def unexplained(worker: Worker, job: Job, when: float, oom_kills_meanwhile: int) -> ModelFailed:
    """The record of a worker that ended without a word about one of its models."""
    status = worker.status if worker.status is not None else 0
    kind = "signal" if status < 0 else "exit"
    cause = "ended because its fork server died" if worker.orphaned else exit_in_words(status)
    if status == -signal.SIGKILL and oom_kills_meanwhile > 0 and not worker.orphaned:
        kind, cause = "out_of_memory", "was ended by the kernel for want of memory (SIGKILL)"
    return ModelFailed(
        time=when,
        model=job.model,
        index=job.index,
        attempt=job.attempt,
        kind=kind,
        message=f"worker {worker.pid or '—'} {cause} before the model was finished",
    )
