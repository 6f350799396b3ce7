"""Replaces a database file by a copy, so that a stuck reader cannot block the writer."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from forge_tui.safe_io.whole_files import directory_error, half_written, sync_directory, sync_file


def replace_by_copy(connection: sqlite3.Connection, path: Path) -> None:
    """Replace the database at `path`, which `connection` has open, by a copy; readers keep the old file.

    Needs the run's lock: nobody else may write the database. Raises `RunDirectoryError`, and `sqlite3.Error` if it
    cannot be read.
    """
    try:
        with half_written(path) as temporary:
            os.close(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            with contextlib.closing(sqlite3.connect(temporary)) as copy:
                connection.backup(copy)
            sync_file(temporary)
            os.replace(temporary, path)
        sync_directory(path.parent)
    except OSError as error:
        raise directory_error(error, "copy the database to", path) from error
