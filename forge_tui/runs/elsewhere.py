"""Detects a runner on another host that trains in a directory whose lock is free here."""

from __future__ import annotations

import contextlib
import socket

from forge_tui.errors import RunDirectoryError
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.liveness import Sign, wait_until_sure
from forge_tui.runs.reader import RunReader
from forge_tui.safe_io.printing import named


def refuse_if_trained_elsewhere(directory: RunDirectory) -> None:
    """Raise `RunDirectoryError` if the run is live on another host. Call it with the lock held.

    Locks of network file systems may be local to a host; the heartbeat is not. This takes up to five seconds, and only
    if the run was started on another host and no end is recorded.
    """
    here = socket.gethostname()
    try:
        reader = RunReader(directory.database)
    except RunDirectoryError:
        return  # no run, or none that could still be written
    with contextlib.closing(reader):
        info = reader.info()
        if not info.state.is_live or info.host in ("", here):
            return

        def read() -> Sign:
            beat = reader.heartbeat()
            return Sign(locked=False, host=info.host, here=here, heartbeat=beat.count, written=beat.written)

        if wait_until_sure(read):
            raise RunDirectoryError(
                f"{named(directory.path)} is in use: the run is being trained on {named(info.host)} (its heartbeat "
                "continues, although its lock cannot be seen from here); stop it there"
            )
