"""Follows a run in a thread and posts what changed. Throttled at the source; touches no widget."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forge_tui.progress.snapshot import Snapshot
    from forge_tui.session import Run

# A run with a long past is not read from its beginning: the log shows the newest.
NEWEST_EVENTS = 500


def follow_run(
    run: Run,
    interval: float,
    cancelled: threading.Event,
    post: Callable[[Snapshot, tuple[dict[str, Any], ...]], Any],
) -> None:
    """Post a snapshot and the new events (without epochs) now and on every change, until the run ends."""
    for snapshot, found in run.follow_with_messages(NEWEST_EVENTS, interval, cancelled):
        post(snapshot, tuple(found))
