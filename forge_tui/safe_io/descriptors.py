"""Standard descriptors that are closed at the start (`>&-`, a daemon) are opened on the null device.

Otherwise the next file or socket takes their place, and printed text goes there.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

_STANDARD = (0, 1, 2)


def open_closed() -> None:
    """Open the null device in place of each standard descriptor that is closed, and of Python's stream for it."""
    for descriptor in _STANDARD:
        if not _is_open(descriptor):
            _open_null(descriptor)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)


@contextlib.contextmanager
def reserved() -> Iterator[None]:
    """Files opened inside do not take the place of closed standard descriptors, which are closed again afterwards.

    For a caller's process, which we must leave unchanged.
    """
    opened = [descriptor for descriptor in _STANDARD if not _is_open(descriptor)]
    for descriptor in opened:
        _open_null(descriptor)
    try:
        yield
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _open_null(descriptor: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    if null != descriptor:
        os.dup2(null, descriptor)
        os.close(null)
    os.set_inheritable(descriptor, True)
