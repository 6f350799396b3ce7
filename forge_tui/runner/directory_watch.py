"""Checks that a live run still has its directory, its records and its lock."""

from __future__ import annotations

from forge_tui.runner.journal import Journal
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.location import Location, Lost
from forge_tui.runs.lock import RunLock


class DirectoryWatch:
    """Checks all of them, in some microseconds."""

    def __init__(self, place: Location, lock: RunLock, directory: RunDirectory, journal: Journal) -> None:
        self._place = place
        self._lock = lock
        self._directory = directory
        self._journal = journal
        self._misses_lock = False
        self._has_lock = True

    def look(self) -> Lost | None:
        """What was lost since the last check, and the directory's new place; None if nothing was."""
        without_records = self._journal.is_gone  # checked first: a move looks the same
        lost = self._place.look()
        if lost is not None:
            if lost.path is not None:
                self._directory = RunDirectory(lost.path)
            return lost
        if without_records:
            return Lost("its run.db was deleted or replaced while the run was live")
        return self._look_at_lock()

    def _look_at_lock(self) -> Lost | None:
        """Check the lock, without which another run could begin here. Reported only the second time: the whole
        directory may be about to be deleted."""
        if not self._has_lock or self._lock.is_at(self._directory.lock):
            self._misses_lock = False
            return None
        if not self._misses_lock:
            self._misses_lock = True
            return None
        self._has_lock = False
        return Lost("its lock was deleted or replaced while the run was live", self._directory.path)
