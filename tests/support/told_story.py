"""The history that every exporter is shown: epochs, an exact repetition, a rollback, NaN, and what a name can be."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from growing_runs import GrowingRun
from run_directories import RunMaker
from running import forge

from forge_tui.exporters.target import values_of
from forge_tui.protocol.events import EpochFinished
from forge_tui.protocol.phases import RunState, TrainingPhase

Arrived = dict[str, dict[str, list[tuple[int, float]]]]
"""What has arrived: per model and metric (step, value), in ascending steps."""
ODD_NAMES = ("F1@5", "top-1 %", "précision", "a//b", "_step", "val/loss")


def tell(maker: RunMaker, export: Callable[[GrowingRun], None]) -> GrowingRun:
    """A run that grows and ends, exported after each part."""
    run = GrowingRun(maker)
    run.train(1, [1, 2, 3])
    run.train(2, [1])
    export(run)
    run.train(1, [3, 4])  # an exact repetition of epoch 3
    run.train(2, [2], {"loss": math.nan})
    export(run)
    run.train(2, [2, 3], {name: 0.5 + place for place, name in enumerate(ODD_NAMES)}, shift=0.25)  # a rollback
    export(run)
    export(run)
    last = run.models[1].metrics
    run.end_model(1, TrainingPhase.COMPLETED, best_epoch=4, metrics={**last, "test/loss": 0.125})
    run.end_model(2, TrainingPhase.CANCELLED)
    run.end(RunState.STOPPED)
    export(run)
    export(run)
    return run


def exporting(tool: str, here: Path, *more: str) -> Callable[[GrowingRun], None]:
    """Exports a run to a tool."""
    return lambda run: void(forge("export", run.path, "--to", tool, *more, cwd=here))


def void(_: object) -> None:
    """Nothing."""


def expected(run: GrowingRun, name_of: Callable[[str], str] = str) -> Arrived:
    """What must have arrived: the run's own history; a repeated epoch with the speed that was measured first."""
    found: Arrived = {}
    for model, history in run.expected().items():
        for epoch in history:
            for name, value in values_of(epoch).items():
                if value is not None and name != "steps_per_second":
                    found.setdefault(model, {}).setdefault(name_of(name), []).append((epoch.epoch, value))
    return found


def times(run: GrowingRun, model: str) -> list[EpochFinished]:
    """The epochs of a model."""
    return run.expected()[model]
