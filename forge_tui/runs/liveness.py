"""Whether a run is alive: by its lock, and for a runner on another host by its heartbeat.

A held lock means alive everywhere. A free lock means something only on the runner's own host: many network file
systems keep locks local. From other hosts the heartbeat counter in `run.db` decides (the runner raises it at least
once per second), by this host's monotonic clock: the hosts' wall clocks may differ.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

WATCH_SECONDS = 5.0
"""A heartbeat that does not change for this long has stopped."""
STALE_SECONDS = 60.0
"""At the first look, an older heartbeat counts as stopped: hosts' clocks usually differ by less."""
_LOOK_SECONDS = 0.25


class Sign(NamedTuple):
    """Signs of life of a run at one moment: its lock, the host it was started on (may be empty), and its heartbeat.

    `here` is this host's name, `heartbeat` the counter, `written` when it was last raised (UNIX seconds, that host's).
    """

    locked: bool
    host: str
    here: str
    heartbeat: int
    written: float


class Pulse:
    """The age of a runner's last sign of life for one viewer, by the viewer's own monotonic clock.

    Only the first look has to rely on the two sides' wall clocks, which may have been reset.
    """

    def __init__(self) -> None:
        self._counter: int | None = None
        self._base = self._since = self._looked = 0.0

    def look(self, heartbeat: int, written: float, now: float, monotonic: float) -> None:
        """Record a look at the run; the arguments are those of `Liveness.is_live`."""
        if heartbeat != self._counter:
            first = self._counter is None
            by_the_wall = max(0.0, now - written)
            self._base = by_the_wall if first else min(by_the_wall, monotonic - self._looked)
            self._counter, self._since = heartbeat, monotonic
        self._looked = monotonic

    @property
    def age(self) -> float:
        """Seconds since the last sign of life, as of the last look."""
        return self._base + self.watched

    @property
    def watched(self) -> float:
        """Seconds since this viewer first saw that sign of life, as of the last look."""
        return self._looked - self._since


class Liveness:
    """Watches one run for one viewer, with memory of earlier looks."""

    def __init__(self) -> None:
        self._counter: int | None = None
        self._since = 0.0
        self._moved = False
        self._live = True
        self._sure = False

    @property
    def is_sure(self) -> bool:
        """Whether the last answer is based on the lock or on watching, not on two hosts' clocks."""
        return self._sure

    def is_live(
        self, *, locked: bool, host: str, here: str, heartbeat: int, written: float, now: float, monotonic: float
    ) -> bool:
        """Whether the run is alive, from this look and the earlier ones. The arguments are those of `Sign`.

        `now` (UNIX seconds) and `monotonic` (seconds) are this host's clocks.
        """
        first = self._counter is None
        if heartbeat != self._counter:
            self._counter, self._since, self._moved = heartbeat, monotonic, not first
        if locked or (host and host == here):
            self._live, self._sure = locked, True
        elif monotonic - self._since >= WATCH_SECONDS:
            self._live, self._sure = False, True
        elif self._moved:
            self._live, self._sure = True, True
        else:
            if first:
                self._live = not now - written > STALE_SECONDS
            self._sure = False
        return self._live


def wait_until_sure(
    read: Callable[[], Sign],
    *,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Whether a run is alive, for certain: before training in its directory, or deleting it.

    Returns at once if the lock is held or the host is this one; otherwise watches until the heartbeat changes (about
    a second for a live run) or has not changed for `WATCH_SECONDS`. Exceptions of `read` are passed on.
    """
    watch = Liveness()
    while True:
        sign = read()
        live = watch.is_live(
            locked=sign.locked,
            host=sign.host,
            here=sign.here,
            heartbeat=sign.heartbeat,
            written=sign.written,
            now=clock(),
            monotonic=monotonic(),
        )
        if watch.is_sure:
            return live
        sleep(_LOOK_SECONDS)
