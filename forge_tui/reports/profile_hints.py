"""What follows from a profile: hints, each from figures that were measured, with these figures."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from forge_tui.protocol.profile import WorkerProfile
from forge_tui.text.figures import count

MUCH_WAITING = 0.15
OTHERS_CPUS = 0.85
"""Where the run used less than this part of the CPUs, and waited for them, others had the rest."""
IDLE_THREADS = 0.6
CHEAP_DOUBLING, DISTURBED_DOUBLING = 1.4, 0.9
"""Twice the samples never take less time: below, something else has disturbed the measurement."""
MUCH_DATA, MUCH_VALIDATION, MUCH_CHECKPOINTS, MUCH_RECORDS = 0.2, 0.25, 0.1, 0.15
IDLE_DEVICE = 0.5
_MOST_BATCH = 1 << 20


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the run had: workers at once, models in all, models that a worker trains together, and CPUs."""

    workers: int
    models: int
    fuse: int
    cpus: int


@dataclass(frozen=True, slots=True)
class Hint:
    """What to change (`about`: threads, batch size, …), in words with the figures that say so."""

    about: str
    text: str

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict."""
        return asdict(self)


def hints(workers: Sequence[WorkerProfile], conditions: Conditions) -> list[Hint]:
    """The hints for a run, the largest gain first as far as that is known; none where nothing stands out."""
    rules: tuple[Callable[[Sequence[WorkerProfile], Conditions], Hint | None], ...] = (
        _waits_for_cpus, _idle_threads, _idle_device, _room_for_more_samples, _slow_data, _long_validation,
        _slow_checkpoints, _many_records,
    )  # fmt: skip
    return [hint for rule in rules if (hint := rule(workers, conditions)) is not None]


def _waits_for_cpus(workers: Sequence[WorkerProfile], conditions: Conditions) -> Hint | None:
    waits = [worker.cpu_wait for worker in workers if worker.cpu_wait is not None]
    if not waits or statistics.fmean(waits) < MUCH_WAITING:
        return None
    words = f"steps were ready and waited for a CPU {_percent(statistics.fmean(waits))} of the time"
    ours = sum(worker.cpus for worker in workers)
    if ours < OTHERS_CPUS * conditions.cpus:
        return Hint(
            "others", f"{words}, while this run used {ours:.1f} of {conditions.cpus}: other programs had the rest"
        )
    threads = max(worker.threads for worker in workers)
    less = [f"--threads {threads // 2} instead of {threads}"] if threads > 1 else []
    less += [f"--workers {conditions.workers - 1} instead of {conditions.workers}"] if conditions.workers > 1 else []
    return Hint("threads", f"{words}: try {' or '.join(less)}") if less else None


def _idle_threads(workers: Sequence[WorkerProfile], _conditions: Conditions) -> Hint | None:
    threads, cpus = max(worker.threads for worker in workers), statistics.fmean(worker.cpus for worker in workers)
    waits = max((worker.cpu_wait or 0.0 for worker in workers), default=0.0)
    if threads < 2 or cpus >= IDLE_THREADS * threads or waits >= MUCH_WAITING or workers[0].device != "cpu":
        return None
    fewer = max(1, round(cpus))
    return Hint(
        "threads",
        f"{threads} threads kept only {cpus:.1f} CPUs busy: try --threads {fewer}, and more workers in parallel",
    )


def _idle_device(workers: Sequence[WorkerProfile], _conditions: Conditions) -> Hint | None:
    busy = [worker.device_busy for worker in workers if worker.device_busy is not None]
    if not busy or sum(busy) >= IDLE_DEVICE:
        return None
    return Hint(
        "device",
        f"the GPU computed {_percent(sum(busy))} of the time, and waited for the CPU otherwise: larger batches, "
        "--compile, or more models at once (`forge-tui plan` measures them)",
    )


def _room_for_more_samples(workers: Sequence[WorkerProfile], conditions: Conditions) -> Hint | None:
    found = [worker.doubled for worker in workers if worker.doubled is not None]
    factor = statistics.median([one.factor for one in found] or [2.0])
    if not DISTURBED_DOUBLING <= factor < CHEAP_DOUBLING:
        return None
    size = workers[0].batch_size
    gain = f"up to {2 / max(1.0, factor):.1f}x as many samples per second"
    words = f"forward and backward with twice the samples take {factor:.2f}x as long"
    ways = [f"--batch-size {2 * size} ({gain}; it changes what is learned)"] if 2 * size <= _MOST_BATCH else []
    alone = conditions.models - conditions.fuse
    if alone > 0:
        ways.append(
            f"more models together than {conditions.fuse} (--mode parallel --fuse {2 * conditions.fuse}; "
            "`forge-tui plan` measures that)"
        )
    return Hint("batch size", f"{words}: try {', or '.join(ways)}") if ways else None


def _slow_data(workers: Sequence[WorkerProfile], _conditions: Conditions) -> Hint | None:
    share = _mean_share(workers, "data")
    if share < MUCH_DATA:
        return None
    words = f"batches take {_percent(share)} of the time"
    if workers[0].is_function:
        return Hint("data", f"{words}: DataLoader(num_workers=N) makes them beside the steps; tensors need no loader")
    if not workers[0].data_is_stored:
        return Hint("data", f"{words}, although the data is in memory: larger batches have fewer of them")
    return Hint(
        "data",
        f"{words}, because each is read from the disk: data of at most 256 MiB (fewer columns, float32 instead of "
        "float64) stays in memory",
    )


def _long_validation(workers: Sequence[WorkerProfile], _conditions: Conditions) -> Hint | None:
    share = _mean_share(workers, "validation")
    if share < MUCH_VALIDATION:
        return None
    return Hint(
        "validation", f"validation takes {_percent(share)} of the time: a smaller --validation-fraction takes less"
    )


def _slow_checkpoints(workers: Sequence[WorkerProfile], _conditions: Conditions) -> Hint | None:
    share = _mean_share(workers, "checkpoints")
    if share < MUCH_CHECKPOINTS:
        return None
    interval = workers[0].checkpoint_interval
    if workers[0].is_function:
        return Hint("checkpoints", f"trial.checkpoint takes {_percent(share)} of the time: call it less often")
    return Hint(
        "checkpoints",
        f"checkpoints take {_percent(share)} of the time: --checkpoint-interval {10 * interval} instead of {interval} "
        "takes a tenth (more is lost when a worker is killed)",
    )


def _many_records(workers: Sequence[WorkerProfile], conditions: Conditions) -> Hint | None:
    share, steps = _mean_share(workers, "records"), workers[0].steps_per_epoch
    if share < MUCH_RECORDS:
        return None
    if workers[0].is_function:
        return Hint("records", f"trial.report takes {_percent(share)} of the time: report less often")
    words = f"the end of an epoch takes {_percent(share)} of the time, because an epoch has only {count(steps, 'step')}"
    if conditions.models > conditions.fuse:
        return Hint("group", f"{words}: models that train together (--mode parallel --fuse N) share it in part")
    return Hint("records", f"{words}: this is what short epochs cost")


def _mean_share(workers: Sequence[WorkerProfile], phase: str) -> float:
    return statistics.fmean(worker.share(phase) for worker in workers)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
