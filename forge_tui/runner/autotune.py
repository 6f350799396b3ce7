"""Chooses the settings that are `auto`: threads per worker, and models trained together.

Uses the planner's measurements and estimates, for the mode and number of workers of the settings and the rules.
"""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass
from typing import Any

from forge_tui.errors import ForgeError
from forge_tui.protocol.plan import Estimate, Way
from forge_tui.resources.policy import WorkerLimit
from forge_tui.runner import groups, run_planner
from forge_tui.runner.remembered import Remembered
from forge_tui.runner.run_planner import Ask, Found
from forge_tui.runs import run_models
from forge_tui.settings.schema import Settings

# A shorter run does not wait for groups to be measured.
_SHORT_RUN_SECONDS = 5.0
_FIRST_SECONDS = 0.12
# Each group size is measured for this fraction of the run's time.
_SHARE = 0.01
_LEAST_SECONDS, _MOST_SECONDS = 0.08, 0.3

_Reasons = tuple[tuple[str, str], ...]
"""Kinds of decision with their reasons."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The chosen values.

    `worker_bytes`: the estimated memory of such a worker if it was measured, else None.
    """

    threads: int
    fuse: int
    reasons: _Reasons
    worker_bytes: int | None = None


def settle(
    settings: Settings,
    limit: WorkerLimit,
    workers: int,
    ask: Ask,
    remembered: Remembered,
    grouping_problem: str | None = None,
) -> Settled:
    """Choose the open values. `workers` measure at once: as many as will train, or as fit.

    `grouping_problem`: why such models cannot be trained together.
    """
    mode = settings.training.training_mode
    threads = run_planner.thread_counts(settings, limit)
    sizes = _sizes(settings, limit)
    alone: _Reasons = ()
    if grouping_problem is not None and len(sizes) > 1:
        sizes = [1]
        alone = (("group", f"1 model per worker: such models cannot be trained together ({grouping_problem})"),)
    if len(threads) == len(sizes) == 1:
        return Settled(threads[0], sizes[0], (("threads", _as_set(threads[0])), *alone))
    seen = _Seen(settings, ask, remembered)
    first = seen.look([Way(mode, workers, sizes[0], count) for count in threads], _FIRST_SECONDS)
    if not first:
        return Settled(threads[0], sizes[0], (("threads", f"{_threads(threads[0])}: {seen.problem}"), *alone))
    best = run_planner.choose(first, 0.0).best
    short = best.seconds < _SHORT_RUN_SECONDS
    if len(sizes) > 1 and not short:
        counts = sorted({best.way.threads, threads[-1]})
        best = _best_group(seen, [[Way(mode, workers, size, count) for count in counts] for size in sizes[1:]], best)
    reasons = (*_reasons(best.way, seen, threads, sizes, short=short), *alone)
    return Settled(best.way.threads, best.way.models, reasons, best.memory // best.way.workers)


def _named(settings: Settings) -> str:
    return "a command" if settings.run.command else "a training function"


NO_GPU_HERE = "nothing is measured, as this machine has no GPU like the nodes"


def unmeasured(settings: Settings, limit: WorkerLimit, why: str | None = None) -> Settled:
    """What a run gets of which nothing is measured: that of a training function or a command, whose steps are not
    known, or for the reason `why`.
    """
    rules = settings.resources
    if rules.threads == "auto" and rules.cpus_per_model is not None:
        # Distributed training has a process for each device.
        threads = max(1, rules.cpus_per_model // rules.devices_per_model)
        each = f" for each of {rules.devices_per_model} devices" if rules.devices_per_model > 1 else ""
        return Settled(threads, 1, (("threads", f"{_threads(threads)}{each}: {rules.cpus_per_model} CPUs per model"),))
    threads = run_planner.thread_counts(settings, limit)[-1]
    why = why or f"{_named(settings)} is not measured"
    return Settled(threads, groups.width(settings), (("threads", f"{_as_set(threads)}; {why}"),))


def as_before(settings: Settings, threads: int) -> Settled:
    """The values of a resumed run, whose settings have its group size."""
    return Settled(threads, groups.width(settings), (("threads", f"{_threads(threads)}, as before"),))


def _best_group(seen: _Seen, sizes: list[list[Way]], alone: Estimate) -> Estimate:
    """The best way to train models together, or alone.

    The largest groups are measured first, then smaller ones while they are faster: a group's savings grow with its
    size until it no longer fits the caches.
    """
    best, soonest_larger = alone, math.inf
    for ways in reversed(sizes):
        estimates = seen.look(ways, min(_MOST_SECONDS, max(_LEAST_SECONDS, _SHARE * best.seconds)))
        if not estimates:
            continue
        best = run_planner.choose(seen.estimates(), 0.0).best
        soonest = estimates[0].seconds
        if soonest > soonest_larger * run_planner.WORTH_IT:
            break
        soonest_larger = min(soonest, soonest_larger)
    return best


def _sizes(settings: Settings, limit: WorkerLimit) -> list[int]:
    if settings.engine.fuse != "auto" or settings.training.training_mode != "parallel":
        return [groups.width(settings)]
    return run_planner.group_sizes(run_models.count(settings), limit.workers, run_models.of_a_kind(settings))


class _Seen:
    """The ways known so far, remembered or measured."""

    def __init__(self, settings: Settings, ask: Ask, remembered: Remembered) -> None:
        self._settings, self._ask, self._remembered = settings, ask, remembered
        self._since: float | None = None
        self.found: Found = {}
        self.problem = "there was not enough memory to measure"

    def look(self, ways: list[Way], seconds: float) -> tuple[Estimate, ...]:
        """The estimates of these ways, the fastest first, without those that cannot be measured."""
        found = self._remembered.found(ways)
        if found:
            self._since = min(filter(None, (self._since, self._remembered.since(ways))))
        missing = [way for way in ways if way not in found]
        try:
            new = run_planner.measure_ways(missing, self._ask, seconds)
        except ForgeError as error:
            # A measuring worker may run out of memory: no reason not to train.
            self.problem, new = str(error), {}
        if new:
            self._remembered.keep(new)
        self.found |= found | new
        return tuple(one for one in self.estimates() if one.way in ways)

    def estimates(self) -> tuple[Estimate, ...]:
        """The estimates of all known ways, the fastest first."""
        return run_planner.estimate_ways(self._settings, self.found, 0.0)

    def origin(self) -> str:
        """When it was measured, the beginning of a reason."""
        if self._since is None:
            return "measured"
        return f"measured on {time.strftime('%Y-%m-%d', time.localtime(self._since))}"


def _reasons(best: Way, seen: _Seen, threads: list[int], sizes: list[int], *, short: bool) -> _Reasons:
    """The reasons for the chosen threads and group."""
    threads_reason = _as_set(best.threads)
    if len(threads) > 1:
        rates = {way.threads: seen.found[way] for way in seen.found if way.models == best.models}
        threads_reason = f"{_threads(best.threads)}: {seen.origin()}, steps/s by threads {_rates(rates)}"
    if len(sizes) == 1:
        return (("threads", threads_reason),)
    if short:
        why = f"a run of less than {_SHORT_RUN_SECONDS:.0f} s does not wait for groups to be measured"
    else:
        rates = {way.models: seen.found[way] for way in seen.found if way.threads == best.threads}
        why = f"{seen.origin()}, steps/s by models trained together {_rates(rates)}"
    models = f"{best.models} model{'s' if best.models > 1 else ''} per worker"
    return ("threads", threads_reason), ("group", f"{models}: {why}")


def _rates(found: dict[int, list[dict[str, Any]]]) -> str:
    """A worker's steps per second, the smallest number first."""
    means = {number: statistics.mean(one["steps_per_second"] for one in found[number]) for number in sorted(found)}
    return ", ".join(f"{number}: {rate:.0f}" for number, rate in means.items())


def _as_set(threads: int) -> str:
    return f"{_threads(threads)}, as set or all that the rules allow"


def _threads(threads: int) -> str:
    return f"{threads} thread{'s' if threads > 1 else ''} per worker"
