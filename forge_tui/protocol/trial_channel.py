"""The channel between a command and its worker: variables of its environment, and a file of reports, one a line.

The command appends JSON objects to the file; `report` does so for Python.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

PREFIX = "FORGE_TRIAL_"
CHANNEL = f"{PREFIX}CHANNEL"
"""The variable with the path of the file of reports."""
EPOCH, STEP, GOAL = "epoch", "step", "goal"
"""The keys of a report that are no metrics."""

own_trial: Callable[..., None] | None = None
"""`Trial.report` while a training function runs, which has no such file."""


@contextmanager
def reports_go_to(report: Callable[..., None]) -> Iterator[None]:
    """A training function runs: `report` is its trial's."""
    global own_trial
    before, own_trial = own_trial, report
    try:
        yield
    finally:
        own_trial = before


def report(
    metrics: Mapping[str, Any] | None = None,
    /,
    *,
    epoch: int | None = None,
    step: int | None = None,
    goal: Mapping[str, Literal["higher", "lower"]] | None = None,
    **more: Any,
) -> None:
    """Report an epoch from a command that forge-tui runs: `forge_tui.report(loss=0.3, epoch=7)`.

    Outside a run this does nothing, and in a training function it is `Trial.report`, which describes the arguments.
    Metrics are numbers, NumPy scalars, or tensors of shape (). Raises `TrialError` for anything else, and `OSError` if
    the report cannot be written.
    """
    if own_trial is not None:
        own_trial(metrics, epoch=epoch, step=step, goal=goal, **more)
        return
    path = os.environ.get(CHANNEL)
    if not path:
        return
    from forge_tui.protocol.reported import checked_goals, plain_metrics, whole  # 10 ms, not needed outside a run

    found: dict[str, Any] = dict(plain_metrics({} if metrics is None else metrics, more, caller="forge_tui.report"))
    checked_goals(goal)
    if goal is not None:
        found[GOAL] = dict(goal)
    for name, value, least in ((EPOCH, epoch, 1), (STEP, step, 0)):
        if value is not None:
            found[name] = whole(value, name, least)
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        write_line(file, found)
    finally:
        os.close(file)


def write_line(file: int, record: Mapping[str, Any]) -> None:
    """Append a record as one line to the file with this descriptor. Raises `OSError`."""
    line = json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    while line:  # one call, unless the disk is full in the middle
        line = line[os.write(file, line) :]
