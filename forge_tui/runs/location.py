"""Tracks a live run's directory: in place, moved, or deleted. It is identified by device and inode, not by its name.

Writing by path after a move would create the directory again at the old path, or write into another one there. So
the runner keeps the directory open, which shows its place, and workers compare before they write.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from forge_tui.errors import RunDirectoryError
from forge_tui.safe_io.printing import named

_F_GETPATH = 50  # fcntl.h of macOS
_LONGEST_PATH = 1024
# A missing name may reappear: file servers have short failures.
_PASSING_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Lost:
    """The directory has moved: why, and its new place (None: it was deleted)."""

    reason: str
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Identifies a directory independently of its name."""

    device: int
    inode: int

    @classmethod
    def of(cls, path: Path | int) -> Identity:
        """The identity of a directory, by path or descriptor. Raises `OSError`."""
        status = os.stat(path)
        return cls(status.st_dev, status.st_ino)

    def is_at(self, path: Path) -> bool:
        """Whether this directory is at `path`. If that cannot be checked it counts as true: the error may pass."""
        try:
            return Identity.of(path) == self
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True

    def require(self, path: Path, database: Path) -> None:
        """Raise `RunDirectoryError` unless this directory is at `path` and has its database (else it is being deleted).

        The error may be temporary: `errno` is ESTALE.
        """
        if not self.is_at(path) or not os.path.lexists(database):
            error = RunDirectoryError(f"{named(path)} is not the run's directory any more: it was moved or deleted")
            error.errno = errno.ESTALE
            raise error


class Location:
    """The directory of a live run, held open. Close it."""

    def __init__(self, path: Path) -> None:
        """Raises `OSError`."""
        self.path = path
        self._descriptor: int | None = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.identity = Identity.of(self._descriptor)
        self._missed_since: float | None = None

    def fileno(self) -> int:
        """The descriptor of the directory. Raises `ValueError` once closed."""
        if self._descriptor is None:
            raise ValueError(f"{named(self.path)} was closed")
        return self._descriptor

    def close(self) -> None:
        """Close the directory."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def is_here(self) -> bool:
        """Whether the directory is still at `path`."""
        return self.identity.is_at(self.path)

    def look(self) -> Lost | None:
        """None while the directory is in place; else what happened, and `path` becomes its new place."""
        if self.is_here():
            self._missed_since = None
            return None
        before = self.path
        if os.fstat(self.fileno()).st_nlink == 0:
            return Lost(f"its directory {before} was deleted while the run was live")
        now = self._found()
        if now is None:
            moment = time.monotonic()
            self._missed_since = moment if self._missed_since is None else self._missed_since
            if moment - self._missed_since < _PASSING_SECONDS:
                return None
            return Lost(f"its directory {before} was moved or deleted while the run was live")
        self.path = now
        other = "; another one is there now" if os.path.lexists(before) else ""
        return Lost(f"its directory {before} was moved to {now} while the run was live{other}", now)

    def _found(self) -> Path | None:
        """The directory's new place; None if unknown."""
        descriptor = self.fileno()
        try:
            if sys.platform == "darwin":
                import fcntl

                named = fcntl.fcntl(descriptor, _F_GETPATH, bytes(_LONGEST_PATH)).rstrip(b"\0")
                found = Path(os.fsdecode(named))
            else:
                found = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        except OSError:
            return None
        return found if found != self.path and self.identity.is_at(found) else None
