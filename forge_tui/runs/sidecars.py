"""The files that SQLite keeps beside run.db: looked at before it opens them, because it does what they say.

It follows links, and a rollback journal may name a file (of a transaction over several databases, which no run makes)
that SQLite deletes once it has finished what a crash has left: any file of the user's
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
# What a journal begins with, and ends with if it names another file (https://www.sqlite.org/fileformat.html, 3.1).
_MARK = bytes.fromhex("d9d505f920a163d7")


def check_sidecars(database: Path) -> None:
    """Raise `RunDirectoryError` where a file beside the database is a link or no file, or names another file."""
    for ending in _ENDINGS:
        path = database.with_name(database.name + ending)
        try:
            mode = path.lstat().st_mode
        except OSError:  # not there, mostly; who opens the database reports other faults of the directory
            continue
        refuse_links(path, path.parent)
        if not stat.S_ISREG(mode):
            raise RunDirectoryError(f"{named(path)} is no file: somebody else has put it there; remove it")
        if ending == "-journal" and _names_another(path):
            raise RunDirectoryError(
                f"{named(path)} names another file, which would be deleted: no run writes such a journal; remove it, "
                "and see what else somebody else has changed here"
            )


def _names_another(path: Path) -> bool:
    try:
        with os.fdopen(open_file(path, follow=False), "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - len(_MARK)))
            return size > len(_MARK) and file.read() == _MARK
    except OSError as error:
        raise directory_error(error, "look at", path) from error
