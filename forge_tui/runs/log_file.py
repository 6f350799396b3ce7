"""A log with a maximum size: keeps its beginning and its newest part, and a line between them about the gap.

Output is appended until the file is full, or the disk nearly is. Then a new file replaces it: the beginning, that
line, the newest part. Readers of the old file can read it to its end, and never see a partial change. At least half
of the maximum size is then free, so at most twice as many bytes are written as were printed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from forge_tui.runs.inside import open_inside
from forge_tui.safe_io.printing import named
from forge_tui.safe_io.whole_files import temporary_name

LEAST_BYTES = 64 << 10
"""The lower bound of the maximum size: enough for a traceback."""
_HEAD_BYTES = 1 << 20
_LINE_BYTES = 256
_PIECE_BYTES = 1 << 20
# Logs leave this much of a disk, or a quarter of a small one, to history and checkpoints. Short logs are still
# written: a traceback is worth more.
_RESERVE_BYTES = 16 << 20
_RESERVE_PART = 4
_UNKNOWN_BYTES = 1 << 50
# Asking a network file system for its free space takes a message to the server.
_ROOM_LOOK_BYTES = 64 << 10
_GAP = re.compile(
    rb"\[forge-tui: (\d{1,18}) bytes of output after byte (\d{1,18}) were dropped \(run\.log_bytes = \d{1,18}\)\]\n"
)
_APPEND = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Gap:
    """A gap of `dropped` bytes in a log; the line that reports it is from `start` to `end` in the file."""

    start: int
    end: int
    dropped: int


def find_gap(file: int) -> Gap | None:
    """The gap in an open log. A printed line that imitates ours states a wrong position."""
    data = os.pread(file, _HEAD_BYTES + _LINE_BYTES, 0)
    for found in _GAP.finditer(data):
        dropped, start = int(found[1]), int(found[2])
        if start <= found.start() and data[start : found.start()] == _line_break(data[:start]):
            return Gap(start, found.end(), dropped)
    return None


def _line_break(before: bytes) -> bytes:
    """A line break, unless `before` ends with one."""
    return b"" if before[-1:] in (b"", b"\n") else b"\n"


class LogFile:
    """A log for writing. Thread-safe; all methods but `release` may wait for the disk.

    It is opened relative to an open directory, which may be renamed meanwhile. Links are not followed.
    """

    def __init__(
        self, directory: int, name: str, most: int, *, on_replaced: Callable[[int], None] = lambda file: None
    ) -> None:
        """`directory`: descriptor of the run directory; `name`: path in it; `most`: maximum size (bytes).

        `on_replaced` is called with the descriptor whenever the file is opened or replaced.
        """
        self._directory = directory
        self._name = name
        self._most = most
        self._head = min(_HEAD_BYTES, most // 8)
        self._newest = most * 3 // 8
        self._on_replaced = on_replaced
        self._file: int | None = None
        self._gap: Gap | None = None
        self._unseen = _ROOM_LOOK_BYTES
        self._released = False
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Its path in the run directory."""
        return self._name

    def write(self, data: bytes) -> int:
        """Append `data`; returns how many bytes were written. If it raises `OSError`, none were."""
        with self._lock:
            file, size = self._opened()
            data = data[: self._most // 8]  # the log's beginning takes the beginning of a large piece
            end = size + len(data)
            if end <= LEAST_BYTES or (end <= self._most and self._has_room(file, len(data))):
                return os.write(file, data)
            newest = self._newest
            if not self._has_room(file, self._head + newest):
                newest = self._least_newest(file, size)
            self._replace(file, size, data, newest)
            return len(data)

    def open(self) -> None:
        """Create the file if it is missing. Raises `OSError`."""
        with self._lock:
            self._opened()

    def rename(self, name: str) -> None:
        """Move it to another path in the run directory. Raises `OSError`."""
        with self._lock:
            os.rename(self._name, name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
            self._name = name

    def release(self) -> None:
        """Stop creating and replacing files: the directory may belong to another run."""
        self._released = True

    def close(self) -> None:
        """Close the file; another `write` opens it again."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = self._gap = None

    def _opened(self) -> tuple[int, int]:
        """The descriptor and the size of a file that still has a name."""
        if self._file is not None:
            status = os.fstat(self._file)
            if status.st_nlink:
                return self._file, status.st_size
            self._close()
        self._require_ours()
        with self._room() as (room, file_name):
            file = os.open(file_name, _APPEND | os.O_CREAT, 0o600, dir_fd=room)
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, f"{named(self._name)} is not a file")
        except OSError:
            os.close(file)
            raise
        self._take(file, None)
        return file, status.st_size

    def _take(self, file: int, gap: Gap | None) -> None:
        self._close()
        self._file, self._gap = file, gap
        self._on_replaced(file)

    def _require_ours(self) -> None:
        if self._released:
            raise OSError(errno.EFBIG, "the run has ended")

    @contextlib.contextmanager
    def _room(self) -> Iterator[tuple[int, str]]:
        """The log's directory, and its name there."""
        folder, _, file_name = self._name.rpartition("/")
        if not folder:
            yield self._directory, file_name
            return
        room = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._directory)
        try:
            yield room, file_name
        finally:
            os.close(room)

    def _has_room(self, file: int, size: int) -> bool:
        """Whether the disk keeps its reserve if `size` bytes are written; checked at intervals."""
        self._unseen += size
        if self._unseen < _ROOM_LOOK_BYTES:
            return True
        free, reserve = _disk(file)
        if free - size < reserve:
            return False
        self._unseen = 0
        return True

    def _least_newest(self, file: int, size: int) -> int:
        """How much of a file of `size` bytes to keep if the disk is short of space.

        Raises `OSError` if there is too little space even for that.
        """
        free, reserve = _disk(file)
        newest = min(size * 3 // 8, free // 2)
        if newest < LEAST_BYTES // 4 or self._head > free // 4:
            words = f"the last {reserve >> 20} MiB of the disk are kept for history and checkpoints"
            raise OSError(errno.ENOSPC, words if free else os.strerror(errno.ENOSPC))
        self._unseen = _ROOM_LOOK_BYTES
        return newest

    # --- replacing a full log

    def _replace(self, old: int, size: int, data: bytes, newest: int) -> None:
        """Replace `old` (`size` bytes) by a shorter file with `data` at its end: `newest` bytes of both."""
        self._require_ours()
        head, body, dropped = self._parts(old, size)
        start = self._start_of_newest(old, size, body, data, newest)
        dropped += start - body
        with self._room() as (room, file_name):
            temporary = temporary_name(Path(file_name)).name
            new = os.open(temporary, _APPEND | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=room)
            try:
                os.fchmod(new, stat.S_IMODE(os.fstat(old).st_mode))
                before = _copy(old, new, 0, head)
                what = f"[forge-tui: {dropped} bytes of output after byte {head} were dropped "
                line = _line_break(before) + f"{what}(run.log_bytes = {self._most})]\n".encode()
                _write_all(new, line)
                _copy(old, new, start, size)
                _write_all(new, data[max(0, start - size) :])
                os.rename(temporary, file_name, src_dir_fd=room, dst_dir_fd=room)
            except BaseException:
                os.close(new)
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=room)
                raise
        self._take(new, Gap(head, head + len(line), dropped))

    def _parts(self, file: int, size: int) -> tuple[int, int, int]:
        """The end of the beginning, the start of the part after the gap, and the bytes dropped between them so far."""
        gap = self._gap or find_gap(file)
        if gap is not None and gap.end <= size:
            return gap.start, gap.end, gap.dropped
        data = os.pread(file, min(self._head, size // 2), 0)
        end = data.rfind(b"\n", len(data) // 2) + 1 or len(data)
        return end, end, 0

    def _start_of_newest(self, file: int, size: int, body: int, data: bytes, newest: int) -> int:
        """The start of the part to keep, at a line start if one is near; counted as if `data` were in the file."""
        start = max(body, size + len(data) - newest)
        if start == body:
            return start
        if start < size:
            found = os.pread(file, newest // 4, start)
        else:
            found = data[start - size : start - size + newest // 4]
        return start + found.find(b"\n") + 1  # 0 added where there is no line


def _disk(file: int) -> tuple[int, int]:
    """Free bytes on a file's disk, and how many of them are reserved."""
    status = os.fstatvfs(file)
    if not status.f_blocks:  # some file systems do not say
        return _UNKNOWN_BYTES, 0
    reserve = min(_RESERVE_BYTES, status.f_blocks * status.f_frsize // _RESERVE_PART)
    return status.f_bavail * status.f_frsize, reserve


def _copy(source: int, target: int, start: int, end: int) -> bytes:
    """Append bytes `start` to `end` of one file to another; returns the last chunk."""
    piece = b""
    while start < end:
        piece = os.pread(source, min(_PIECE_BYTES, end - start), start)
        if not piece:
            raise OSError(errno.EIO, "the log was cut off while it was copied")
        _write_all(target, piece)
        start += len(piece)
    return piece


def _write_all(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


class LogReader:
    """Reads a log from its beginning and then what is added, across replacements of the file."""

    def __init__(self, path: Path, root: Path) -> None:
        """`root` is the run directory, `path` the log in it, which may not exist yet."""
        self._path, self._root = path, root
        self._file: BinaryIO | None = None

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def read(self) -> Iterator[bytes]:
        """Yield what was added since the last time.

        Raises `OSError` (not for a missing file), and `RunDirectoryError` for a symbolic link.
        """
        if self._file is None:
            try:
                self._file = self._open()
            except FileNotFoundError:
                return
        yield from self._rest(self._file)
        while (new := self._successor(self._file)) is not None:
            yield from self._rest(self._file)  # what was written before the replacement
            old, self._file = self._file, new
            with old:
                yield from _continue(old, new)
            yield from self._rest(new)

    def _rest(self, file: BinaryIO) -> Iterator[bytes]:
        if os.fstat(file.fileno()).st_size < file.tell():  # it was truncated
            file.seek(0)
        while piece := file.read(_PIECE_BYTES):
            yield piece

    def _successor(self, file: BinaryIO) -> BinaryIO | None:
        """The file that has replaced the one being read."""
        try:
            if os.path.samestat(os.stat(self._path), os.fstat(file.fileno())):
                return None
            return self._open()
        except FileNotFoundError:
            return None

    def _open(self) -> BinaryIO:
        # Non-blocking: it could be a pipe.
        return os.fdopen(open_inside(self._path, self._root, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0)


def _continue(old: BinaryIO, new: BinaryIO) -> Iterator[bytes]:
    """Move `new` to the position of `old`; yields a line about output that was dropped unread."""
    read, gap = old.tell(), find_gap(old.fileno())
    if gap is not None and read >= gap.end:
        read += gap.dropped - (gap.end - gap.start)
    gap = find_gap(new.fileno())
    if gap is None:
        return  # another log
    newest = gap.start + gap.dropped
    new.seek(gap.end + max(0, read - newest) if read > gap.start else read)
    if gap.start < read < newest:
        yield f"[forge-tui: {newest - read} bytes of output were dropped before they were shown]\n".encode()
