"""A profile as text: per worker the phases of a step and the kinds of operations, then hints."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from forge_tui.protocol.profile import PHASES, OperationCost, PhaseCost, WorkerProfile
from forge_tui.reports.profile_hints import Hint
from forge_tui.safe_io.printing import printable
from forge_tui.text.figures import count, table

_MOST_KINDS = 8
_KINDS = ("KIND OF OPERATION", "SHARE", "CALLS", "PER STEP", "MOST OF IT")


def profile_text(workers: Sequence[WorkerProfile], found: Sequence[Hint]) -> str:
    """Tables per worker, then the hints."""
    blocks = [_worker_text(number, worker) for number, worker in enumerate(workers, start=1)]
    lines = [f"hint: {hint.text}" for hint in found] or ["no hint: nothing stands out in what was measured"]
    return "\n".join([*blocks, "".join(f"{line}\n" for line in lines)])


def time_text(seconds: float) -> str:
    """A short time: `12.3 µs`, `4.56 ms`, `1.23 s`."""
    for size, unit in ((1e-6, "µs"), (1e-3, "ms")):
        if seconds < 999.5 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def _worker_text(number: int, worker: WorkerProfile) -> str:
    first, *others = worker.models
    models = f"{first} and {len(others)} more together" if others else first
    threads, steps, samples = (
        count(worker.threads, "thread"), count(worker.steps, "step"), count(worker.batch_size, "sample")
    )  # fmt: skip
    made = f"{steps} of its optimizers" if worker.is_function else f"{steps} of {samples}"
    head = f"Worker {number}: {printable(models)}, {worker.device}, {threads}; {made} in {worker.seconds:.1f} s\n"
    return (
        head
        + table(("PHASE", "SHARE", "PER STEP", "MEASURED"), list(_phase_rows(worker)))
        + (table(_KINDS, list(_kind_rows(worker))) if worker.operations else "")
        + "".join(f"{line}\n" for line in _notes(worker))
    )


def _phase_rows(worker: WorkerProfile) -> Iterator[tuple[str, ...]]:
    for phase in PHASES:
        costs = [cost for cost in worker.phases if cost.phase == phase]
        if costs:
            seconds = sum(cost.seconds for cost in costs)
            how = ", ".join(_how_often(cost, worker) for cost in costs)
            yield phase, _share(worker.share(phase)), time_text(seconds), how
    total = worker.step_seconds
    yield "a step", "100 %", time_text(total), f"{1 / total:,.0f} steps/s of this worker" if total else ""


def _how_often(cost: PhaseCost, worker: WorkerProfile) -> str:
    if cost.every == "step":
        return "every step"
    if cost.every == "epoch":
        return f"{time_text(cost.once)} per epoch of {count(worker.steps_per_epoch, 'step')}"
    interval = worker.checkpoint_interval
    if worker.is_function:
        return f"{time_text(cost.once)} each time ({cost.times:,} measured)"
    return f"{time_text(cost.once)} every {count(interval, 'epoch') if interval > 1 else 'epoch'}"


def _kind_rows(worker: WorkerProfile) -> Iterator[tuple[str, ...]]:
    kinds: defaultdict[str, list[OperationCost]] = defaultdict(list)
    for one in worker.operations:
        kinds[one.kind].append(one)
    total = sum(map(_seconds, worker.operations))
    ordered = sorted(kinds.items(), key=lambda kind: sum(map(_seconds, kind[1])), reverse=True)
    for kind, costs in ordered[:_MOST_KINDS]:
        seconds, most = sum(map(_seconds, costs)), max(costs, key=_seconds)
        calls = sum(one.calls for one in costs)
        short = most.name.rpartition(": ")[2].removeprefix("aten::")
        name = most.phase if most.name == kind else f"{short} in {most.phase}"
        share = seconds / total if total else 0.0
        yield kind, _share(share), f"{calls:g}" if calls else "", time_text(seconds), printable(name)


def _seconds(cost: OperationCost) -> float:
    return cost.device_seconds or cost.seconds


def _notes(worker: WorkerProfile) -> Iterator[str]:
    if worker.operations:
        yield "Operations: of 5 steps under torch's profiler, which slows small ones; outside them is Python."
    if worker.is_function:
        yield "The rest: the forward pass, and all of the function that is no call of torch or of its trial."
    wait = "" if worker.cpu_wait is None else f"; its steps waited for a CPU {_share(worker.cpu_wait)} of the time"
    yield f"CPUs: {worker.cpus:.1f} busy{wait}."
    if worker.device_busy is not None:
        yield f"GPU: computing {_share(worker.device_busy)} of the time. Each phase was waited for, unlike in a run."
    if worker.doubled is not None:
        yield f"Twice the samples: forward and backward take {worker.doubled.factor:.2f}x as long."
    if worker.write_seconds is not None and not worker.is_function:
        yield f"A checkpoint is written in {time_text(worker.write_seconds)} while training continues."


def _share(share: float) -> str:
    return f"{100 * share:.0f} %"
