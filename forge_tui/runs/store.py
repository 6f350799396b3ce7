"""Writes run.db: one thread, one transaction about every 100 ms, and a buffer that training never waits for."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.events import Event, ResourceWarned
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.run_info import RunInfo
from forge_tui.runs import shape, tables
from forge_tui.runs.connection import DISK_ADVICE, RESTORE_ADVICE, writing_advice
from forge_tui.runs.filesystem import is_network
from forge_tui.runs.inside import refuse_links
from forge_tui.runs.location import Identity
from forge_tui.runs.own_paths import own_paths
from forge_tui.runs.replacing import replace_by_copy
from forge_tui.runs.sidecars import check_sidecars
from forge_tui.runs.transaction import Batch, Position, bring_up_to_date, put_paths, read_position, write_batch
from forge_tui.safe_io.printing import named
from forge_tui.safe_io.whole_files import directory_error, half_written, sync_directory, sync_file

TRANSACTION_SECONDS = 0.1
HEARTBEAT_SECONDS = 1.0
# Longer than any viewer reads; a writer that waits longer reports it.
STALL_SECONDS = 10.0
# A backlog (a disk that was full for an hour) is written in transactions of this many records.
LARGEST_BATCH = 20_000
_RETRY_SECONDS = 0.5
_BUSY_SECONDS = 2.0
_READERS_SECONDS = 1.0
# How often a disk that keeps failing and recovering is reported.
_TROUBLE_SECONDS = 60.0
_WAITS = "; training continues, the history waits in memory"


class RunStore:
    """The runner's only way to write state and history.

    `append`, `put_model`, `put_run` and `add_resources` take about a microsecond, never touch the disk, and may be
    called from any thread. A disk that is full or stuck keeps everything in memory; `problem` then says so.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, *, clock: Callable[[], float] = time.time) -> None:
        """Use `create` or `open`."""
        self.path = path
        self._clock = clock
        self._connection: sqlite3.Connection | None = connection
        self._position = read_position(connection)
        self._identity = Identity.of(path)
        self._lock = threading.Lock()
        self._events: deque[Event] = deque()
        self._models: dict[int, ModelState] = {}
        self._samples: deque[Mapping[str, Any]] = deque()
        self._run: RunInfo | None = None
        self._seconds: Callable[[], float] | None = None
        self._failure: str | None = None
        self._failed_at = 0.0
        self._reported_at = float("-inf")
        self._waiting_since: float | None = None
        self._closing = False
        self._complete = False
        self._gone = False
        self._is_moved = False
        self._flush_wanted = 0
        self._flushed = threading.Condition(self._lock)
        self._flush_done = 0
        self._has_news = threading.Event()
        """Set with the first record since the last transaction."""
        self._wake = threading.Event()
        """Set to write at once."""
        self._thread = threading.Thread(target=self._write_until_closed, name="run-store", daemon=True)
        self._thread.start()

    @classmethod
    def create(
        cls,
        path: Path,
        info: RunInfo,
        models: Iterable[ModelState],
        directories: Iterable[str] = (),
        *,
        clock: Callable[[], float] = time.time,
    ) -> RunStore:
        """Create the database of a new run; it appears complete, with the run and all its models.

        `directories`: those that the run has made, by their paths relative to its own (`.`). Raises
        `RunDirectoryError` if one exists already or none can be made.
        """
        try:
            if os.path.lexists(path):
                raise RunDirectoryError(
                    f"{named(path)} exists already: continue that run (`forge-tui resume {named(path.parent)}`), "
                    "or move it away with --overwrite"
                )
            with half_written(path, "-journal") as temporary:
                os.close(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
                with closing(_connect(temporary)) as connection:
                    connection.executescript(
                        "PRAGMA synchronous=OFF; BEGIN; "
                        f"PRAGMA application_id={tables.APPLICATION_ID}; {tables.TABLES} {tables.PATHS_TABLE} COMMIT;"
                    )
                    put_paths(connection, own_paths(directories))
                    batch = Batch(events=(), models=tuple(models), run=info, samples=())
                    write_batch(connection, batch, Position(run=b""), clock())
                    # Last: a database without a version is incomplete.
                    connection.execute(f"PRAGMA user_version={tables.VERSION}")
                sync_file(temporary)
                os.replace(temporary, path)
            sync_directory(path.parent)
        except OSError as error:
            if isinstance(error, RunDirectoryError):
                raise
            raise directory_error(error, "create", path) from error
        except sqlite3.Error as error:
            raise RunDirectoryError(f"cannot create {named(path)}: {error}; {DISK_ADVICE}") from error
        return cls.open(path, clock=clock)

    @classmethod
    def open(cls, path: Path, directories: Iterable[str] = (), *, clock: Callable[[], float] = time.time) -> RunStore:
        """Open the database of a run that has ended or died for writing; an older format is migrated.

        `directories`: those that the run has made since. Raises `RunDirectoryError` if it is missing, damaged, or of a
        newer version.
        """
        refuse_links(path, path.parent)
        if not path.is_file():
            raise RunDirectoryError(f"{named(path)} is missing: there is no run in {named(path.parent)}")
        check_sidecars(path)
        try:
            connection = _connect(path)
            try:
                shape.harden(connection)
                version = connection.execute("PRAGMA user_version").fetchone()[0]
                if version > tables.VERSION:
                    raise RunDirectoryError(
                        f"{named(path)} was written by a newer forge-tui (format {version}, this one knows "
                        f"{tables.VERSION}); update forge-tui"
                    )
                if connection.execute("PRAGMA application_id").fetchone()[0] != tables.APPLICATION_ID:
                    raise RunDirectoryError(f"{named(path)} is not the database of a run; name the directory of a run")
                verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
                if version not in tables.KNOWN or verdict != "ok":
                    raise RunDirectoryError(f"{named(path)} is damaged ({verdict}); {RESTORE_ADVICE}")
                if (wrong := shape.problem(connection, version)) is not None:
                    raise RunDirectoryError(f"{named(path)} is damaged: {wrong}; {RESTORE_ADVICE}")
                try:
                    _set_journal(connection, path)
                    bring_up_to_date(connection, version, path.parent, directories)
                except sqlite3.OperationalError as error:
                    if not _is_busy(error):
                        raise
                    # A viewer stopped during a read may keep the file open for ever: it keeps the old one.
                    replace_by_copy(connection, path)
                    connection.close()
                    connection = _connect(path)
                    _set_journal(connection, path)
                    bring_up_to_date(connection, version, path.parent, directories)
                return cls(path, connection, clock=clock)
            except BaseException:
                connection.close()
                raise
        except (sqlite3.Error, ValueError) as error:
            raise RunDirectoryError(
                f"cannot continue writing {named(path)}: {error}; {writing_advice(error)}"
            ) from error

    def measure(self, seconds: Callable[[], float]) -> None:
        """Record the run's age with every sign of life; `seconds` is called in the store's thread."""
        self._seconds = seconds

    def append(self, event: Event) -> None:
        """Record an event."""
        with self._lock:
            self._events.append(event)
            self._something_to_write()

    def put_model(self, model: ModelState) -> None:
        """Set the model's newest state; of several before a transaction only the last is written."""
        with self._lock:
            self._models[model.index] = model
            self._something_to_write()

    def put_run(self, info: RunInfo) -> None:
        """Set the run's newest record."""
        with self._lock:
            self._run = info
            self._something_to_write()

    def add_resources(self, sample: Mapping[str, Any]) -> None:
        """Record a resource sample: JSON-able values by name; `time` (UNIX seconds) is when it was taken.

        Raises `KeyError`, `TypeError` or `ValueError` if `time` is missing or not a number.
        """
        float(sample["time"])
        with self._lock:
            self._samples.append(sample)
            self._something_to_write()

    def _something_to_write(self) -> None:
        """Wake the writing thread if it sleeps. Called with the lock held."""
        if not self._has_news.is_set():
            self._has_news.set()

    @property
    def problem(self) -> str | None:
        """Why nothing is being written; None if there is no problem."""
        since, failure = self._waiting_since, self._failure
        if failure is not None:
            return failure
        waited = 0.0 if since is None else time.monotonic() - since
        if waited > STALL_SECONDS:
            return f"{self.path}: the disk has not answered for {waited:.0f} s; training continues, the history waits"
        return None

    @property
    def is_gone(self) -> bool:
        """Whether the file was deleted, replaced, or moved without `move`: nothing can be recorded any more."""
        return self._gone

    def move(self, path: Path) -> None:
        """Set the file's new path after the run directory was moved; waiting records are then written."""
        with self._lock:
            self.path = path
            self._gone = False
            self._is_moved = True
        self._hurry()

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until all records so far are in the database; False if they are not after `timeout` seconds."""
        with self._flushed:
            self._flush_wanted += 1
            wanted = self._flush_wanted
            self._hurry()
            self._flushed.wait_for(lambda: self._flush_done >= wanted or self._gone, timeout)
            return self._flush_done >= wanted

    def close(self, timeout: float = 10.0) -> bool:
        """Write the remaining records and leave one plain file, without WAL; False if that failed (see `problem`).

        Waits up to a second for a reading viewer; if it stays, the WAL is left for the next opening.
        """
        if self._thread.is_alive():
            self._complete = self.flush(timeout)
            self._closing = True
            self._hurry()
            self._thread.join(timeout)
        if self._thread.is_alive():
            return False
        if self._connection is None:
            return self._complete
        connection, self._connection = self._connection, None
        if self._gone or not self._identity.is_at(self.path):
            # SQLite would clean up by name: the file there now belongs to another run.
            connection.close()
            return False
        if not self._tidy(connection):
            self._tidy(None)
        return self._complete

    def _hurry(self) -> None:
        """Write the waiting records at once."""
        self._wake.set()
        self._has_news.set()

    def _tidy(self, connection: sqlite3.Connection | None) -> bool:
        """Leave one plain file, with a new connection if need be; False if the disk failed (see `problem`).

        All rows are committed, and stay in the WAL until they are in the file.
        """
        try:
            with closing(connection or _connect(self.path)) as connection:
                connection.execute(f"PRAGMA busy_timeout={_READERS_SECONDS * 1000:.0f}")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                _leave_wal(connection)
        except sqlite3.Error as error:
            if not _is_busy(error):
                self._failure = f"{self.path}: {error} while closing; {DISK_ADVICE}"
                return False
        return True

    def _write_until_closed(self) -> None:
        last_beat = time.monotonic()
        pending: Batch | None = None
        ticket = 0
        while True:
            if pending is not None:
                self._wake.wait(_RETRY_SECONDS)
            elif not self._wake.is_set() and self._has_news.wait(_until(last_beat + HEARTBEAT_SECONDS)):
                self._wake.wait(TRANSACTION_SECONDS)  # what comes meanwhile goes into the same transaction
            self._wake.clear()
            closing = self._closing
            while True:
                if pending is None:
                    pending, ticket = self._take()
                if pending.is_empty and time.monotonic() - last_beat < HEARTBEAT_SECONDS and self._flush_done >= ticket:
                    pending = None
                    break
                if not self._write(pending):
                    break
                pending, last_beat = None, time.monotonic()
                with self._flushed:
                    more = bool(self._events)
                    if not more:
                        self._flush_done = ticket
                        self._flushed.notify_all()
                if not more:
                    break
            if closing:
                return

    def _take(self) -> tuple[Batch, int]:
        """The waiting records, and the newest flush requested before them."""
        with self._lock:
            self._has_news.clear()
            many = len(self._events) > LARGEST_BATCH
            events = [self._events.popleft() for _ in range(LARGEST_BATCH)] if many else list(self._events)
            samples, models, run = list(self._samples), list(self._models.values()), self._run
            if not many:
                self._events.clear()
            self._samples.clear()
            self._models.clear()
            self._run = None
            return Batch(events=events, models=models, run=run, samples=samples), self._flush_wanted

    def _write(self, batch: Batch) -> bool:
        self._waiting_since = time.monotonic()
        try:
            self._reconnect()
            assert self._connection is not None
            found = read_position(self._connection) if self._failure is not None else self._position
            if found.heartbeat > self._position.heartbeat:
                self._position = found  # the failed commit had reached the disk
            else:
                seconds = None if self._seconds is None else self._seconds()
                self._position = write_batch(self._connection, batch, self._position, self._clock(), seconds)
            self._recovered()
            return True
        except Exception as error:
            # The boundary of this thread: after any error the batch is kept, reported, and retried.
            if self._failure is None:
                self._failed_at = time.monotonic()
            self._failure = f"{self.path}: {error}{_WAITS}"
            return False
        finally:
            self._waiting_since = None

    def _recovered(self) -> None:
        """Record that writing had failed: the disk may be failing. A lasting fault is reported at intervals."""
        failure, self._failure = self._failure, None
        now = time.monotonic()
        if failure is None or now - self._reported_at < _TROUBLE_SECONDS:
            return
        self._reported_at = now
        cause = failure.removesuffix(_WAITS)
        words = f"{cause}; nothing could be written for {now - self._failed_at:.1f} s; now everything is written"
        self.append(ResourceWarned(time=self._clock(), kind="disk", message=words))

    def _reconnect(self) -> None:
        """Open a new connection after a failure; check that the file is still the one in the run directory."""
        path = self.path
        if not self._identity.is_at(path):
            with self._flushed:
                if self.path == path:
                    self._gone = True  # it will not come back: do not wait for it
                    self._flushed.notify_all()
            raise RunDirectoryError("the file was deleted or replaced while the run was writing it")
        if (self._failure is not None or self._is_moved) and self._connection is not None:
            # Closing deletes nothing at the old path: SQLite notices that the file is gone.
            self._connection.close()
            self._connection = None
        if self._connection is None:
            self._is_moved = False
            self._connection = _connect(path)
            _set_journal(self._connection, path)


def _until(moment: float) -> float:
    """Seconds left until a moment of the monotonic clock, at least 0."""
    return max(0.0, moment - time.monotonic())


def _connect(path: Path) -> sqlite3.Connection:
    """A connection for writing to an existing file. Transactions are begun explicitly."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )


def _set_journal(connection: sqlite3.Connection, path: Path) -> None:
    """Use WAL where its shared memory works: readers never block the writer, and commits need no sync."""
    network = is_network(path)
    connection.execute(f"PRAGMA journal_mode={'DELETE' if network else 'WAL'}").fetchall()
    connection.execute(f"PRAGMA synchronous={'FULL' if network else 'NORMAL'}")


def _leave_wal(connection: sqlite3.Connection) -> None:
    """Turn the database into one plain file. SQLite does not wait for readers here, whatever its timeout."""
    deadline = time.monotonic() + _READERS_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=DELETE").fetchall()
            return
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
        time.sleep(_READERS_SECONDS / 50)


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
