"""The lock of a run directory: an flock that the runner holds and every worker inherits.

Free means that nobody trains there: the kernel lets go of it when the last process that has it ends, however it ends.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path
from types import TracebackType

from forge_tui.errors import RunDirectoryError
from forge_tui.runs.files import in_words

_RETRY_SECONDS = 0.01
_TAKEN = (errno.EAGAIN, errno.EACCES)
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class RunLock:
    """The lock, held from `acquire` until this process and all that inherited it have closed it."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor

    @classmethod
    def acquire(cls, path: Path, timeout: float = 1.0) -> RunLock:
        """Take the lock at `path`, made if need be. The descriptor is inheritable.

        `timeout` (seconds) outlasts viewers, which take it for an instant to see whether it is free.
        Raises `RunDirectoryError` where somebody trains, or where the file system has no locks.
        """
        deadline = time.monotonic() + timeout
        while True:
            descriptor = cls._open(path)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _same_file(descriptor, path):
                    os.set_inheritable(descriptor, True)
                    return cls(path, descriptor)
            except OSError as error:
                if error.errno not in _TAKEN:
                    os.close(descriptor)
                    raise in_words(error, "lock", path) from error
                if time.monotonic() >= deadline:
                    os.close(descriptor)
                    raise RunDirectoryError(
                        f"{path.parent} is in use: a run is being trained there; watch it with "
                        f"`forge-tui attach {path.parent}`, end it with `forge-tui stop {path.parent}`, "
                        "or choose another directory with --output"
                    ) from None
            os.close(descriptor)
            time.sleep(_RETRY_SECONDS)

    @staticmethod
    def _open(path: Path) -> int:
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise in_words(error, "open the lock", path) from error

    def fileno(self) -> int:
        """The descriptor to hand to children. Raises `ValueError` once released."""
        if self._descriptor is None:
            raise ValueError(f"the lock {self.path} was released")
        return self._descriptor

    def is_at(self, path: Path) -> bool:
        """Whether the lock is the file at `path`, so that who looks there sees that it is held."""
        return _same_file(self.fileno(), path)

    def release(self) -> None:
        """Close our end. Children that inherited the lock go on holding it: that is what it is for."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> RunLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _same_file(descriptor: int, path: Path) -> bool:
    """Whether `path` still names the open file: the directory may have been deleted and made anew meanwhile."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def is_locked(path: Path) -> bool:
    """Whether anybody trains in the directory of this lock. Writes nothing; works on read-only media.

    On file systems without locks the answer is False: there the heartbeat in run.db tells.
    Raises `RunDirectoryError` if the lock may not be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise in_words(error, "look at the lock", path) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return True
        if error.errno in _NO_LOCKS:
            return False
        raise in_words(error, "look at the lock", path) from error
    finally:
        os.close(descriptor)
    return False
