"""Claims of one user's live runs on this host, which keep all runs together within the resource rules.

Each runner keeps one small file in `claims/` of the user's state directory and holds an flock on it. The kernel
releases that lock when the runner ends, however it ends: files without a lock are ignored and deleted. File names
begin with a mark of the host, because home directories are shared between hosts, and locks may not be.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from forge_tui.errors import RunDirectoryError
from forge_tui.resources.policy import DeviceShare
from forge_tui.runs.layout import RunDirectory
from forge_tui.safe_io.printing import named
from forge_tui.safe_io.strict_json import STATE, parse_object
from forge_tui.safe_io.whole_files import directory_error, make_private
from forge_tui.settings.user_file import state_directory

VERSION = 2
"""1 had no devices. A reader of either takes what it knows of the other."""
LOCK_SECONDS = 2.0
"""A decision takes milliseconds; a runner that holds the lock longer was stopped, and must not block the others."""
_RETRY_SECONDS = 0.01
_LARGEST_FILE = 65_536
_LARGEST_NUMBER = 1_000_000
_MOST_DEVICES = 256
_MOST_BYTES = 1 << 50
_TAKEN = (errno.EAGAIN, errno.EACCES)
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LOG = logging.getLogger("forge_tui")


@dataclass(frozen=True, slots=True)
class Claim:
    """The claim of one live run: its workers, CPUs per worker (`threads`), and shares of devices."""

    run: str
    path: str
    workers: int
    threads: int
    devices: tuple[DeviceShare, ...] = ()

    @property
    def cpus(self) -> int:
        """CPUs its workers may use together."""
        return self.workers * self.threads


class Claims:
    """The claim of one run, and those of this user's other runs on this host. For the runner's process only."""

    def __init__(self, directory: RunDirectory, state: Path | None = None) -> None:
        """Touches no file. `state` is the user's state directory, by default the platform's."""
        self._run = directory
        self._directory = (state or state_directory()) / "claims"
        self._host = socket.gethostname()
        self._mark = hashlib.sha256(self._host.encode()).hexdigest()[:12]
        self._file = self._directory / f"{self._mark}-{os.urandom(8).hex()}.json"
        self._descriptor: int | None = None
        self._set: tuple[int, int, tuple[DeviceShare, ...]] | None = None
        self._mutex = threading.RLock()
        self._depth = 0

    def set(self, workers: int, threads: int, devices: tuple[DeviceShare, ...] = ()) -> None:
        """Claim `workers` workers of `threads` CPUs each, and shares of devices. Unchanged, only the file is checked.

        Raises `RunDirectoryError` if the state directory cannot be written; the earlier claim then stays.
        """
        with self._mutex:
            if self._set == (workers, threads, devices) and self._is_there():
                return
            with self.deciding():
                self._write(workers, threads, devices)

    def others(self) -> tuple[Claim, ...]:
        """The claims of this user's other live runs on this host. Files of runs that have ended are deleted.

        Empty if the state directory cannot be used; `set` says why.
        """
        with self._mutex:
            if not self._directory.is_dir():
                return ()
            try:
                with self.deciding():
                    return self._look(sweep=True)
            except RunDirectoryError as error:
                _LOG.debug("claims are read without their lock: %s", error)
                return self._look(sweep=False)

    @contextmanager
    def deciding(self) -> Iterator[None]:
        """Lock out the user's other runners on this host during a decision: read `others`, then `set`.

        Keep it short. Raises `RunDirectoryError` if the state directory cannot be written, or if another runner is
        stuck in its decision.
        """
        with self._mutex:
            descriptor = None if self._depth else self._lock()
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if descriptor is not None:
                    os.close(descriptor)

    def release(self) -> None:
        """Withdraw the claim. Never fails: a file that cannot be deleted is ignored once it is not locked."""
        with self._mutex:
            if self._descriptor is None:
                return
            try:
                os.unlink(self._file)
            except OSError as error:
                _LOG.debug("%s is left for others to delete: %s", self._file, error)
            os.close(self._descriptor)
            self._descriptor = self._set = None

    def _is_there(self) -> bool:
        return self._descriptor is not None and _is_same(self._descriptor, self._file)

    def _write(self, workers: int, threads: int, devices: tuple[DeviceShare, ...]) -> None:
        """Replace our file by a new one that is locked before it gets its name, so that it is never ignored."""
        record = {
            "v": VERSION, "run": self._run.id, "path": str(self._run.path), "workers": workers, "threads": threads,
            "devices": [asdict(share) for share in devices], "host": self._host, "time": time.time(),
        }  # fmt: skip
        temporary = self._file.with_suffix(".tmp")
        descriptor = None
        try:
            temporary.unlink(missing_ok=True)
            descriptor = os.open(temporary, _NEW, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            data = json.dumps(record).encode()
            if os.write(descriptor, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.replace(temporary, self._file)
        except OSError as error:
            if descriptor is not None:
                os.close(descriptor)
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
            raise directory_error(error, "claim this run's workers in", self._file) from error
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor, self._set = descriptor, (workers, threads, devices)

    def _lock(self) -> int:
        """The lock for decisions on this host, as a descriptor."""
        path = self._directory / f"{self._mark}.lock"
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            descriptor = self._open(path)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_same(descriptor, path):
                    return descriptor
            except OSError as error:
                if error.errno not in _TAKEN:
                    os.close(descriptor)
                    raise directory_error(error, "lock", path) from error
            os.close(descriptor)
            if time.monotonic() >= deadline:
                raise RunDirectoryError(
                    f"{named(path)} is locked by another of your runs, which makes no progress; is its runner stopped? "
                    "Continue it (kill -CONT), or end it"
                )
            time.sleep(_RETRY_SECONDS)

    def _open(self, path: Path) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            make_private(self._directory)
            return os.open(path, flags, 0o600)
        except OSError as error:
            raise directory_error(error, "claim this run's workers in", path) from error

    def _look(self, *, sweep: bool) -> tuple[Claim, ...]:
        try:
            with os.scandir(self._directory) as entries:
                names = sorted(entry.name for entry in entries)
        except OSError as error:
            _LOG.debug("%s cannot be listed: %s", self._directory, error)
            return ()
        found = []
        for name in names:
            if name == self._file.name or not name.startswith(f"{self._mark}-"):
                continue
            if name.endswith(".json"):
                found.append(self._read(self._directory / name, sweep))
            elif name.endswith(".tmp") and sweep:
                self._read(self._directory / name, sweep)  # left by a runner that was killed while it wrote
        return tuple(claim for claim in found if claim is not None)

    def _read(self, file: Path, sweep: bool) -> Claim | None:
        """The claim in a file that a live runner has locked; else None, and `sweep` deletes an unused file."""
        try:
            # Non-blocking: it could be a pipe.
            descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            _LOG.debug("%s does not count: %s", file, error)
            return None
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
                raise ValueError("it is not a file of this user")
            if not _is_held(descriptor):
                if sweep:
                    os.unlink(file)
                return None
            if status.st_size > _LARGEST_FILE:
                raise ValueError(f"it is larger than {_LARGEST_FILE} bytes")
            return _claim(os.read(descriptor, _LARGEST_FILE))
        except (OSError, ValueError, RecursionError) as error:
            _LOG.debug("%s does not count: %s", file, error)
            return None
        finally:
            os.close(descriptor)


def _is_held(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return True
        raise
    return False


def _is_same(descriptor: int, path: Path) -> bool:
    """Whether `path` still names the open file: the state directory may have been emptied meanwhile."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except OSError:
        return False


def _claim(data: bytes) -> Claim:
    """The claim in a file's content. Raises `ValueError` for anything that `_write` does not write."""
    record = parse_object(data, STATE)
    return Claim(
        _word(record, "run"),
        _word(record, "path"),
        _number(record, "workers"),
        _number(record, "threads"),
        _devices(record.get("devices", [])),
    )


def _devices(record: Any) -> tuple[DeviceShare, ...]:
    if not isinstance(record, list) or len(record) > _MOST_DEVICES or not all(isinstance(one, dict) for one in record):
        raise ValueError(f"`devices` is not a list of at most {_MOST_DEVICES} devices")
    return tuple(
        DeviceShare(
            _word(one, "uuid"),
            _number(one, "workers"),
            _number(one, "held", _MOST_BYTES),
            _number(one, "growth", _MOST_BYTES),
        )
        for one in record
    )


def _word(record: dict[str, Any], key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str):
        raise ValueError(f"`{named(key)}` is not text")
    return value


def _number(record: dict[str, Any], key: str, most: int = _LARGEST_NUMBER) -> int:
    value = record.get(key)
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"`{named(key)}` is not a number from 0 to {most:,}")
    return value
