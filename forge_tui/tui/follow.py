"""Follows a run in a thread and posts changes. Throttled at the source; touches no widget."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from forge_tui.protocol.phases import RunState, TrainingPhase

if TYPE_CHECKING:
    from forge_tui.client.run import Run
    from forge_tui.protocol.snapshot import Snapshot

# A long run is not read from its beginning: the log shows the newest events.
NEWEST_EVENTS = 500
# A run that is no longer live may be resumed from another terminal, or deleted: checking takes about 1 ms.
PAST_THE_END_SECONDS = 1.0


class Turn(Enum):
    """How the run's state changed from the previous snapshot to this one."""

    NONE = auto()
    ENDED = auto()
    UNFINISHED = auto()
    """The first snapshot of a run that has ended without being completed."""
    RESUMED = auto()
    """It had ended, and was resumed."""


def turn(before: Snapshot | None, now: Snapshot) -> Turn:
    """How the run has changed since `before`; None for the first snapshot."""
    live = now.state.is_live
    if before is None:
        return Turn.NONE if live or now.state is RunState.COMPLETED else Turn.UNFINISHED
    if before.state.is_live is live:
        return Turn.NONE
    return Turn.RESUMED if live else Turn.ENDED


def has_failed(snapshot: Snapshot, model: str) -> bool:
    """Whether a model has failed for good, according to the snapshot; a retry resets that."""
    return any(each.name == model and each.phase is TrainingPhase.FAILED for each in snapshot.models)


def follow_run(
    run: Run,
    interval: float,
    cancelled: threading.Event,
    post: Callable[[Snapshot, tuple[dict[str, Any], ...]], Any],
) -> None:
    """Post a snapshot and the new events (without epochs) now and on every change, until cancelled.

    Continues after the end of the run, which may be resumed. Raises `RunGone` if it was deleted or moved.
    """
    rest = max(interval, PAST_THE_END_SECONDS)
    for snapshot, found in run.follow_with_messages(NEWEST_EVENTS, interval, cancelled, past_the_end=rest):
        post(snapshot, tuple(found))
