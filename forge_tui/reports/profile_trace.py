"""A profile in Chrome's trace format, which Perfetto and chrome://tracing show: all workers on one clock.

Source: "Trace Event Format" (Chromium). Times are microseconds. A worker has one process of its phases, and torch's
processes of its operations, whose clock is moved such that the first traced phase begins when torch says that it does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forge_tui.reports.profile import MeasuredWorker

_LABELS = ("process_name", "process_labels", "process_sort_index", "thread_name", "thread_sort_index")


def trace_json(workers: Sequence[MeasuredWorker]) -> str:
    """The trace of all workers."""
    events = [event for number, worker in enumerate(workers, start=1) for event in _events(number, worker)]
    begun = min((event["ts"] for event in events if event["ph"] != "M"), default=0.0)
    for event in events:
        if event["ph"] != "M":
            event["ts"] = round(event["ts"] - begun, 3)
    return json.dumps({"displayTimeUnit": "ms", "traceEvents": events}, separators=(",", ":"))


def _events(number: int, worker: MeasuredWorker) -> Iterator[dict[str, Any]]:
    name = f"worker {number} ({worker.profile.models[0]})"
    pid = 1_000 * number
    yield _label("process_name", pid, f"{name}: phases")
    yield _label("thread_name", pid, "training")
    for phase, begun, ended in worker.spans:
        duration = (ended - begun) / 1e3
        yield {"ph": "X", "name": phase, "cat": "phase", "pid": pid, "tid": 0, "ts": begun / 1e3, "dur": duration}
    yield from _operations(name, pid, worker)


def _operations(name: str, first: int, worker: MeasuredWorker) -> Iterator[dict[str, Any]]:
    """Torch's events, with process numbers of this worker's own."""
    events = [event for event in worker.trace.get("traceEvents", []) if _is_kept(event)]
    pids = {pid: first + 1 + place for place, pid in enumerate(dict.fromkeys(event["pid"] for event in events))}
    for pid in pids.values():
        yield _label("process_name", pid, f"{name}: operations")
    for event in events:
        moved = {**event, "pid": pids[event["pid"]]}
        if event["ph"] != "M":
            moved["ts"] = float(event["ts"]) + worker.shift
        elif event["name"] == "process_name":
            continue
        yield moved


def _is_kept(event: dict[str, Any]) -> bool:
    """Whether it is a time span, a flow or a label of a real process: torch adds rows about its own profiler."""
    if not isinstance(event.get("pid"), int):
        return False
    return event.get("ph") in ("X", "s", "f", "t") or (event.get("ph") == "M" and event.get("name") in _LABELS)


def _label(kind: str, pid: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": pid, "tid": 0, "ts": 0, "args": {"name": name}}
