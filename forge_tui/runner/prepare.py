"""What is settled before the first step: what data and model look like, how many workers, how many threads."""

from __future__ import annotations

import math
import selectors
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forge_tui.errors import ForgeError, ResourceError, RunDirectoryError, UsageError
from forge_tui.resources.hardware import SystemResources
from forge_tui.resources.policy import OtherRuns, WorkerLimit, worker_limit
from forge_tui.runner import groups
from forge_tui.runner.local import LocalLauncher, Worker
from forge_tui.settings.schema import Settings
from forge_tui.training.job import Job

PROBE_SECONDS = 0.3
"""How long a worker measures each number of threads."""

GROUP_SECONDS = 0.15
"""How long it measures each group size at the start of a run, which waits for it."""

_SHORT_RUN_SECONDS = 5.0
# A further thread takes a core from another worker: it has to gain at least this much.
_WORTH_MORE_THREADS = 1.1
# A group stops, fails and is resumed as one: it has to gain this much.
_WORTH_A_GROUP = 1.1
_LARGEST_GROUP = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How the run will be carried out, settled once and kept by retry and resume."""

    limit: WorkerLimit
    resources: SystemResources
    threads: int
    threads_reason: str
    fuse: int
    fuse_reason: str | None
    job: Job
    memory_estimate: int


class Inspector:
    """Runs workers that read the data, build the model and measure, and waits for their answers."""

    def __init__(self, launcher: LocalLauncher, selector: selectors.BaseSelector) -> None:
        self._launcher = launcher
        self._selector = selector
        self._answers: dict[int, dict[str, Any]] = {}
        self._ended: list[Worker] = []

    def inspect(self, job: Job, thread_candidates: list[int], log: Path) -> dict[str, Any]:
        """What `training.probe` finds out. Raises `UsageError` or `ResourceError` with the reason."""
        return self.ask(job, log, {"thread_candidates": thread_candidates, "seconds": PROBE_SECONDS})[0]

    def measure(
        self, job: Job, ways: Sequence[Sequence[int]], log: Path, workers: int, memory: float, seconds: float
    ) -> list[dict[str, Any]]:
        """What `workers` at once measure of ways to train, pairs of (models, threads), in `memory` bytes altogether.

        Each way is measured for `seconds`, in all its turns together.
        """
        asked = {"ways": [list(way) for way in ways], "seconds": seconds, "most_bytes": memory / workers}
        return self.ask(job, log, asked, workers)

    def ask(self, job: Job, log: Path, options: dict[str, Any], workers: int = 1) -> list[dict[str, Any]]:
        """The answers of `workers` that do the same at once. Raises `UsageError` or `ResourceError` with the reason."""
        self._answers, self._ended = {}, []
        for _ in range(workers):
            self._launcher.spawn("inspect", [job], log, self._on_message, self._on_exit, options)
        while len(self._ended) < workers:
            for key, _ in self._selector.select(0.1):
                key.data()
            self._launcher.tick()
        return [self._result(worker) for worker in self._ended]

    def _result(self, worker: Worker) -> dict[str, Any]:
        answer = self._answers.get(worker.id)
        if answer is None:
            raise ForgeError(
                f"the worker that was to read the data {ending(worker.status)} and said nothing; try again"
            )
        if "refused" in answer:
            raised = {3: ResourceError, 4: RunDirectoryError}.get(answer["exit_status"], UsageError)
            raise raised(answer["refused"])
        found: dict[str, Any] = answer["result"]
        return found

    def _on_message(self, worker: Worker, message: dict[str, Any]) -> None:
        self._answers[worker.id] = message

    def _on_exit(self, worker: Worker) -> None:
        self._ended.append(worker)


def ending(status: int | None) -> str:
    """How a process ended, in words, from its exit status (negative: a signal)."""
    if status is not None and status < 0:
        named = -status in {*signal.Signals}  # most real-time signals have no name
        return f"was killed by {signal.Signals(-status).name if named else f'signal {-status}'}"
    return f"ended with status {status}"


def allowed_workers(
    settings: Settings, resources: SystemResources, others: OtherRuns | None = None, threads: int = 1
) -> WorkerLimit:
    """What the resource rules say to this run's mode, worker count and number of models or groups of them."""
    training = settings.training
    requested = training.max_parallel_workers if training.training_mode == "parallel" else 1
    return worker_limit(
        min(requested, groups.count(settings)),
        resources,
        settings.resources,
        mode=training.training_mode,
        others=others,
        threads=threads,
    )


def thread_candidates(settings: Settings, limit: WorkerLimit) -> list[int]:
    """The thread counts worth measuring: 1, 2, 4, … up to what the rules allow a worker."""
    if settings.resources.threads != "auto":
        return [settings.resources.threads]
    return doubled(limit.threads_allowed)


def doubled(most: int) -> list[int]:
    """1, 2, 4, … and `most`."""
    candidates = [1]
    while candidates[-1] * 2 <= most:
        candidates.append(candidates[-1] * 2)
    return candidates if candidates[-1] >= most else [*candidates, most]


def choose_threads(candidates: list[int], found: dict[str, Any]) -> tuple[int, str]:
    """The thread count to train with, and why."""
    measured = {int(threads): rate for threads, rate in found.get("steps_per_second", {}).items()}
    if not measured:
        threads = candidates[0]
        return threads, f"{threads} thread{'s' if threads > 1 else ''} a worker, as set or all that the rules allow"
    best = candidates[0]
    for threads in candidates[1:]:
        if measured[threads] > measured[best] * _WORTH_MORE_THREADS:
            best = threads
    rates = ", ".join(f"{threads}: {measured[threads]:.0f}" for threads in candidates)
    return best, f"{best} thread{'s' if best > 1 else ''} a worker: measured steps/s by threads {rates}"


def group_candidates(settings: Settings, limit: WorkerLimit) -> list[int]:
    """The group sizes worth measuring where `[engine] fuse` is `auto`."""
    if settings.engine.fuse != "auto" or settings.training.training_mode != "parallel":
        return []
    return group_sizes(settings.run.models, limit.workers)


def group_sizes(models: int, workers: int) -> list[int]:
    """Group sizes that keep all workers busy to the end: a worker's share of the models, its half, its quarter …, 1."""
    share = -(-models // workers)
    rounds = [1]
    while rounds[-1] < share:
        rounds.append(rounds[-1] * 2)
    return sorted({size for size in (-(-share // parts) for parts in rounds) if size <= _LARGEST_GROUP})


def measure_groups(
    settings: Settings,
    limit: WorkerLimit,
    candidates: Sequence[int],
    measure: Measure,
    *,
    epoch_samples: int,
    threads: int,
) -> tuple[dict[int, float], dict[int, int]]:
    """Steps per second of a worker and the bytes it takes, by group size, with all workers at work.

    A group for which there is not memory enough is left out. A run that is over in a few seconds anyway is measured
    with one model a worker only.
    """
    training = settings.training
    steps = settings.run.models * training.epochs * -(-epoch_samples // training.batch_size)
    rates: dict[int, float] = {}
    sizes: dict[int, int] = {}
    for models in ([1], [size for size in candidates if size > 1]):
        if not models:
            break
        answers = measure([(size, threads) for size in models], limit.workers)
        for number, size in enumerate(models):
            found = [answer["ways"][number] for answer in answers]
            if all(one["steps_per_second"] for one in found):
                rates[size] = sum(one["steps_per_second"] for one in found) / len(found)
                sizes[size] = max(one["worker_bytes"] for one in found)
        if 1 not in rates or steps < rates[1] * limit.workers * _SHORT_RUN_SECONDS:
            break
    return rates, sizes


def choose_group(settings: Settings, limit: WorkerLimit, rates: dict[int, float]) -> tuple[int, str | None]:
    """The group size to train with, and why; None where nothing was measured.

    `rates` are a worker's steps per second by group size.
    """
    if not rates:
        return groups.width(settings), None

    def seconds(models: int) -> float:
        """Of an epoch of the whole run, as far as the number of groups goes."""
        rounds = math.ceil(math.ceil(settings.run.models / models) / limit.workers)
        return rounds * models / rates[models]

    best = min(rates, key=seconds)
    if seconds(best) * _WORTH_A_GROUP >= seconds(1):
        best = 1
    told = ", ".join(f"{models}: {rates[models]:.0f}" for models in sorted(rates))
    return best, f"{best} model{'s' if best > 1 else ''} a worker: measured steps/s by models trained together {told}"


Measure = Callable[[Sequence[tuple[int, int]], int], list[dict[str, Any]]]
"""What so many workers at once measure of (models, threads): a `training.probe.Measurement` of each."""


def choose_device(settings: Settings, resources: SystemResources) -> str:
    """The device models are trained on."""
    if settings.resources.device != "auto":
        return settings.resources.device
    return "cuda" if resources.gpus else "cpu"
