"""A file in the run directory by which a node shows that it sees that directory, and not another one with its path."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from forge_tui.safe_io.whole_files import directory_error, temporary_name


class Marker:
    """Written when the engine starts, removed at its end; a leftover of a kill has a temporary name of ours."""

    def __init__(self, directory: Path) -> None:
        """Raises `RunDirectoryError`."""
        self._path = temporary_name(directory / "nodes")
        self.name, self.text = self._path.name, secrets.token_hex(16)
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, self.text.encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise directory_error(error, "write in", directory) from error

    def remove(self) -> None:
        """Remove the file."""
        with contextlib.suppress(OSError):  # moved or deleted with the directory
            self._path.unlink()
