"""Puts a copy of a database in its place, for one who must write it while somebody holds on to it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from forge_tui.safe_io.whole_files import directory_error, half_written, sync_directory, sync_file


def replace_by_copy(connection: sqlite3.Connection, path: Path) -> None:
    """Replace the database at `path`, which `connection` has open, by a copy; who reads the old file keeps that.

    Only who holds the run's lock may do this: nobody else writes the database then. Raises `RunDirectoryError`, and
    `sqlite3.Error` where it cannot be read.
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
