"""How long the configured run would take here, in each way it can be carried out: measured by workers, then counted.

The candidates are workers × models trained together × threads, within the resource rules. As many workers as a way has
measure at once, for they share caches and memory. From their steps per second the whole run is counted: groups are
given to workers as they become free, as the scheduler does. Of a sweep the models that take most are measured, and
all others counted like them.
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
from forge_tui.resources.policy import OtherRuns, WorkerLimit, capacity, threads_allowed, worker_limit
from forge_tui.runs import run_models
from forge_tui.settings.schema import Settings

SECONDS = 0.3
"""How long each way is measured, in all its turns together."""

_OF_A_WORKER = ("load_seconds", "save_seconds")

_LARGEST_GROUP = 64
_LONG_SECONDS = 300.0
"""Only runs that take longer may gain from compiled models: compiling takes half a minute."""
WORTH_IT = 1.05
"""A way with more of anything (workers, models together, threads) has to be so much sooner done."""
_THREADS_WAIT = 1.15
"""What steps of several threads take in a run, of what was measured. Whole runs with two threads on two CPUs took 1.27
to 1.6 times as long as estimated without it, once 0.9: threads wait for each other, and all for the one whose CPU the
runner or a writer of checkpoints takes (supposed, not measured apart)."""


Asked = tuple[int, int, bool]
"""What a worker is to measure: models together, threads, and whether they are compiled."""

Ask = Callable[[Sequence[Asked], int, float], list[dict[str, Any]]]
"""What so many workers at once measure, each way for so many seconds: their `inspection.Measurement`s."""

Found = dict[Way, list[dict[str, Any]]]
"""What each worker of a way told: a `inspection.Measured`, with what its `Measurement` tells of all ways."""


def candidates(
    settings: Settings, resources: SystemResources, others: OtherRuns | None = None, *, alone: bool = False
) -> list[Way]:
    """The ways worth measuring, within what the rules allow now; those of as many workers lie side by side.

    `alone`: such models cannot be trained together.
    """
    models, rules = run_models.count(settings), settings.resources
    room = min(models, capacity(resources, rules).workers)
    most = worker_limit(max(1, room), resources, rules, others=others).workers
    ways = [Way("series", 1, 1, threads) for threads in doubled(threads_allowed(1, resources, rules))]
    for workers in sorted({1, max(1, most // 2), most}):
        allowed = threads_allowed(workers, resources, rules)
        sizes = [1] if alone else group_sizes(models, workers, run_models.of_a_kind(settings))
        for together in sizes if workers == most else sorted({1, sizes[-1]}):
            if workers * together > 1:
                # One worker that uses one CPU of several has lost before it begins.
                for threads in sorted({1, allowed} if workers > 1 else {allowed}):
                    ways.append(Way("parallel", workers, together, threads))
    if rules.threads != "auto":
        ways = list(dict.fromkeys(replace(way, threads=rules.threads) for way in ways))
    return ways


def limit_in_words(settings: Settings, resources: SystemResources, others: OtherRuns | None = None) -> str:
    """Why the candidates have no more workers; nothing where there is one for each model."""
    limit = worker_limit(run_models.count(settings), resources, settings.resources, others=others)
    if limit.workers >= limit.requested:
        return ""
    return f"{limit.reason}. For more: {limit.hint}" if limit.hint else limit.reason


def compiled_way(estimates: Sequence[Estimate]) -> list[Way]:
    """The best way with its models compiled, to be measured too, where the run is long enough to gain from that."""
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
    """Group sizes that keep all workers busy to the end: a worker's share of the models, its half, its quarter …, 1.

    `most`: how many models may be trained together.
    """
    share = -(-models // workers)
    rounds = [1]
    while rounds[-1] < share:
        rounds.append(rounds[-1] * 2)
    most = min(most, _LARGEST_GROUP)
    sizes = {-(-share // parts) for parts in rounds}
    return sorted({min(size, most) for size in sizes if size <= _LARGEST_GROUP})


def measure_ways(ways: Sequence[Way], ask: Ask, seconds: float) -> Found:
    """Have the ways measured, as many workers at once as each has; those that do not fit into memory are left out."""
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
    """The whole run in each way, the soonest first."""
    made = []
    for way, answers in found.items():
        memory = way.workers * max(int(answer["worker_bytes"]) for answer in answers)
        seconds = startup_seconds + _makespan(settings, way, found)
        rate = sum(float(answer["steps_per_second"]) for answer in answers)
        made.append(Estimate(way, seconds, rate, memory))
    return tuple(sorted(made, key=lambda one: one.seconds))


def choose(estimates: tuple[Estimate, ...], measured_seconds: float) -> RunPlan:
    """The soonest way; of nearly equal ones that with fewest workers, models together and threads.

    Raises `ResourceError` where none fitted into memory.
    """
    if not estimates:
        raise ResourceError(
            "there is not memory enough to train one such model now: train with a smaller --model-size or "
            "--batch-size, or free memory"
        )
    near = [one for one in estimates if one.seconds <= estimates[0].seconds * WORTH_IT]
    best = min(near, key=lambda one: (one.way.compile, one.way.workers * one.way.threads, one.way.models, one.seconds))
    series = [one.seconds for one in estimates if one.way.mode == "series"]
    reason = f"soonest done of {len(estimates)} ways measured"
    if best.way.mode == "series":
        others = [one.seconds for one in estimates if one.way.mode == "parallel"]
        if others:
            reason += f"; the best parallel one would take {min(others) / best.seconds:.3g} times as long"
    elif series:
        reason += f"; series would take {min(series) / best.seconds:.3g} times as long"
    return RunPlan((best, *(one for one in estimates if one is not best)), reason, measured_seconds)


def _makespan(settings: Settings, way: Way, found: Found) -> float:
    """Seconds until the last group is done: each goes to the worker that is free first."""
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
    """What a worker takes for a group; one of a size that was not measured is counted by the most similar size."""
    measured = [other for other in found if replace(other, mode=way.mode, models=way.models) == way]
    nearest = min(measured, key=lambda other: abs(math.log(other.models / models)))
    answers = found[nearest]
    share = models / nearest.models

    def mean(name: str) -> float:
        return sum(float(answer[name]) for answer in answers) / len(answers)

    def least(name: str) -> float:
        """What every way takes: of all measurements the one that nobody disturbed."""
        return min(float(answer[name]) for told in found.values() for answer in told)

    training = settings.training
    steps = training.epochs * mean("epoch_steps") * models
    stepping = steps / mean("steps_per_second") * (_THREADS_WAIT if way.threads > 1 else 1.0)
    validation = training.epochs * mean("validation_seconds") * share
    stands_still = (training.epochs - 1) // training.checkpoint_interval * mean("checkpoint_seconds") * share
    used = stepping + validation + stands_still + mean("state_seconds") * share
    # At the end another checkpoint is waited for, and the model's own files.
    saving = 2 * models * least("save_seconds")
    compiling = sum(float(answer.get("compile_seconds", 0.0)) for answer in answers) / len(answers)
    return used / _cpu_share(way, found) + compiling + least("load_seconds") + saving


def _cpu_share(way: Way, found: Found) -> float:
    """How much of a CPU each thread of such a way's workers gets beside what else goes on here.

    The median over all ways of as many workers and threads: how busy others happened to be while one of them was
    measured must not decide between them.
    """
    alike = [told for other, told in found.items() if (other.workers, other.threads) == (way.workers, way.threads)]
    return statistics.median(float(answer.get("cpu_share", 1.0)) for told in alike for answer in told)
