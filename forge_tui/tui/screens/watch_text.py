"""The sentences of Watch: how the models stand, what failed first, why there is no curve, what became of the run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.safe_io.printing import harmless
from forge_tui.text.figures import age_text
from forge_tui.tui.follow import has_failed
from forge_tui.tui.widgets import cells

if TYPE_CHECKING:
    from forge_tui.protocol.snapshot import ModelState, Snapshot

NO_RUN = "No run is watched: 1 configures one, 3 shows the known runs."
STARTING = "The run is starting…"
READING = "Reading the run…"
NO_MODELS = "This run has no models: n makes new settings from its own."
# A warning older than this is history: it stands in the log only.
NEWS_SECONDS = 60.0
_LONGEST_NAME = 24


def no_run(removed: str) -> str:
    """What stands where the models would be while no run is watched; `removed`: why the last one is not there."""
    return f"{removed}. Esc goes back, 3 shows the known runs." if removed else NO_RUN


def is_news(record: Mapping[str, Any], snapshot: Snapshot | None, now: float) -> bool:
    """Whether an event is a failure that still holds: of a model that has not been tried again since, or just now."""
    if record["event"] != "model_failed":
        return False
    if record.get("will_retry"):
        return bool(abs(now - record["time"]) < NEWS_SECONDS)
    return snapshot is None or has_failed(snapshot, record["model"])


def is_new_warning(record: Mapping[str, Any], now: float) -> bool:
    """Whether an event is a warning of just now."""
    return record["event"] == "resource_warning" and bool(abs(now - record["time"]) < NEWS_SECONDS)


def counts_text(snapshot: Snapshot) -> Text:
    """How many models are in which phase; in a run that has ended nothing is training any more."""
    counts, live = snapshot.counts, snapshot.state.is_live
    paused = counts[TrainingPhase.PAUSED]
    active = sum(count for phase, count in counts.items() if phase.is_active)
    told = []
    if live:
        told += [(active - paused, "training", ""), (paused, "paused", "")]
        told.append((counts[TrainingPhase.QUEUED], "queued", ""))
    else:
        told.append((active + counts[TrainingPhase.QUEUED], "unfinished", "yellow"))
    told.append((counts[TrainingPhase.COMPLETED], "completed", ""))
    told.append((counts[TrainingPhase.FAILED], "failed", "red"))
    told.append((counts[TrainingPhase.CANCELLED], "cancelled", ""))
    text = Text()
    for count, word, style in told:
        if count:
            text.append(" " if text else "")
            text.append(f"{count} {word}", style=style)
    return text


def failure_text(snapshot: Snapshot | None, newest: Mapping[str, Any], width: int, ellipsis: str) -> str:
    """The first failure for good, for it is the cause; while there is none, `newest` (a `model_failed` event).

    At most `width` cells: the message gives way to what can be done about it.
    """
    failures = () if snapshot is None else snapshot.failures
    if failures:
        name, message = failures[0].model, failures[0].message
        more = len(failures) - 1
        what = f" (and {more} more)" if more else ""
        what += "; Enter on it shows why"
    else:
        name, message, what = newest["model"], newest["message"], "; it is tried again"
    name = cells.clean(name)
    begin = f"{cells.middle(name, min(cells.width_of(name), _LONGEST_NAME), ellipsis)}: "
    message = cells.clean(message.strip().partition("\n")[0].rstrip("."))
    room = max(12, width - cells.width_of(begin) - cells.width_of(what))
    return begin + cells.left(message, min(cells.width_of(message), room), ellipsis) + what


def messages_text(told: Iterable[tuple[float, str, str]]) -> Text:
    """Messages as (UNIX seconds, text, severity) in full, the newest first."""
    styles = {"warning": "yellow", "error": "bold red"}
    text = Text("Messages, the newest first", style="bold")
    text.append("   (arrows scroll, Esc closes)\n", style="not bold")
    for when, message, severity in reversed(list(told)):
        mark = "" if severity == "information" else "! "
        text.append(f"\n{time.strftime('%H:%M:%S', time.localtime(when))} ", style="not bold dim")
        text.append(mark + harmless(message), style=f"not bold {styles.get(severity, '')}".strip())
    if not told:
        text.append("\nNothing has been said yet.", style="not bold")
    return text


def ending_text(snapshot: Snapshot) -> str:
    """What became of a run that is not live, and the key to go on with it."""
    run, state = snapshot.run, snapshot.state
    if state is RunState.DIED:
        age = age_text(snapshot.age)
        return f"died {age} ago, without a word: R resumes it from its newest checkpoints"
    reason = f": {run.reason}" if run.reason else ""
    return f"run {run.run} {state}{reason}" + ("" if state is RunState.COMPLETED else "; R resumes it")


def why_no_curve(models: Sequence[ModelState], any_run: bool) -> str:
    """What stands in place of the chart while none of `models` (those to be charted) has an epoch."""
    if not models:
        return "No model is selected." if any_run else ""
    model = models[0]
    if model.phase is TrainingPhase.QUEUED:
        return f"{cells.clean(model.name)} waits for a worker: its curve begins with its first epoch."
    if model.phase.is_final:
        return f"{cells.clean(model.name)} ended before its first epoch."
    return "No epoch yet: warming up."
