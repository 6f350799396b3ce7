"""One export at a time into an output that is no directory: by a lock in this user's state directory."""

from __future__ import annotations

import fcntl
import hashlib
import os

from forge_tui.errors import UsageError
from forge_tui.safe_io.whole_files import directory_error, make_private
from forge_tui.settings.user_file import state_directory


class Hold:
    """A lock, held until `release` or the end of this process."""

    def __init__(self, name: str, what: str) -> None:
        """`what` another export writes, if the lock of that name is held. Raises `UsageError`, `RunDirectoryError`."""
        self._descriptor = -1
        path = state_directory() / "exports" / f"{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()}.lock"
        try:
            make_private(path.parent)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise directory_error(error, "open", path) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise UsageError(f"another export is writing {what}; end it first") from None

    def release(self) -> None:
        """Let others have it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
