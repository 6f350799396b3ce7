"""Writes what a worker has measured, for the process that asked for the profile."""

from __future__ import annotations

import json
from pathlib import Path

from forge_tui.protocol.profile import DIRECTORY, WorkerProfile
from forge_tui.safe_io.whole_files import write_atomically
from forge_tui.training.profiling.clock import PhaseClock
from forge_tui.training.profiling.operations import OperationTrace


def write_result(
    run: Path, number: int, found: WorkerProfile, clock: PhaseClock, trace: OperationTrace | None, traced_at: int
) -> None:
    """Write torch's trace (None: there is none), then the result: who sees that has both.

    `number`: the worker's first model. `traced_at`: when the first traced phase began (`time.perf_counter_ns`).
    """
    place = run / DIRECTORY
    place.mkdir(exist_ok=True)
    if trace is not None:
        trace.write(place / f"{number}-trace.json")
    record = {**found.to_record(), "spans": [list(span) for span in clock.spans], "traced_at": traced_at}
    write_atomically(place / f"{number}.json", json.dumps(record).encode())
