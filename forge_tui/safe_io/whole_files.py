"""Files that are whole or absent: written under a temporary name in the same directory, then renamed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from forge_tui.errors import RunDirectoryError
from forge_tui.safe_io.printing import named

LONGEST_DATABASE = 504
"""Maximum length of a database's path for SQLite (bytes): 512 less 8 for its journal's suffix."""
_ADVICE = {
    errno.ENOSPC: "free some space on that disk",
    errno.EDQUOT: "your quota on that disk is used up: free some space there",
    errno.EROFS: "it is on a read-only file system: choose another directory",
    errno.EACCES: "you may not write there: choose another directory, or change its permissions",
    errno.EPERM: "you may not write there: choose another directory, or change its permissions",
    errno.ENOTDIR: "a part of the path is a file: choose another directory",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "it is a symbolic link, which is not followed here",
}


def directory_error(error: OSError, doing: str, path: Path | str) -> RunDirectoryError:
    """`error` as a `RunDirectoryError` that says what was being done, to what, and what to do next."""
    cause = error.strerror or str(error) or type(error).__name__
    advice = _ADVICE.get(error.errno or 0)
    refused = RunDirectoryError(f"cannot {doing} {named(path)}: {cause}" + (f"; {advice}" if advice else ""))
    refused.errno = error.errno
    return refused


def make_private(path: Path) -> None:
    """Make a directory and its missing parents for this user alone (mode 0700), whatever the umask is.

    Existing directories keep their mode. Raises `OSError`.
    """
    missing = [directory for directory in (path, *path.parents) if not os.path.isdir(directory)]
    for directory in reversed(missing):
        try:
            os.mkdir(directory, 0o700)
        except FileExistsError:
            if not os.path.isdir(directory):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(directory)) from None
            continue  # another process has made it meanwhile
        if os.stat(directory).st_mode & 0o777 != 0o700:  # the umask takes from our own rights, too
            os.chmod(directory, 0o700)


def path_bytes(path: Path) -> int:
    """The length of a path with links resolved, as SQLite counts it."""
    return len(os.fsencode(os.path.realpath(path)))


def temporary_name(path: Path) -> Path:
    """A new name beside `path` that our listings do not take for a finished file."""
    return path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")


@contextmanager
def half_written(path: Path, *endings: str) -> Iterator[Path]:
    """A temporary name for what is to become `path`; what lies there is removed if that fails, and why it fails counts.

    `endings`: of files that may lie beside it. What cannot be removed is left for whoever tidies up after a kill.
    """
    temporary = temporary_name(path)
    try:
        yield temporary
    except BaseException:
        for ending in ("", *endings):
            with suppress(OSError):
                os.unlink(f"{temporary}{ending}")
        raise


def sync_directory(directory: Path) -> None:
    """Make the entries of `directory` durable. Raises `OSError`."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_descriptor(descriptor)
    finally:
        os.close(descriptor)


def sync_descriptor(directory: int) -> None:
    """As `sync_directory`, of an open one."""
    try:
        os.fsync(directory)
    except OSError as error:
        # Some network file systems cannot sync a directory; they order renames themselves.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise


def sync_file(path: Path) -> None:
    """Make the content of `path` durable. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write `path` so that a kill at any instant leaves the old content or the new, never a part.

    Raises `RunDirectoryError`; the old content is then still there, or the new one is and a power loss may undo it.
    """
    write_parts_atomically(path, (data,), mode)


def _write_and_sync(path: Path, parts: Iterable[bytes | memoryview], flag: int, mode: int) -> None:
    """Create a file with `flag` (`os.O_EXCL`, or `os.O_TRUNC` to replace it), write and sync it. Raises `OSError`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | flag, mode)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.writelines(parts)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, parts: Iterable[bytes | memoryview], mode: int = 0o600) -> None:
    """Write and sync a file under a name that nobody takes for a finished one; what was there is replaced.

    Raises `RunDirectoryError`. The name itself is durable when whoever renames the file has synced its directory.
    """
    try:
        _write_and_sync(path, parts, os.O_TRUNC, mode)
    except OSError as error:
        with suppress(OSError):  # a part of it only takes room
            os.unlink(path)
        raise directory_error(error, "write", path) from error


def write_parts_atomically(path: Path, parts: Iterable[bytes | memoryview], mode: int = 0o600) -> None:
    """As `write_atomically`, for content in several parts: nothing large is copied."""
    try:
        with half_written(path) as temporary:
            _write_and_sync(temporary, parts, os.O_EXCL, mode)
            os.replace(temporary, path)
        sync_directory(path.parent)
    except OSError as error:
        raise directory_error(error, "write", path) from error
