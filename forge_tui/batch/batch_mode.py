"""Batch mode: a run without a screen. stdout carries results only, stderr progress."""

from __future__ import annotations

import functools
import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO

from forge_tui.batch.progress import progress
from forge_tui.client.run import Run
from forge_tui.errors import RunDirectoryError, RunGone
from forge_tui.protocol.phases import RunState
from forge_tui.protocol.snapshot import Snapshot
from forge_tui.reports.run_report import best_line, result_table
from forge_tui.safe_io.printing import printable, shell_word
from forge_tui.text.baseline_lines import baseline_lines
from forge_tui.text.event_lines import is_notable, log_line

_LOOK_SECONDS = 0.2
# Snapshots take at most a twentieth of a CPU: one of 10,000 models takes 20 ms.
_LOOK_SHARE = 0.05
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
_MOST_MESSAGES = 500


def watch(run: Run, *, json_lines: bool, out: IO[str] | None = None, err: IO[str] | None = None) -> int:
    """Show a run until it ends; returns the exit status.

    INT, TERM and USR1 are forwarded: the run stops after a checkpoint, and the status is 128 + the signal.
    """
    out, err = out or sys.stdout, err or sys.stderr
    shown = 0
    with _forwarding() as signals:
        try:
            with progress(err) as show:
                written, asked = 0, False
                for snapshot in _looks(run, signals):
                    if json_lines:
                        shown = _write_events(run, shown, out)
                    lines, written = _notable(run, written)
                    show(snapshot, lines)
                    if signals and not asked:
                        asked = _ask_to_stop(run, signals[0], err)
                snapshot = run.wait()
        except RunGone as gone:
            moved = _after_a_move(run, gone, signals, err)
            if moved is None:
                return 1
            run, snapshot = moved
    return _finish(run, snapshot, signals, shown if json_lines else None, out, err)


def _finish(run: Run, snapshot: Snapshot, signals: Sequence[int], shown: int | None, out: IO[str], err: IO[str]) -> int:
    """Write the results and the end; returns the exit status. `shown`: the last event written (None: a table)."""
    if shown is not None:
        _write_events(run, shown, out)
    else:
        out.write(result_table(snapshot))
        out.flush()
    _tell_the_end(run, snapshot, err)
    if snapshot.state is RunState.COMPLETED:
        return 0
    return 128 + signals[0] if signals else 1


def _after_a_move(run: Run, gone: RunGone, signals: list[int], err: IO[str]) -> tuple[Run, Snapshot] | None:
    """The run at its new place, once it has ended; None if it was deleted. A second signal ends the wait."""
    err.write(f"{printable(str(gone))}\n")
    err.flush()
    patient = len(signals) + 1
    farewell = None
    while farewell is None and run.has_runner and len(signals) <= patient:
        farewell = run.farewell(_LOOK_SECONDS)
    if farewell is None or farewell.directory is None:
        reason = "nothing more is known of it" if farewell is None else f"{farewell.state}: {farewell.reason}"
        err.write(f"{printable(f'run {run.id} {reason}')}\n")
        err.flush()
        return None
    there = Run(Path(farewell.directory))
    return there, there.wait()


def _looks(run: Run, signals: list[int]) -> Iterator[Snapshot]:
    """Snapshots at intervals, at once after a signal, and a last one when the run has ended."""
    while True:
        begun = time.thread_time()  # this thread's CPU time, without waiting for a slow reader of the output
        snapshot = run.snapshot()
        yield snapshot
        if not snapshot.state.is_live:
            return
        seconds = max(_LOOK_SECONDS, (time.thread_time() - begun) / _LOOK_SHARE)
        run.pass_time(seconds, functools.partial(_has_more, signals, len(signals)))


def _has_more(signals: list[int], before: int) -> bool:
    return len(signals) > before


@contextmanager
def _forwarding() -> Iterator[list[int]]:
    """Collect forwarded signals in order; the handler only records them."""
    received: list[int] = []

    def note(signum: int, _frame: FrameType | None) -> None:
        received.append(signum)

    earlier = {signum: signal.signal(signum, note) for signum in _FORWARDED}
    try:
        yield received
    finally:
        for signum, handler in earlier.items():
            signal.signal(signum, handler)


def _ask_to_stop(run: Run, signum: int, err: IO[str]) -> bool:
    """Whether the request was sent; on a full disk it fails, and is repeated at the next snapshot."""
    name = signal.Signals(signum).name
    try:
        run.stop(sender=f"batch mode, {name}")
    except RunGone:
        raise
    except RunDirectoryError:
        return not run.snapshot().state.is_live  # it may have just ended by itself
    err.write(f"{name}: the run stops after a checkpoint\n")
    err.flush()
    return True


def _write_events(run: Run, since: int, out: IO[str]) -> int:
    # On a terminal in ASCII: JSON does not escape C1 control characters and direction marks.
    in_ascii = out.isatty() or not (getattr(out, "encoding", None) or "utf-8").lower().startswith("utf")
    while True:
        events = run.events(since)
        for _, record in events:
            out.write(json.dumps(record, ensure_ascii=in_ascii, separators=(",", ":")) + "\n")
        if not events:
            out.flush()
            return since
        since = events[-1][0]


def _notable(run: Run, since: int) -> tuple[list[str], int]:
    """Lines for notable events after `since`, only the newest ones if there are many, and the newest event's number."""
    records, last = run.messages(since, _MOST_MESSAGES)
    lines = (log_line(record) for record in records if is_notable(record))
    return [line[0] for line in lines if line is not None], last


# --- results


def why_it_ended(snapshot: Snapshot) -> str:
    """Why a run ended as it did; empty if there is nothing to say."""
    if snapshot.state is RunState.DIED:
        began = any(model.epoch for model in snapshot.models)
        return "its runner was killed or the machine went down" + ("" if began else " before the first epoch")
    return snapshot.run.reason or ""


def _tell_the_end(run: Run, snapshot: Snapshot, err: IO[str]) -> None:
    reason = why_it_ended(snapshot)
    lines = [f"run {run.id} {snapshot.state}" + (f": {reason}" if reason else "")]
    for failure in snapshot.failures:
        lines.append(f"{failure.model} failed ({failure.kind}, attempt {failure.attempt}): {failure.message}")
    traced = next((failure for failure in snapshot.failures if failure.traceback), None)
    if traced is not None:
        lines.append(f"Its output and traceback: forge-tui logs {shell_word(str(run.path))} {traced.index}")
    lines += [f"warning: {problem}" for problem in snapshot.problems]
    err.write("".join(f"{printable(line)}\n" for line in lines) + best_line(snapshot))
    err.write(baseline_lines(snapshot))
    if snapshot.state is not RunState.COMPLETED:
        err.write(f"To continue: forge-tui resume {shell_word(str(run.path))}\n")
    err.flush()
