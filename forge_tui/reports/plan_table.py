"""A plan as text: the ways to carry out a run, the best first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forge_tui.safe_io.printing import printable
from forge_tui.text.figures import duration, memory, table

if TYPE_CHECKING:
    from forge_tui.protocol.plan import Estimate, RunPlan

_IN_SECONDS = 100.0
_HEADER = ("", "MODE", "WORKERS", "TOGETHER", "THREADS", "STEPS/S", "MEMORY", "TIME")


def time_text(estimate: Estimate) -> str:
    """The run's estimated time, with tenths for short times."""
    seconds = estimate.seconds
    return f"{seconds:.1f} s" if seconds < _IN_SECONDS else duration(seconds)


def way_text(estimate: Estimate) -> str:
    """A way as text: `parallel: 2 workers of 6 models, 1 thread each`."""
    way = estimate.way
    threads = f"{way.threads} thread{'s' if way.threads > 1 else ''}"
    compiled = ", compiled" if way.compile else ""
    if way.mode == "series":
        return f"series: one model after the other, {threads}{compiled}"
    workers = f"{way.workers} worker{'s' if way.workers > 1 else ''}"
    return f"parallel: {workers} of {way.models} model{'s' if way.models > 1 else ''}, {threads} each{compiled}"


def plan_table(plan: RunPlan) -> str:
    """Where models are trained, then a line per way, the best marked.

    TOGETHER is how many models a worker trains as one batch of models.
    """
    rows = []
    for one in plan.estimates:
        way = one.way
        mark = "*" if one is plan.best else ""
        counts = (str(way.workers), str(way.models), str(way.threads))
        mode = f"{way.mode}, compiled" if way.compile else way.mode
        rows.append((mark, mode, *counts, f"{one.steps_per_second:,.0f}", memory(one.memory), time_text(one)))
    device = f"trained on: {printable(plan.device)}\n" if plan.device else ""
    return device + table(_HEADER, rows)
