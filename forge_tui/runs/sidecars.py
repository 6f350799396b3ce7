"""Checks SQLite's files beside run.db before SQLite opens them, because it follows their instructions.

It follows links, and a rollback journal may name a file (for transactions over several databases, which runs never
use) that SQLite deletes after recovery: any file of the user
(https://www.sqlite.org/atomiccommit.html, section 5).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from forge_tui.errors import RunDirectoryError
from forge_tui.runs.inside import refuse_links
from forge_tui.safe_io.plain_files import open_file
from forge_tui.safe_io.printing import named
from forge_tui.safe_io.whole_files import directory_error

_ENDINGS = ("-journal", "-wal", "-shm")
# A journal begins with this, and ends with it if it names another file (https://www.sqlite.org/fileformat.html, 3.1).
_MARK = bytes.fromhex("d9d505f920a163d7")


def check_sidecars(database: Path) -> None:
    """Raise `RunDirectoryError` if a file beside the database is not a regular file, or names another file."""
    for ending in _ENDINGS:
        path = database.with_name(database.name + ending)
        try:
            mode = path.lstat().st_mode
        except OSError:  # mostly missing; opening the database reports other errors
            continue
        refuse_links(path, path.parent)
        if not stat.S_ISREG(mode):
            raise RunDirectoryError(f"{named(path)} is not a file, and not made by forge-tui; remove it")
        if ending == "-journal" and _names_another(path):
            raise RunDirectoryError(
                f"{named(path)} names another file, which would be deleted: no run writes such a journal; remove it, "
                "and check what else was changed here"
            )


def _names_another(path: Path) -> bool:
    try:
        with os.fdopen(open_file(path, follow=False), "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - len(_MARK)))
            return size > len(_MARK) and file.read() == _MARK
    except OSError as error:
        raise directory_error(error, "look at", path) from error
