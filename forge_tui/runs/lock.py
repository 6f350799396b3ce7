"""The lock of a run directory: an flock that the runner holds and every worker inherits.

A free lock means that nobody trains there: the kernel releases it when the last process that has it ends, however it
ends.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from forge_tui.errors import RunDirectoryError
from forge_tui.safe_io.printing import named
from forge_tui.safe_io.whole_files import directory_error, temporary_name

MARK = b"held while forge-tui trains in this directory\n"
"""The content of a lock file, which distinguishes it from other files of that name. Locks of 0.1.0 are empty."""
_RETRY_SECONDS = 0.01
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_TAKEN = (errno.EAGAIN, errno.EACCES)
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class RunLock:
    """The lock, held from `acquire` until this process and all children that inherited it have closed it."""

    def __init__(self, path: Path, descriptor: int, *, is_new: bool = False) -> None:
        """Use `acquire`. `is_new`: the file did not exist."""
        self.path = path
        self.is_new = is_new
        self._descriptor: int | None = descriptor

    @classmethod
    def acquire(cls, path: Path, timeout: float = 1.0) -> RunLock:
        """Take the lock at `path`, creating it if missing. The descriptor is inheritable.

        `timeout` (seconds) outlasts viewers, which take the lock for an instant to see whether it is free.
        Raises `RunDirectoryError` if a run is being trained, or if the file system has no locks.
        """
        deadline = time.monotonic() + timeout
        is_new = False
        while True:
            descriptor, was_made = cls._open(path)
            is_new |= was_made
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _same_file(descriptor, path):
                    os.set_inheritable(descriptor, True)
                    return cls(path, descriptor, is_new=is_new)
            except OSError as error:
                if error.errno not in _TAKEN:
                    os.close(descriptor)
                    raise directory_error(error, "lock", path) from error
                if time.monotonic() >= deadline:
                    os.close(descriptor)
                    raise RunDirectoryError(
                        f"{named(path.parent)} is in use: a run is being trained there; watch it with "
                        f"`forge-tui attach {named(path.parent)}`, end it with `forge-tui stop {named(path.parent)}`, "
                        "or choose another directory with --output"
                    ) from None
            os.close(descriptor)
            time.sleep(_RETRY_SECONDS)

    @staticmethod
    def _open(path: Path) -> tuple[int, bool]:
        """The open file, created if missing, and whether it was."""
        while True:
            try:
                is_new = _make(path)
                return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), is_new
            except OSError as error:
                if isinstance(error, FileNotFoundError) and path.parent.is_dir():
                    continue  # its maker has just removed it
                raise directory_error(error, "open the lock", path) from error

    @staticmethod
    def is_own(path: Path) -> bool:
        """Whether the file at `path` is a lock of a run, by its content. Raises `RunDirectoryError`."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO):
                return False
            raise directory_error(error, "look at the lock", path) from error
        try:
            return stat.S_ISREG(os.fstat(descriptor).st_mode) and os.read(descriptor, len(MARK) + 1) == MARK
        finally:
            os.close(descriptor)

    def fileno(self) -> int:
        """The descriptor for children. Raises `ValueError` once released."""
        if self._descriptor is None:
            raise ValueError(f"the lock {named(self.path)} was released")
        return self._descriptor

    def remove(self) -> None:
        """Remove the file, while the lock is held. Raises `RunDirectoryError`."""
        try:
            if _same_file(self.fileno(), self.path):
                os.unlink(self.path)
        except OSError as error:
            raise directory_error(error, "remove the lock", self.path) from error

    def is_at(self, path: Path) -> bool:
        """Whether the file at `path` is this lock, so that others see that it is held."""
        return _same_file(self.fileno(), path)

    def release(self) -> None:
        """Close our descriptor. Children that inherited the lock still hold it, as intended."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> RunLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _make(path: Path) -> bool:
    """Make a lock at `path` unless something is there; it appears with its content. Raises `OSError`."""
    if os.path.lexists(path):
        return False
    temporary = temporary_name(path)
    try:
        _write_mark(temporary)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return _make_in_place(path)
        return True
    finally:
        with suppress(OSError):  # the next start here removes a leftover
            temporary.unlink(missing_ok=True)


def _write_mark(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, MARK)
    finally:
        os.close(descriptor)


def _make_in_place(path: Path) -> bool:
    """As `_make`, without hard links."""
    try:
        _write_mark(path)
    except FileExistsError:
        return False
    return True


def _same_file(descriptor: int, path: Path) -> bool:
    """Whether `path` still names the open file: the directory may have been replaced meanwhile."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def is_locked(path: Path) -> bool:
    """Whether a run is being trained in the directory of this lock. Writes nothing; works on read-only media.

    On file systems without locks the answer is False: there the heartbeat in run.db decides.
    Raises `RunDirectoryError` if the lock may not be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise directory_error(error, "look at the lock", path) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return True
        if error.errno in _NO_LOCKS:
            return False
        raise directory_error(error, "look at the lock", path) from error
    finally:
        os.close(descriptor)
    return False
