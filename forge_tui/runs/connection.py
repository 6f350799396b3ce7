"""Opens run.db for reading: beside a writer, after a crash, on read-only media."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from forge_tui.errors import RunDirectoryError
from forge_tui.runs import shape, tables
from forge_tui.runs.inside import refuse_links
from forge_tui.runs.names import DATABASE, REMOVED
from forge_tui.runs.sidecars import check_sidecars
from forge_tui.runs.unfinished_start import start_in_words
from forge_tui.safe_io.printing import named
from forge_tui.safe_io.whole_files import LONGEST_DATABASE, directory_error, path_bytes

# Short: a viewer that finds the database busy shows its last snapshot, and reads again at its next refresh.
BUSY_SECONDS = 0.2
RESTORE_ADVICE = "restore a copy, or start the run anew in another directory"
"""What to do about a database that cannot be read; a part of a sentence."""
DISK_ADVICE = "see that its disk has space and works"
"""What to do if the disk, not the database, is at fault; a part of a sentence."""
_COPIES = 3
# If a run can only be followed through copies of its database, copying takes at most a twentieth of the time; one copy
# delayed by the disk does not make a viewer show the same moment for minutes.
REST_AFTER_COPY = 20.0
_LONGEST_REST = 30.0
_NOT_OPENED = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY)
_INDEX_ERRORS = (
    sqlite3.SQLITE_IOERR_SHMOPEN,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_SHMMAP,
    sqlite3.SQLITE_IOERR_SHMLOCK,
)


def _no_run(database: Path) -> RunDirectoryError:
    """The error if there is no database."""
    directory = database.parent
    if database.name == DATABASE and os.path.lexists(directory / REMOVED):
        return RunDirectoryError(
            f"the run in {named(directory)} is being deleted; if that was interrupted, `forge-tui rm "
            f"{named(directory)}` finishes it"
        )
    if database.name == DATABASE and (start := start_in_words(directory)) is not None:
        return RunDirectoryError(start)
    return RunDirectoryError(
        f"there is no run in {named(directory)} (no {named(database.name)}); `forge-tui runs` lists the known ones"
    )


def database_is_busy(error: sqlite3.Error) -> bool:
    """Whether the database was only in use."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)


def is_of_disk(error: sqlite3.Error) -> bool:
    """Whether the disk is full or fails; a file that ends too early is damaged instead."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL) and code != sqlite3.SQLITE_IOERR_SHORT_READ


def writing_advice(error: Exception) -> str:
    """What to do about a database that cannot be opened for writing; a part of a sentence."""
    if isinstance(error, sqlite3.Error) and is_of_disk(error):
        return DISK_ADVICE
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NOT_OPENED:
        return f"see that you may write in its directory, and {DISK_ADVICE.removeprefix('see ')}"
    return f"if it is damaged, {RESTORE_ADVICE}"


def _needs_no_writing(error: sqlite3.OperationalError) -> bool:
    """Whether SQLite only failed to make its files beside a database in WAL mode, which it needs even to read."""
    code = error.sqlite_errorcode
    return code & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY) or code in _INDEX_ERRORS


class RunDatabase:
    """A run's database file and how to open it, if need be through a copy until the database changes."""

    def __init__(self, path: Path) -> None:
        """Raises `RunDirectoryError` if there is no file, or if it is not a run's."""
        self.path = path.absolute()
        self.problems: list[str] = []
        self._file = self.path
        self._immutable = False
        self._checked = False
        self.version = tables.VERSION
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._state: tuple[object, ...] = ()
        """State of the database and its log when it was last read without writing."""
        self._rests_until = 0.0
        self._check_file()

    def _check_file(self) -> None:
        try:
            status = self.path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            raise _no_run(self.path) from None
        except OSError as error:
            raise directory_error(error, "read", self.path) from error
        refuse_links(self.path, self.path.parent)
        if (length := path_bytes(self.path)) > LONGEST_DATABASE:
            raise RunDirectoryError(
                f"{named(self.path)} has {length} bytes, and SQLite opens no path of more than {LONGEST_DATABASE}; "
                "move the run to a shorter one"
            )
        if not stat.S_ISREG(status.st_mode):
            raise RunDirectoryError(f"{named(self.path)} is not a file; name the directory of a run")
        if status.st_size == 0:
            raise RunDirectoryError(f"{named(self.path)} is empty: it was cut off; {RESTORE_ADVICE}")
        check_sidecars(self.path)

    def close(self) -> None:
        """Remove the copy, if there is one."""
        if self._copy is not None:
            self._copy.cleanup()
            self._copy = None
        self._file, self._immutable = self.path, False

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A read-only connection for a short time. Raises `RunDirectoryError` and `sqlite3.Error`."""
        connection = self._connect()
        try:
            yield connection
        finally:
            connection.close()

    @property
    def _log(self) -> Path:
        return self.path.with_name(self.path.name + "-wal")

    def _connect(self) -> sqlite3.Connection:
        if self._is_behind():
            self.close()  # the database has changed: reading it may work now, otherwise a new copy is needed
            self.problems.clear()
        try:
            return self._try()
        except sqlite3.OperationalError as error:
            if self._immutable or not _needs_no_writing(error):
                raise
            self._check_file()
            self._read_without_writing()
        return self._try()

    def _is_behind(self) -> bool:
        """Whether it was last read without writing and has changed since."""
        if not self._immutable and self._copy is None:
            return False
        return time.monotonic() >= self._rests_until and self._state_now() != self._state

    def _state_now(self) -> tuple[object, ...]:
        found: list[object] = []
        for path in (self.path, self._log):
            with suppress(OSError):
                status = path.stat()
                found += [path, status.st_ino, status.st_size, status.st_mtime_ns]
        return tuple(found)

    def _read_without_writing(self) -> None:
        """Until the database changes, read it without the files that SQLite makes beside one in WAL mode."""
        log = self._log
        refuse_links(log, log.parent)
        self.close()
        begun = time.monotonic()
        try:
            for _ in range(_COPIES):
                self._state = self._state_now()
                if not (log.exists() and log.stat().st_size > 0):
                    break
                # The runner's last writes are only in the log. Both are read from a copy.
                self._copy = self._copy or tempfile.TemporaryDirectory(prefix="forge-tui-", ignore_cleanup_errors=True)
                self._file = Path(shutil.copy(self.path, self._copy.name))
                shutil.copy(log, self._copy.name)
                if self._state_now() == self._state:  # otherwise something was written in between
                    return
            else:
                return
        except OSError as error:
            self.problems = [f"{log}: {error.strerror}; the run's last data may be missing"]
            self._file = self.path
        finally:
            now = time.monotonic()
            self._rests_until = now + min(_LONGEST_REST, REST_AFTER_COPY * (now - begun))
        self._immutable = True

    def _try(self) -> sqlite3.Connection:
        mode = "mode=ro&immutable=1" if self._immutable else "mode=ro"
        connection = sqlite3.connect(
            f"{self._file.as_uri()}?{mode}", uri=True, timeout=BUSY_SECONDS, isolation_level=None
        )
        try:
            connection.text_factory = bytes
            shape.harden(connection)
            if not self._checked or self.version != tables.VERSION:  # then it may have been migrated
                self._check_kind(connection)
            # The first read of the file shows whether it can be read this way.
            connection.execute("SELECT 1 FROM run").fetchone()
            return connection
        except UnicodeDecodeError as error:
            # SQLite's message quotes the damaged schema, which may not be UTF-8.
            connection.close()
            raise sqlite3.DatabaseError("malformed database schema") from error
        except BaseException:
            connection.close()
            raise

    def _check_kind(self, connection: sqlite3.Connection) -> None:
        (identity,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if identity != tables.APPLICATION_ID:
            raise RunDirectoryError(f"{named(self.path)} is not the database of a run; name the directory of a run")
        if version > tables.VERSION:
            raise RunDirectoryError(
                f"{named(self.path)} was written by a newer forge-tui (format {version}, this one knows "
                f"{tables.VERSION}); update forge-tui"
            )
        if version not in tables.KNOWN:
            raise RunDirectoryError(f"{named(self.path)} is damaged: its format is {version}; {RESTORE_ADVICE}")
        wrong = shape.problem(connection, version)
        if wrong is not None:
            raise RunDirectoryError(f"{named(self.path)} is damaged: {wrong}; {RESTORE_ADVICE}")
        self.version = version
        self._checked = True

    def in_words(self, error: sqlite3.Error) -> RunDirectoryError:
        """SQLite's `error` as one that says what is wrong with the file and what to do next."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_NOTADB:
            return RunDirectoryError(f"{named(self.path)} is not the database of a run; name the directory of a run")
        if code in _NOT_OPENED:
            return RunDirectoryError(
                f"cannot read {named(self.path)}: {error}; see that you may read it and its directory"
            )
        if is_of_disk(error):
            return RunDirectoryError(f"cannot read {named(self.path)}: {error}; {DISK_ADVICE}")
        return RunDirectoryError(f"{named(self.path)} is damaged or cut off ({error}); {RESTORE_ADVICE}")
