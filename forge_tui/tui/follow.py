"""Follows a run in a thread and posts what changed. Throttled at the source; touches no widget."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from forge_tui.protocol.phases import RunState, TrainingPhase

if TYPE_CHECKING:
    from forge_tui.client.run import Run
    from forge_tui.protocol.snapshot import Snapshot

# A run with a long past is not read from its beginning: the log shows the newest.
NEWEST_EVENTS = 500
# A run that is no longer live may be resumed from another terminal, or deleted: a look at it takes about 1 ms.
PAST_THE_END_SECONDS = 1.0


class Turn(Enum):
    """What a new snapshot means beside the one before."""

    NONE = auto()
    ENDED = auto()
    UNFINISHED = auto()
    """It is looked at for the first time, and has ended without being completed."""
    RESUMED = auto()
    """It had ended, and is trained again."""


def turn(before: Snapshot | None, now: Snapshot) -> Turn:
    """What has become of a run since the last snapshot, None for the first look at it."""
    live = now.state.is_live
    if before is None:
        return Turn.NONE if live or now.state is RunState.COMPLETED else Turn.UNFINISHED
    if before.state.is_live is live:
        return Turn.NONE
    return Turn.RESUMED if live else Turn.ENDED


def has_failed(snapshot: Snapshot, model: str) -> bool:
    """Whether a model has failed for good, as far as the snapshot tells: a retry takes that back."""
    return any(each.name == model and each.phase is TrainingPhase.FAILED for each in snapshot.models)


def follow_run(
    run: Run,
    interval: float,
    cancelled: threading.Event,
    post: Callable[[Snapshot, tuple[dict[str, Any], ...]], Any],
) -> None:
    """Post a snapshot and the new events (without epochs) now and on every change, until cancelled.

    The end of the run ends nothing: it may be resumed. Raises `RunGone` where it was deleted or moved.
    """
    rest = max(interval, PAST_THE_END_SECONDS)
    for snapshot, found in run.follow_with_messages(NEWEST_EVENTS, interval, cancelled, past_the_end=rest):
        post(snapshot, tuple(found))
