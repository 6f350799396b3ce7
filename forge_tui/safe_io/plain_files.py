"""Small untrusted files: read only if they are regular files, and only up to a limit."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def open_file(path: Path | str, *, follow: bool = True) -> int:
    """A descriptor for reading a regular file, closed in children. Raises `OSError`, also for anything else.

    Opening a pipe could block for ever, so it is opened non-blocking and checked. `follow`: follow symbolic links.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except ValueError as error:  # a zero byte in the name
        raise OSError(errno.EINVAL, str(error)) from None
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is a pipe, a socket or a device, not a file")
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read_file(path: Path | str, most: int, *, follow: bool = True) -> bytes:
    """The content of a regular file of at most `most` bytes. Raises `OSError`, also for a larger one."""
    with os.fdopen(open_file(path, follow=follow), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(most + 1) if size <= most else b""
    if size > most or len(content) > most:
        raise OSError(errno.EFBIG, f"it has {max(size, len(content)):,} bytes, and at most {most:,} are read")
    return content
