"""Removes a run: exactly what its database records.

The database is renamed first, so that the remains do not look like a run, and deleted last: until then it records
what an interrupted removal still has to do.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from forge_tui.errors import RunDirectoryError
from forge_tui.runs import starting
from forge_tui.runs.belongings import belonging_of, database_names, is_database
from forge_tui.runs.elsewhere import refuse_if_trained_elsewhere
from forge_tui.runs.inside import is_file
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.lock import RunLock
from forge_tui.runs.names import DATABASE, LOCK, REMOVED, ROOT
from forge_tui.runs.own_paths import Record
from forge_tui.runs.reader import RunReader
from forge_tui.runs.record import read_record
from forge_tui.runs.survey import Folder, survey
from forge_tui.runs.survey import delete_own as delete_found
from forge_tui.safe_io.printing import named
from forge_tui.safe_io.whole_files import directory_error, sync_directory

_STAYS = (errno.ENOTEMPTY, errno.EEXIST, errno.EACCES, errno.EPERM, errno.EBUSY, errno.EROFS, errno.ENOENT)


def remove_run(directory: RunDirectory) -> tuple[Path, ...]:
    """Delete the run in `directory`, and the directory itself if it was made for the run; returns what stays.

    Files and directories that no run has made stay. An interrupted removal is finished by the next one, and an
    interrupted start is undone. Raises `RunDirectoryError` if the run is live, if there is none, if its record cannot
    be read, or if something cannot be deleted.
    """
    directory.check_owner()
    database = directory.path / DATABASE
    if os.path.lexists(database):
        _check_is_ours(database)
    elif not directory.may_hold_run():
        raise RunDirectoryError(f"there is no run in {named(directory.path)}; `forge-tui runs` lists the known ones")
    with RunLock.acquire(directory.lock, timeout=0.0) as lock:
        try:
            undone = starting.recover(directory)
            refuse_if_trained_elsewhere(directory)
            if undone is not None and not os.path.lexists(database):
                _remove_root(lock, is_own=ROOT in undone.directories)
                return ()
            return _remove(directory, lock)
        except BaseException:
            if lock.is_new:
                lock.remove()
            raise


def _check_is_ours(database: Path) -> None:
    """Before anything is made in the directory, even a lock."""
    try:
        RunReader(database).close()
    except RunDirectoryError as error:
        raise RunDirectoryError(
            f"{named(database.parent)} is not deleted: the list of the run's files is unknown ({error}); delete what "
            "you do not need yourself"
        ) from None


def _remove(directory: RunDirectory, lock: RunLock) -> tuple[Path, ...]:
    path = directory.path
    is_begun = not os.path.lexists(path / DATABASE) and os.path.lexists(path / REMOVED)
    record = read_record(path / (REMOVED if is_begun else DATABASE))
    is_own_lock = lock.is_new or LOCK in record.files or RunLock.is_own(lock.path)
    try:
        if not is_begun:
            _rename(path)
        found = _delete_recorded(path, record)
        if is_own_lock:
            lock.remove()
        _delete_databases(path)
        if ROOT in record.directories:
            _remove_if_empty(path)
    except RunDirectoryError:
        raise
    except OSError as error:
        raise directory_error(error, "delete the run in", path) from error
    return tuple(path / name for name in found.others())


def _remove_root(lock: RunLock, *, is_own: bool) -> None:
    """Remove the lock, the last file after an undone start that never had a database, and maybe the directory."""
    path = lock.path.parent
    if lock.is_new or RunLock.is_own(lock.path):
        lock.remove()
    if is_own:
        _remove_if_empty(path)


def finish(directory: RunDirectory) -> bool:
    """Finish an interrupted removal before another run begins: the directory and its lock stay.

    Returns whether the removed run had made the directory. Raises as `remove_run`.
    """
    path = directory.path
    if os.path.lexists(path / DATABASE) or not is_file(path / REMOVED):
        return False
    record = read_record(path / REMOVED)
    try:
        _delete_recorded(path, record)
        _delete_databases(path)
    except OSError as error:
        raise directory_error(error, "finish deleting the run in", path) from error
    return ROOT in record.directories


def _delete_recorded(path: Path, record: Record) -> Folder:
    """Delete everything of the run except the database and the lock; returns what was found."""
    found = survey(path, belonging_of(path, record))
    delete_found(found, path, lambda name: name == LOCK or is_database(name))
    return found


def _delete_databases(path: Path) -> None:
    for name in (*reversed(database_names()), *reversed(database_names(REMOVED))):
        (path / name).unlink(missing_ok=True)


def _rename(path: Path) -> None:
    """Rename the database, then SQLite's files beside it: the database is complete without them."""
    for name, renamed in zip(database_names(), database_names(REMOVED), strict=True):
        with contextlib.suppress(FileNotFoundError):
            os.rename(path / name, path / renamed)
    sync_directory(path)


def _remove_if_empty(path: Path) -> None:
    """Remove the directory if it is empty and may be removed.

    Raises `RunDirectoryError` if the disk fails.
    """
    try:
        path.rmdir()
    except OSError as error:
        if error.errno not in _STAYS:
            raise RunDirectoryError(
                f"the run in {named(path)} is deleted, and its empty directory cannot be: {error.strerror}; "
                "delete it yourself"
            ) from error
