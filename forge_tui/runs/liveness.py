"""Whether a run is alive, where its lock cannot be asked: a runner on another host beats, and that is watched.

A lock that is held says so everywhere. A free lock says something on the runner's own host only: many network file
systems keep locks to the host that took them. From elsewhere the heartbeat counter in `run.db` decides (the runner
raises it at least once a second), by this host's monotonic clock: the hosts' own clocks may differ.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

WATCH_SECONDS = 5.0
"""A heartbeat that was watched this long without moving has stopped."""
STALE_SECONDS = 60.0
"""Before it was watched, a heartbeat older than this counts as stopped: more than hosts' clocks usually differ."""
_LOOK_SECONDS = 0.25


class Sign(NamedTuple):
    """What one look at a run shows: its lock, the host it was started on (may be empty), and its heartbeat.

    `here` is this host's name, `heartbeat` the counter, `written` when it was last raised (UNIX seconds, that host's).
    """

    locked: bool
    host: str
    here: str
    heartbeat: int
    written: float


class Pulse:
    """How old a runner's last sign of life is, for one viewer: by the viewer's own monotonic clock.

    Only at the first look the two sides' wall clocks have to tell, which may have been set meanwhile.
    """

    def __init__(self) -> None:
        self._counter: int | None = None
        self._base = self._since = self._looked = 0.0

    def look(self, heartbeat: int, written: float, now: float, monotonic: float) -> None:
        """A look at the run; the arguments are those of `Liveness.is_live`."""
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
    """Watches one run for one viewer: what it saw before decides what it says now."""

    def __init__(self) -> None:
        self._counter: int | None = None
        self._since = 0.0
        self._moved = False
        self._live = True
        self._sure = False

    @property
    def is_sure(self) -> bool:
        """Whether the last answer rests on the lock or on watching, and not on two hosts' clocks."""
        return self._sure

    def is_live(
        self, *, locked: bool, host: str, here: str, heartbeat: int, written: float, now: float, monotonic: float
    ) -> bool:
        """Whether the run is alive, as this look and the earlier ones tell. The arguments are those of `Sign`.

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
    """Whether a run is alive, for one who must be right at once: before training where it trains, or deleting it.

    Answers at the first look if the lock is held or the host is this one; otherwise looks again until the heartbeat has
    moved (about a second for a live run) or has stood still for `WATCH_SECONDS`. What `read` raises is passed on.
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
