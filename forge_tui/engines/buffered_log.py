"""A buffered log: output waits in memory, up to a limit, until it is written to the disk."""

from __future__ import annotations

import threading
import time
from collections import deque

from forge_tui.runs.log_file import LogFile

WAITING_BYTES = 8 << 20
"""With this many waiting bytes, readers wait for a busy disk; beyond twice as many, the oldest output is dropped."""
BUSY_SECONDS = 0.1
"""A disk that takes longer for one write is slow, and processes do not wait for it."""
_LAST_BYTES = 4 << 10
_PIECE_BYTES = 1 << 18
_TOO_SLOW = "the disk did not keep up"


class Log:
    """Output waiting for one log. `last`: the end of the output so far."""

    def __init__(self, file: LogFile | None) -> None:
        """Without `file` only `last` is kept."""
        self.file = file
        self.users = 0
        """Pipes that lead here; guarded by the lock of `Outputs`."""
        self.most_waiting = WAITING_BYTES
        self.last = b""
        self.failure: str | None = None
        self._writing_since: float | None = None
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._lost = 0
        self._why = _TOO_SLOW
        self._taken = self._settled = 0
        self._in_a_line = False
        self._is_made = False
        self._lock = threading.Lock()

    @property
    def is_empty(self) -> bool:
        """Whether all output is written, or dropped and that is noted in the log."""
        with self._lock:
            return self._is_made and self._settled == self._taken and not self._lost

    @property
    def taken(self) -> int:
        """Bytes of output so far."""
        return self._taken

    def is_settled(self, taken: int) -> bool:
        """Whether the file exists and the first `taken` bytes are written or dropped, or cannot be written for now."""
        if self.file is None:
            return True
        return self.failure is not None or (self._is_made and self._settled >= taken)

    def add(self, data: bytes) -> None:
        """Add output. Never waits and never raises."""
        with self._lock:
            self.last = data[-_LAST_BYTES:] if len(data) >= _LAST_BYTES else (self.last + data)[-_LAST_BYTES:]
            if self.file is None:
                return
            self._taken += len(data)
            self._waiting.append(data)
            self._size += len(data)
            while self._size > 2 * self.most_waiting:
                self._lose(self._size - 2 * self.most_waiting)

    def is_catching_up(self) -> bool:
        """Whether much output waits that will be written soon."""
        begun = self._writing_since
        is_busy = self.failure is None and (begun is None or time.monotonic() - begun < BUSY_SECONDS)
        return self._size > self.most_waiting and is_busy

    def _lose(self, size: int) -> None:
        """Drop up to `size` bytes of the oldest output."""
        oldest = self._waiting.popleft()
        if len(oldest) > size:
            self._waiting.appendleft(oldest[size:])
        dropped = min(size, len(oldest))
        self._size -= dropped
        self._lost += dropped
        self._settled += dropped
        self._why = self.failure or _TOO_SLOW

    def close(self) -> None:
        """Close the file."""
        if self.file is not None:
            self.file.close()

    def write(self) -> None:
        """Write waiting output; for one thread. If writing fails the output keeps waiting, and `failure` says why."""
        assert self.file is not None
        with self._lock:
            data, lost = b"".join(self._waiting), self._lost
            self._waiting.clear()
            self._size = self._lost = 0
        line = b""
        if lost:
            line = f"[forge-tui: {lost} bytes of output were lost here: {self._why}]\n".encode()
            line = b"\n" + line if self._in_a_line else line
        left, failure = line + data, None
        self._writing_since = time.monotonic()
        try:
            self.file.open()
            while left:
                written = self.file.write(left)
                self._in_a_line = left[written - 1 : written] != b"\n"
                left = left[written:]
        except OSError as error:
            failure = error.strerror or str(error)
        with self._lock:
            self._writing_since = None
            self._is_made = True
            self.failure = failure
            if lost and len(left) == len(line) + len(data):
                self._lost += lost  # the line is not written
                left = data
            elif len(left) > len(data):
                self._taken += len(left) - len(data)  # the rest of the line is output like any other
            self._settled += len(data) - min(len(left), len(data))
            # In pieces: with a large one, every write would copy the rest.
            pieces = [left[start : start + _PIECE_BYTES] for start in range(0, len(left), _PIECE_BYTES)]
            self._waiting.extendleft(reversed(pieces))
            self._size += len(left)
