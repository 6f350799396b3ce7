"""Whether a live run still has its directory, its records and its lock."""

from __future__ import annotations

from forge_tui.runner.journal import Journal
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.location import Location, Lost
from forge_tui.runs.lock import RunLock


class DirectoryWatch:
    """Looks at all of them, which takes some microseconds."""

    def __init__(self, place: Location, lock: RunLock, directory: RunDirectory, journal: Journal) -> None:
        self._place = place
        self._lock = lock
        self._directory = directory
        self._journal = journal
        self._misses_lock = False
        self._has_lock = True

    def look(self) -> Lost | None:
        """What was lost since the last look, and where the directory is now; None for nothing."""
        without_records = self._journal.is_gone  # asked first: a move looks so, too
        lost = self._place.look()
        if lost is not None:
            if lost.path is not None:
                self._directory = RunDirectory(lost.path)
            return lost
        if without_records:
            return Lost("its run.db was deleted or replaced while the run was live")
        return self._look_at_lock()

    def _look_at_lock(self) -> Lost | None:
        """Without it another run could begin here. Told at the second look: the whole directory may be about to go."""
        if not self._has_lock or self._lock.is_at(self._directory.lock):
            self._misses_lock = False
            return None
        if not self._misses_lock:
            self._misses_lock = True
            return None
        self._has_lock = False
        return Lost("its lock was deleted or replaced while the run was live", self._directory.path)
