"""The texts of Watch: phases of the models, first failure, missing curves, end of the run."""

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
    from forge_tui.protocol.model_state import ModelState
    from forge_tui.protocol.snapshot import Snapshot

NO_RUN = "No run is watched: 1 configures one, 3 shows the known runs."
STARTING = "The run is starting…"
READING = "Reading the run…"
NO_MODELS = "This run has no models: n makes new settings from its own."
# Older warnings are only in the log.
NEWS_SECONDS = 60.0
_LONGEST_NAME = 24


def no_run(removed: str) -> str:
    """The text in place of the models while no run is watched; `removed`: why the last one no longer exists."""
    return f"{removed}. Esc goes back, 3 shows the known runs." if removed else NO_RUN


def is_news(record: Mapping[str, Any], snapshot: Snapshot | None, now: float) -> bool:
    """Whether an event is a current failure: of a model that has not been retried since, or only just now."""
    if record["event"] != "model_failed":
        return False
    if record.get("will_retry"):
        return bool(abs(now - record["time"]) < NEWS_SECONDS)
    return snapshot is None or has_failed(snapshot, record["model"])


def is_new_warning(record: Mapping[str, Any], now: float) -> bool:
    """Whether an event is a recent warning."""
    return record["event"] == "resource_warning" and bool(abs(now - record["time"]) < NEWS_SECONDS)


def counts_text(snapshot: Snapshot) -> Text:
    """The number of models per phase; in an ended run none is training."""
    counts, live = snapshot.counts, snapshot.state.is_live
    paused = counts[TrainingPhase.PAUSED]
    active = sum(count for phase, count in counts.items() if phase.is_active)
    counted = []
    if live:
        counted += [(active - paused, "training", ""), (paused, "paused", "")]
        counted.append((counts[TrainingPhase.QUEUED], "queued", ""))
    else:
        counted.append((active + counts[TrainingPhase.QUEUED], "unfinished", "yellow"))
    counted.append((counts[TrainingPhase.COMPLETED], "completed", ""))
    counted.append((counts[TrainingPhase.FAILED], "failed", "red"))
    counted.append((counts[TrainingPhase.CANCELLED], "cancelled", ""))
    text = Text()
    for count, word, style in counted:
        if count:
            text.append(" " if text else "")
            text.append(f"{count} {word}", style=style)
    return text


def failure_text(snapshot: Snapshot | None, newest: Mapping[str, Any], width: int, ellipsis: str) -> str:
    """The first final failure, which is the cause; without one, `newest` (a `model_failed` event).

    At most `width` cells: the message is shortened in favour of the advice.
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


def messages_text(messages: Iterable[tuple[float, str, str]]) -> Text:
    """Messages as (UNIX seconds, text, severity) in full, the newest first."""
    styles = {"warning": "yellow", "error": "bold red"}
    text = Text("Messages, the newest first", style="bold")
    text.append("   (arrows scroll, Esc closes)\n", style="not bold")
    for when, message, severity in reversed(list(messages)):
        mark = "" if severity == "information" else "! "
        text.append(f"\n{time.strftime('%H:%M:%S', time.localtime(when))} ", style="not bold dim")
        text.append(mark + harmless(message), style=f"not bold {styles.get(severity, '')}".strip())
    if not messages:
        text.append("\nNo messages yet.", style="not bold")
    return text


def ending_text(snapshot: Snapshot) -> str:
    """How a run ended, and the key to continue it."""
    run, state = snapshot.run, snapshot.state
    if state is RunState.DIED:
        age = age_text(snapshot.age)
        return f"died {age} ago, without a word: R resumes it from its newest checkpoints"
    reason = f": {run.reason}" if run.reason else ""
    return f"run {run.run} {state}{reason}" + ("" if state is RunState.COMPLETED else "; R resumes it")


def why_no_curve(models: Sequence[ModelState], any_run: bool) -> str:
    """The text in place of the chart while none of `models` has an epoch."""
    if not models:
        return "No model is selected." if any_run else ""
    model = models[0]
    if model.phase is TrainingPhase.QUEUED:
        return f"{cells.clean(model.name)} waits for a worker: its curve begins with its first epoch."
    if model.phase.is_final:
        return f"{cells.clean(model.name)} ended before its first epoch."
    return "No epoch yet: warming up."
