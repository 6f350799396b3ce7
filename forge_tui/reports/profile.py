"""Profiles the configured run: begins it for real in a temporary directory, and takes what each worker measured."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forge_tui import client
from forge_tui.client.launch import start_profiled
from forge_tui.errors import ForgeError, RunDirectoryError
from forge_tui.protocol.profile import DIRECTORY, PHASES, PREFIX, WorkerProfile
from forge_tui.reports.profile_hints import Conditions
from forge_tui.safe_io.printing import named
from forge_tui.settings.training_function import is_function

if TYPE_CHECKING:
    from forge_tui.client.run import Run
    from forge_tui.protocol.snapshot import Snapshot
    from forge_tui.settings.schema import Settings

_LOOK_SECONDS = 0.1
_STOP_SECONDS = 60.0
_FUNCTION_SECONDS, _STARTING_SECONDS = 120.0, 10.0
# More than are trained in seconds; the run is stopped when every worker has measured.
_EPOCHS = 1_000_000_000
_ENDING = ("training.epochs", "training.patience")


@dataclass(frozen=True, slots=True)
class MeasuredWorker:
    """What a worker measured, its phases over time (name, begin and end in nanoseconds), and torch's trace.

    `shift`: microseconds to add to the times of the trace to have those of the phases.
    """

    profile: WorkerProfile
    spans: tuple[tuple[str, int, int], ...]
    trace: dict[str, Any]
    shift: float


@dataclass(frozen=True, slots=True)
class Profile:
    """All workers of the measured part, and the conditions that hints need to know."""

    workers: tuple[MeasuredWorker, ...]
    conditions: Conditions

    @property
    def profiles(self) -> tuple[WorkerProfile, ...]:
        """What the workers measured."""
        return tuple(worker.profile for worker in self.workers)


def measure(settings: Settings, seconds: float, tell: Callable[[str], None]) -> Profile:
    """Train for about `seconds` per worker, and return what was measured; nothing of the run is left.

    `tell` is called with a line when the run has begun. Raises `ForgeError` if it does not begin, or if a worker ends
    before it has measured.
    """
    with tempfile.TemporaryDirectory(prefix="forge-tui-profile-") as place:
        path = Path(place) / "run"
        with start_profiled(endless(settings, path), seconds) as run:
            try:
                tell(f"measuring each worker for about {seconds:g} s, in a temporary directory")
                train = settings.training.train
                _wait_for_all(run, train if is_function(train) else None, seconds)
            finally:
                _end(run)
            info = run.snapshot().run
        found = tuple(_read(file) for file in sorted(_results(path), key=_number))
        client.delete(path)
    conditions = Conditions(workers=info.workers, models=info.models, fuse=info.fuse, cpus=_cpus())
    return Profile(found, conditions)


def endless(settings: Settings, path: Path) -> Settings:
    """The settings of a run in `path` that trains until it is stopped, and does nothing else."""
    training = settings.training
    # A function may make room for all its epochs.
    epochs = training.epochs if is_function(training.train) else _EPOCHS
    patience = _EPOCHS if training.patience else training.patience
    sweep = {name: values for name, values in settings.sweep.items() if name not in _ENDING}
    return replace(
        settings,
        training=replace(training, epochs=epochs, patience=patience),
        run=replace(
            settings.run, output=str(path), max_seconds=None, halving=None, after=None, on_finish=(), max_retries=0
        ),
        sweep=sweep,
    )


def _cpus() -> int:
    """CPUs that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _wait_for_all(run: Run, function: str | None, seconds: float) -> None:
    """Wait until every worker that trains has written its result. Raises `ForgeError` if a model ends before.

    `function`: the training function, which may never make a step; None: the built-in loop trains.
    """
    begun, first = time.monotonic(), None
    while True:
        snapshot, results = run.snapshot(), _results(run.path)
        measured = {name for file in results for name in _models(file)}
        waited = time.monotonic() - begun
        if (problem := _problem(snapshot, measured, function, waited - 10 * seconds)) is not None:
            raise ForgeError(problem)
        if measured:
            first = waited if first is None else first
            # Workers start at different times, and where memory is short not all do.
            all_there = len(results) >= _expected(snapshot) or waited - first >= _STARTING_SECONDS
            if not snapshot.state.is_live or (all_there and _in_training(snapshot) <= measured):
                return
        run.pass_time(_LOOK_SECONDS)


def _problem(snapshot: Snapshot, measured: set[str], function: str | None, late: float) -> str | None:
    """Why nothing more will be measured, in words; None: it will. `late`: seconds after a function was to be done."""
    for failure in snapshot.failures:
        if failure.model not in measured:
            return f"{failure.model} failed before it was measured: {failure.message}"
    if measured:
        return None
    if function is not None and not snapshot.state.is_live:
        return f"--train {named(function)} ended before enough steps of an optimizer of torch were made"
    if function is not None and late > _FUNCTION_SECONDS:
        return (
            f"--train {named(function)} makes no steps of an optimizer of torch: only loops with torch.optim can be "
            "measured"
        )
    if not snapshot.state.is_live:
        return f"the run to be measured ended as {snapshot.state}: {snapshot.run.reason or 'no reason is known'}"
    return None


def _expected(snapshot: Snapshot) -> int:
    """The workers that the rules allow, if there are as many groups."""
    return min(snapshot.run.workers, -(-snapshot.run.models // snapshot.run.fuse))


def _in_training(snapshot: Snapshot) -> set[str]:
    return {model.name for model in snapshot.models if model.phase.is_active}


def _end(run: Run) -> None:
    """Stop the run, and wait until its directory is free."""
    try:
        if run.snapshot().state.is_live:
            run.stop()
        run.wait(_STOP_SECONDS)
    except TimeoutError:
        run.kill()
        run.wait()
    except RunDirectoryError:
        pass  # it is gone; the error that led here is the one to tell


def _results(path: Path) -> list[Path]:
    return [file for file in (path / DIRECTORY).glob("*.json") if file.stem.isdigit()]


def _number(file: Path) -> int:
    return int(file.stem)


def _models(file: Path) -> Sequence[str]:
    return WorkerProfile.from_record(json.loads(file.read_bytes())).models


def _read(file: Path) -> MeasuredWorker:
    record = json.loads(file.read_bytes())
    spans = tuple((str(name), int(begun), int(ended)) for name, begun, ended in record["spans"])
    traced = file.with_name(f"{file.stem}-trace.json")
    trace = json.loads(traced.read_bytes()) if traced.exists() else {"traceEvents": []}
    return MeasuredWorker(WorkerProfile.from_record(record), spans, trace, _shift(trace, record["traced_at"]))


def _shift(trace: dict[str, Any], begun: int) -> float:
    """From torch's clock to that of the phases: the first traced phase began at `begun` nanoseconds."""
    names = {f"{PREFIX}{phase}" for phase in PHASES}
    begins = (event["ts"] for event in trace["traceEvents"] if event.get("name") in names)
    return begun / 1e3 - float(min(begins, default=0.0))
