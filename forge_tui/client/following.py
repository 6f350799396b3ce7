"""Follows a run: a snapshot whenever something changes, until the run ends, is deleted or the caller cancels."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from forge_tui.errors import RunGone
from forge_tui.protocol.phases import RunState

if TYPE_CHECKING:
    from forge_tui.protocol.label import Label
    from forge_tui.protocol.run_info import RunInfo
    from forge_tui.protocol.snapshot import Snapshot

_News = TypeVar("_News", None, list[dict[str, Any]])

# The runner writes a sign of life every second: older data counts as a change.
_STALE_SECONDS = 5.0


def changes(
    look: Callable[[], tuple[Snapshot, _News]],
    nothing: _News,
    wait: Callable[[], object],
    cancelled: threading.Event,
    rest: Callable[[], object] | None = None,
) -> Iterator[tuple[Snapshot, _News]]:
    """Yield the results of `look` whenever they have changed.

    `nothing`: yielded beside the last snapshot if the directory is gone; `rest` waits after the end of the run.
    """
    last: tuple[int, RunInfo, RunState, int, Label] | None = None
    snapshot: Snapshot | None = None
    while not cancelled.is_set():
        try:
            snapshot, found = look()
        except RunGone:
            if snapshot is not None and rest is None:
                yield dataclasses.replace(snapshot, state=RunState.DIED), nothing
            raise
        live = snapshot.state.is_live
        age = int(snapshot.age / _STALE_SECONDS) if live else 0
        mark = (snapshot.revision, snapshot.run, snapshot.state, age, snapshot.label)
        if mark != last or found:
            last = mark
            yield snapshot, found
        if live:
            wait()
        elif rest is None:
            return
        else:
            rest()
