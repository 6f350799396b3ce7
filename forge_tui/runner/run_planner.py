"""Estimates how long the configured run would take here in each way, from measurements by workers.

The candidates are workers × models trained together × threads, within the resource rules. As many workers as a way has
measure at once, because they share caches and memory. The whole run is simulated with their steps per second: groups
are given to free workers, as the scheduler does. In a sweep the most expensive models are measured, and all others
count as these.
"""

from __future__ import annotations

import heapq
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from forge_tui.errors import ResourceError
from forge_tui.protocol.plan import Estimate, RunPlan, Way
from forge_tui.resources.hardware import SystemResources
from forge_tui.resources.policy import OnDevices, OtherRuns, WorkerLimit, capacity, threads_allowed, worker_limit
from forge_tui.runs import run_models
from forge_tui.settings.schema import Settings

SECONDS = 0.3
"""How long each way is measured, in total."""

_OF_A_WORKER = ("load_seconds", "save_seconds")

_LARGEST_GROUP = 64
_LONG_SECONDS = 300.0
"""Only longer runs may gain from compiled models: compiling takes about 30 s."""
WORTH_IT = 1.05
"""A way with more of anything (workers, models together, threads) must be faster by this factor."""
_THREADS_WAIT = 1.15
"""Factor on the measured time of steps with several threads. Whole runs with two threads on two CPUs took 1.27 to 1.6
times as long as estimated without it, once 0.9: threads wait for each other, and all for the one whose CPU the runner
or a checkpoint writer uses (assumed, not measured separately)."""


Asked = tuple[int, int, bool]
"""A way for a worker to measure: models together, threads, compiled or not."""

Ask = Callable[[Sequence[Asked], int, float], list[dict[str, Any]]]
"""Has workers measure at once, each way for some seconds; returns their `inspection.Measurement`s."""

Found = dict[Way, list[dict[str, Any]]]
"""Per way each worker's `inspection.Measured`, with the common values of its `Measurement`."""


def candidates(
    settings: Settings,
    resources: SystemResources,
    others: OtherRuns | None = None,
    *,
    alone: bool = False,
    on: OnDevices | None = None,
) -> list[Way]:
    """The ways worth measuring within the present rules; those with equal numbers of workers are adjacent.

    `alone`: such models cannot be trained together. `on`: the run's GPUs; one worker on each is worth measuring.
    """
    models, rules = run_models.count(settings), settings.resources
    room = min(models, capacity(resources, rules, on).workers)
    most = worker_limit(max(1, room), resources, rules, others=others, on=on).workers
    ways = [Way("series", 1, 1, threads) for threads in doubled(threads_allowed(1, resources, rules))]
    counts = {1, max(1, most // 2), most} if on is None else {1, min(most, on.devices), most}
    for workers in sorted(counts):
        allowed = threads_allowed(workers, resources, rules)
        sizes = [1] if alone else group_sizes(models, workers, run_models.of_a_kind(settings))
        for together in sizes if workers == most else sorted({1, sizes[-1]}):
            if workers * together > 1:
                # One worker with one of several CPUs is never the best.
                for threads in sorted({1, allowed} if workers > 1 else {allowed}):
                    ways.append(Way("parallel", workers, together, threads))
    if rules.threads != "auto":
        ways = list(dict.fromkeys(replace(way, threads=rules.threads) for way in ways))
    return ways


def limit_in_words(
    settings: Settings, resources: SystemResources, others: OtherRuns | None = None, on: OnDevices | None = None
) -> str:
    """Why the candidates have no more workers; empty if there is one per model."""
    limit = worker_limit(run_models.count(settings), resources, settings.resources, others=others, on=on)
    if limit.workers >= limit.requested:
        return ""
    return f"{limit.reason}. For more: {limit.hint}" if limit.hint else limit.reason


def compiled_way(estimates: Sequence[Estimate]) -> list[Way]:
    """The best way with compiled models, if the run is long enough to gain from that."""
    best = min(estimates, key=lambda one: one.seconds, default=None)
    return [replace(best.way, compile=True)] if best is not None and best.seconds > _LONG_SECONDS else []


def thread_counts(settings: Settings, limit: WorkerLimit) -> list[int]:
    """The thread counts worth measuring for a worker of the run: 1, 2, 4, … up to what the rules allow it."""
    if settings.resources.threads != "auto":
        return [settings.resources.threads]
    return doubled(limit.threads_allowed)


def doubled(most: int) -> list[int]:
    """1, 2, 4, … and `most`."""
    counts = [1]
    while counts[-1] * 2 <= most:
        counts.append(counts[-1] * 2)
    return counts if counts[-1] >= most else [*counts, most]


def group_sizes(models: int, workers: int, most: int = _LARGEST_GROUP) -> list[int]:
    """Group sizes that keep all workers busy to the end: a worker's share of the models, half of it, a quarter …, 1.

    `most`: the maximum group size.
    """
    share = -(-models // workers)
    rounds = [1]
    while rounds[-1] < share:
        rounds.append(rounds[-1] * 2)
    most = min(most, _LARGEST_GROUP)
    sizes = {-(-share // parts) for parts in rounds}
    return sorted({min(size, most) for size in sizes if size <= _LARGEST_GROUP})


def measure_ways(ways: Sequence[Way], ask: Ask, seconds: float) -> Found:
    """Measure the ways, with as many workers at once as each has; without those that do not fit into memory."""
    found: Found = {}
    for workers in sorted({way.workers for way in ways}):
        alike = [way for way in ways if way.workers == workers]
        answers = ask([(way.models, way.threads, way.compile) for way in alike], workers, seconds)
        for number, way in enumerate(alike):
            if not all(answer["ways"][number]["steps_per_second"] for answer in answers):
                continue
            found[way] = [
                {**answer["ways"][number], **{name: answer[name] for name in ("epoch_steps", *_OF_A_WORKER)}}
                for answer in answers
            ]
    return found


def estimate_ways(settings: Settings, found: Found, startup_seconds: float) -> tuple[Estimate, ...]:
    """The estimates of the whole run in each way, the fastest first."""
    made = []
    for way, answers in found.items():
        memory = way.workers * max(int(answer["worker_bytes"]) for answer in answers)
        seconds = startup_seconds + _makespan(settings, way, found)
        rate = sum(float(answer["steps_per_second"]) for answer in answers)
        made.append(Estimate(way, seconds, rate, memory))
    return tuple(sorted(made, key=lambda one: one.seconds))


def choose(estimates: tuple[Estimate, ...], measured_seconds: float) -> RunPlan:
    """The fastest way; between nearly equal ones that with the fewest workers, models together and threads.

    Raises `ResourceError` if none fits into memory.
    """
    if not estimates:
        raise ResourceError(
            "there is not enough memory to train one such model now: train with a smaller --model-size or "
            "--batch-size, or free memory"
        )
    near = [one for one in estimates if one.seconds <= estimates[0].seconds * WORTH_IT]
    best = min(near, key=lambda one: (one.way.compile, one.way.workers * one.way.threads, one.way.models, one.seconds))
    series = [one.seconds for one in estimates if one.way.mode == "series"]
    reason = f"fastest of {len(estimates)} measured ways"
    if best.way.mode == "series":
        others = [one.seconds for one in estimates if one.way.mode == "parallel"]
        if others:
            reason += f"; the best parallel one would take {min(others) / best.seconds:.3g} times as long"
    elif series:
        reason += f"; series would take {min(series) / best.seconds:.3g} times as long"
    return RunPlan((best, *(one for one in estimates if one is not best)), reason, measured_seconds)


def _makespan(settings: Settings, way: Way, found: Found) -> float:
    """Seconds until the last group is done, when each goes to the first free worker."""
    whole, rest = divmod(run_models.of_a_kind(settings), way.models)
    groups = [_group_seconds(settings, way, way.models, found)] * whole
    if rest:
        groups.append(_group_seconds(settings, way, rest, found))
    groups *= run_models.kinds(settings)
    free = [0.0] * way.workers
    for seconds in groups:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def _group_seconds(settings: Settings, way: Way, models: int, found: Found) -> float:
    """A worker's seconds for a group; an unmeasured size counts as the most similar one."""
    measured = [other for other in found if replace(other, mode=way.mode, models=way.models) == way]
    nearest = min(measured, key=lambda other: abs(math.log(other.models / models)))
    answers = found[nearest]
    share = models / nearest.models

    def mean(name: str) -> float:
        return sum(float(answer[name]) for answer in answers) / len(answers)

    def least(name: str) -> float:
        """The minimum of a value over all measurements: the least disturbed one."""
        return min(float(answer[name]) for answers in found.values() for answer in answers)

    training = settings.training
    steps = training.length * mean("epoch_steps") * models
    stepping = steps / mean("steps_per_second") * (_THREADS_WAIT if way.threads > 1 else 1.0)
    validation = training.length * mean("validation_seconds") * share
    stands_still = (training.length - 1) // training.checkpoint_interval * mean("checkpoint_seconds") * share
    used = stepping + validation + stands_still + mean("state_seconds") * share
    # At the end, wait for another checkpoint and for the model's files.
    saving = 2 * models * least("save_seconds")
    compiling = sum(float(answer.get("compile_seconds", 0.0)) for answer in answers) / len(answers)
    return used / _cpu_share(way, found) + compiling + least("load_seconds") + saving


def _cpu_share(way: Way, found: Found) -> float:
    """The CPU share of each thread of such a way's workers, beside other work.

    The median over all ways with as many workers and threads: others' load during one measurement must not decide
    between them.
    """
    alike = [one for other, one in found.items() if (other.workers, other.threads) == (way.workers, way.threads)]
    return statistics.median(float(answer.get("cpu_share", 1.0)) for answers in alike for answer in answers)
