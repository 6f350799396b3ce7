"""Progress on stderr: bars on a terminal, else a plain line every few seconds."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

from forge_tui.analysis.ranking import best_so_far
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import WAITING, RunState, TrainingPhase
from forge_tui.protocol.snapshot import Snapshot
from forge_tui.safe_io.printing import printable
from forge_tui.text.figures import best_text, duration, epoch_text, headline_text, number

_LINE_SECONDS = 5.0
_MAX_BARS = 12


@contextmanager
def progress(err: IO[str]) -> Iterator[Any]:
    """A function that shows a snapshot and permanent lines: bars on a terminal, else a line every few seconds."""
    if err.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        with _bars(err) as show:
            yield show
    else:
        yield _lines(err)


def _lines(err: IO[str]) -> Any:
    shown_at, shown = float("-inf"), ""

    def show(snapshot: Snapshot, lines: Sequence[str]) -> None:
        nonlocal shown_at, shown
        if lines:
            err.write("".join(f"{line}\n" for line in lines))
            err.flush()
        now = time.monotonic()
        line = progress_line(snapshot)
        if line != shown and (now - shown_at >= _LINE_SECONDS or not snapshot.state.is_live):
            shown_at, shown = now, line
            err.write(f"{time.strftime('%H:%M:%S')} {line}\n")
            err.flush()

    return show


@contextmanager
def _bars(err: IO[str]) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=Console(file=err), auto_refresh=False) as progress:
        overall = progress.add_task("all", total=100.0, note="")
        tasks: dict[int, TaskID] = {}

        def show(snapshot: Snapshot, lines: Sequence[str]) -> None:
            for line in lines:
                progress.console.print(line, markup=False, highlight=False, soft_wrap=True)
            progress.update(overall, completed=snapshot.overall_percent, note=progress_line(snapshot))
            for model in _worth_a_bar(snapshot):
                if model.index not in tasks:
                    tasks[model.index] = progress.add_task(printable(model.name), total=100.0, note="")
                metric = headline_text(model.metrics, snapshot.metrics)
                note = f"{model.phase} {epoch_text(model.epoch, model.epochs)} loss {number(model.loss)} {metric}"
                progress.update(tasks[model.index], completed=model.percent, note=note)
            progress.refresh()

        yield show


def _worth_a_bar(snapshot: Snapshot) -> list[ModelState]:
    if len(snapshot.models) <= _MAX_BARS:
        return list(snapshot.models)
    return [model for model in snapshot.models if model.phase.is_active][:_MAX_BARS]


def progress_line(snapshot: Snapshot) -> str:
    """One line about the whole run."""
    counts = snapshot.counts
    parts = [f"{snapshot.completed}/{len(snapshot.models)} done"]
    if snapshot.pruned:
        parts.append(f"{snapshot.pruned} pruned")
    active = sum(number for phase, number in counts.items() if phase.is_active)
    parts += [f"{active} training"] if active else []
    parts += [f"{counts[phase]} {phase}" for phase in (TrainingPhase.QUEUED, TrainingPhase.FAILED) if counts[phase]]
    if snapshot.state is RunState.QUEUED and snapshot.run.reason:
        parts.append(snapshot.run.reason)  # what it waits for
    if snapshot.state is RunState.RUNNING and not active:
        reasons = (model.reason or "" for model in snapshot.models)
        parts += [reason for reason in reasons if reason.startswith(WAITING)][:1]
    best = best_so_far(snapshot)
    if best is not None:
        parts.append(f"{best_text(best)} at best")
    eta = (
        f"ETA {duration(snapshot.eta_seconds)}"
        if snapshot.state.is_live
        else f"took {duration(snapshot.elapsed_seconds)}"
    )
    return printable(f"{snapshot.heading} {snapshot.state} {snapshot.overall_percent:.0f}%, {', '.join(parts)}, {eta}")
