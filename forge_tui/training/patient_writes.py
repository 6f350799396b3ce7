"""Writes finished models whenever the disk takes them: hours of work may depend on it. No torch."""

from __future__ import annotations

import errno
from collections.abc import Callable

from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.job import Control

# A disk that is full, read-only or failing may recover; a deleted directory does not. After a move (ESTALE) the runner
# reports the new place.
MAY_PASS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ESTALE})
_DISK_SECONDS = 2.0


def write_patiently(
    write: Callable[[], None],
    control: Control,
    follow_move: Callable[[], bool],
    waits: Callable[[RunDirectoryError], None],
) -> bool:
    """Write finished models, again and again while the disk takes nothing; False if a stop came first.

    Hours of work may depend on it. `waits` reports that, and why. Raises `RunDirectoryError` for what cannot pass.
    """
    while True:
        try:
            write()
            return True
        except RunDirectoryError as error:
            if error.errno not in MAY_PASS:
                raise
            waits(error)
        if not control.wait(_DISK_SECONDS) and not follow_move():
            return False
