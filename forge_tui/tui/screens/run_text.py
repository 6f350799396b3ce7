"""The text about one run below the list of runs: description, progress, next steps."""

from __future__ import annotations

import time

from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.protocol.snapshot import Snapshot
from forge_tui.text.figures import age_text, duration, epochs_text, short_path
from forge_tui.tui.lists.known_runs import RunLook
from forge_tui.tui.lists.run_columns import models_text
from forge_tui.tui.widgets.document import Paragraph
from forge_tui.tui.widgets.header import without_counts

# The keys that make sense for a run's state.
_NEXT_LIVE = "Enter watches it, p pauses it, s stops it after a checkpoint, N names it."
_NEXT_PAUSED = "Enter watches it, p continues it, s stops it after a checkpoint, N names it."
_NEXT_COMPLETED = "Enter shows it, R trains it further, N names it, D deletes it."
_NEXT_ENDED = "R resumes it from its newest checkpoints, N names it, D deletes it."


def about_run(look: RunLook, snapshot: Snapshot | None, problem: str, only_ascii: bool = False) -> list[Paragraph]:
    """The lines for the selected run. `snapshot` is None while it is being read, or if `problem` says why not."""
    entry = look.entry
    head = [Paragraph((("directory ", "label"), (short_path(entry.path), "text")), hang=10)]
    if entry.name or entry.note:
        called = f"{entry.name} ({entry.run})" if entry.name else entry.run
        label = called + (f": {entry.note}" if entry.note else "")
        head.insert(0, Paragraph((("run       ", "label"), (label, "text")), hang=10))
    problem = look.problem or problem
    if problem:
        return [
            *head,
            Paragraph((("unreadable ", "failed"), (problem, "text")), hang=11),
            Paragraph((("D deletes the files that forge-tui has made there.", "quiet"),)),
        ]
    if snapshot is None:
        return [*head, Paragraph((("reading…", "quiet"),))]
    info = snapshot.run
    about = f"{models_text(entry, only_ascii)}{epochs_text(info.epochs)}, {info.mode}, {info.policy}"
    host = f", on {info.host}" if info.host else ""
    lines = [
        *head,
        Paragraph((("models    ", "label"), (about + host, "text")), hang=10),
        Paragraph((("progress  ", "label"), (_progress(snapshot), "text")), hang=10),
    ]
    if snapshot.state is RunState.DIED:
        seen = snapshot.time - snapshot.age if snapshot.written is None else snapshot.written
        when = time.strftime("%m-%d %H:%M:%S", time.localtime(seen))
        died = f"{age_text(snapshot.age)} ago, without a word; its last sign of life was at {when}"
        lines.append(Paragraph((("died      ", "failed"), (died, "text")), hang=10))
    elif snapshot.failures:
        first = snapshot.failures[0]
        lines.append(Paragraph((("failed    ", "failed"), (f"{first.model}: {first.message}", "text")), hang=10))
    elif info.reason:
        lines.append(Paragraph((("reason    ", "label"), (info.reason, "text")), hang=10))
    elif snapshot.state.is_live and info.limit_reason:
        workers = f"{info.workers} of {info.requested}: {without_counts(info.limit_reason)}"
        lines.append(Paragraph((("workers   ", "label"), (workers, "text")), hang=10))
    lines += [Paragraph((("warning   ", "warning"), (each, "text")), hang=10) for each in snapshot.problems[:1]]
    following = _NEXT_COMPLETED if snapshot.state is RunState.COMPLETED else _NEXT_ENDED
    if snapshot.state.is_live:
        following = _NEXT_PAUSED if snapshot.state is RunState.PAUSED else _NEXT_LIVE
    return [*lines, Paragraph(((following, "quiet"),))]


def _progress(snapshot: Snapshot) -> str:
    counts = snapshot.counts
    parts = [f"{snapshot.completed} of {len(snapshot.models)} done", f"{snapshot.overall_percent:.0f}%"]
    active = sum(count for phase, count in counts.items() if phase.is_active) if snapshot.state.is_live else 0
    parts += [f"{active} training"] if active else []
    parts += [f"{counts[phase]} {phase}" for phase in (TrainingPhase.FAILED, TrainingPhase.CANCELLED) if counts[phase]]
    if snapshot.state.is_live:
        parts.append(f"ETA {duration(snapshot.eta_seconds)}")
    parts.append(f"{'for' if snapshot.state.is_live else 'took'} {duration(snapshot.elapsed_seconds)}")
    return ", ".join(parts)
