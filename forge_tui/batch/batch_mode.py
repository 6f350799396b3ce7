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
from forge_tui.text.event_lines import is_notable, log_line

_LOOK_SECONDS = 0.2
# Looking takes at most a twentieth of a CPU: with 10,000 models a look takes 20 ms of it.
_LOOK_SHARE = 0.05
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
_MOST_MESSAGES = 500


def watch(run: Run, *, json_lines: bool, out: IO[str] | None = None, err: IO[str] | None = None) -> int:
    """Show a run until it ends and return the exit status.

    INT, TERM and USR1 are forwarded: the run stops after a checkpoint, and the status is 128 + the signal.
    """
    out, err = out or sys.stdout, err or sys.stderr
    shown = 0
    with _forwarding() as signals:
        try:
            with progress(err) as show:
                told, asked = 0, False
                for snapshot in _looks(run, signals):
                    if json_lines:
                        shown = _write_events(run, shown, out)
                    lines, told = _notable(run, told)
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
    """Write the results, tell the end, and return the exit status. `shown`: the last event written (None: a table)."""
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
    """The run where it is now, when it has ended; None where it is gone. A second signal waits no longer."""
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
    """Snapshots every now and then, at once after a signal, the last one when the run has ended."""
    while True:
        begun = time.thread_time()  # of this thread's CPU: a reader of the output who is slow has no part in it
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
    """Collect forwarded signals, the first one first; the handler only takes a note."""
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
    """Whether the run was asked; on a full disk it cannot be yet, and is asked again at the next look."""
    name = signal.Signals(signum).name
    try:
        run.stop(sender=f"batch mode, {name}")
    except RunGone:
        raise
    except RunDirectoryError:
        return not run.snapshot().state.is_live  # it has just ended by itself
    err.write(f"{name}: the run stops after a checkpoint\n")
    err.flush()
    return True


def _write_events(run: Run, since: int, out: IO[str]) -> int:
    # On a terminal in ASCII: JSON itself lets control characters beyond it and marks of direction stand.
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
    """What has happened since that is worth a line of its own; of a long past only the newest."""
    records, last = run.messages(since, _MOST_MESSAGES)
    lines = (log_line(record) for record in records if is_notable(record))
    return [line[0] for line in lines if line is not None], last


# --- results


def why_it_ended(snapshot: Snapshot) -> str:
    """Why a run is in the state that it ended in, empty where there is nothing to say."""
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
        lines.append(f"What it printed, and where it was: forge-tui logs {shell_word(str(run.path))} {traced.index}")
    lines += [f"warning: {problem}" for problem in snapshot.problems]
    err.write("".join(f"{printable(line)}\n" for line in lines) + best_line(snapshot))
    if snapshot.state is not RunState.COMPLETED:
        err.write(f"To go on: forge-tui resume {shell_word(str(run.path))}\n")
    err.flush()
