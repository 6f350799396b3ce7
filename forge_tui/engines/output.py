"""Collects the output of a run's processes: each prints into a pipe, and threads of the runner write capped logs.

A worker that printed into a file itself could fill the disk, and would block or fail with it. So one thread empties
the pipes into memory at once; another one writes, and may wait for a disk. If the reserved memory is full, the oldest
waiting output is dropped, and a line in the log says how much.

The reading end is not in the worker: a thread there would need the GIL, which native code may hold while it prints.
The runner's own output goes through memory; output of its C libraries goes to the file directly.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import selectors
import sys
import threading
import time
from collections import deque
from typing import TextIO

from forge_tui.engines.buffered_log import BUSY_SECONDS, WAITING_BYTES, Log
from forge_tui.runs.log_file import LogFile

_READ_BYTES = 1 << 18
# A user may have 64 MiB of pipes in total before they become small.
_PIPE_BYTES = 1 << 18
_ALL_WAITING_BYTES = 32 << 20
# Short lines of output do not each wake the runner.
_FEW_BYTES = 16 << 10
_PAUSE_SECONDS = 0.005
_RETRY_SECONDS = 0.5
# How often a disk that keeps filling and emptying is reported.
_PROBLEM_SECONDS = 60.0


class Output:
    """The reading end of a pipe for the output of a process and its children."""

    def __init__(self, descriptor: int, log: Log) -> None:
        self.descriptor = descriptor
        self.log = log
        self.at_end = False
        self._lock = threading.Lock()

    def drain(self, most: int) -> int:
        """Read the pipe's content, `most` bytes or a little more; returns how many."""
        taken = 0
        with self._lock:
            while not self.at_end and taken < most:
                try:
                    data = os.read(self.descriptor, _READ_BYTES)
                except BlockingIOError:
                    break
                if not data:
                    self.at_end = True
                    break
                self.log.add(data)
                taken += len(data)
        return taken


class Outputs:
    """All logs of a run, and the threads that fill them, which `close` ends.

    Thread-safe; no method waits for a disk unless it says so.
    """

    def __init__(self, directory: int | None, most: int) -> None:
        """`directory`: descriptor of the run directory, None to keep nothing; `most`: maximum log size (bytes)."""
        self._directory = directory
        self._most = most
        self._lock = threading.Lock()
        self._written = threading.Condition(self._lock)
        self._logs: dict[str, Log] = {}
        self._outputs: set[Output] = set()
        self._changed: deque[Output] = deque()
        self._dirty: set[Log] = set()
        self._problem: str | None = None
        self._problem_at = float("-inf")
        self._closing = False
        self._released = False
        self._is_awaited = False
        self.own = Log(None)
        """The log of this process's own output."""
        self._replaced: tuple[TextIO, TextIO] | None = None
        self._wake, self._waker = os.pipe()
        # Readable when awaited output has been written.
        self.news, self._newsman = os.pipe()
        for end in (self._wake, self._waker, self.news, self._newsman):
            os.set_blocking(end, False)
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for name, work in (("read output", self._read), ("write logs", self._write))
        ]
        for thread in self._threads:
            thread.start()

    # --- destinations

    def take_own(self, name: str) -> None:
        """Send this process's output, and pipes that lead to `own`, to the log at `name` in the directory.

        Raises `OSError` if it cannot be created; may wait for a disk.
        """
        assert self._directory is not None
        file = LogFile(self._directory, name, self._most, on_replaced=_print_into)
        file.open()
        self.own = Log(file)
        self.own.users = 1
        with self._lock:
            self._logs[name] = self.own
        self._replaced = sys.stdout, sys.stderr
        sys.stdout = sys.stderr = _Printer(self, self.own)
        self._to_write(self.own)

    def move_own(self, name: str) -> None:
        """Rename the log of `own`. Raises `OSError`; may wait for a disk."""
        assert self.own.file is not None
        before = self.own.file.name
        self.own.file.rename(name)
        with self._lock:
            self._logs[name] = self._logs.pop(before)

    def pipe(self, name: str | None) -> tuple[Output, int]:
        """A pipe for a process's output to a log (None: `own`); the caller owns its writing end.

        Raises `OSError` if no pipe can be created.
        """
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        with contextlib.suppress(AttributeError, OSError):  # not Linux, or too many pipes: it stays smaller
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        with self._lock:
            log = self.own if name is None else self._log(f"logs/{name}.log")
            log.users += 1
            output = Output(reading, log)
            self._outputs.add(output)
        self._to_write(log)  # creates the file for followers, even without output
        self._tell(output)
        return output, writing

    def hold(self, name: str | None) -> Log:
        """A log (None: `own`) for output that arrives in another way than by a pipe, until `let_go`."""
        with self._lock:
            log = self.own if name is None else self._log(f"logs/{name}.log")
            log.users += 1
        self._to_write(log)  # creates the file for followers, even without output
        return log

    def let_go(self, log: Log) -> None:
        """Add no more output to a log of `hold`."""
        with self._lock:
            log.users -= 1
        self._to_write(log)

    def _log(self, name: str) -> Log:
        log = self._logs.get(name)
        if log is None:
            file = None if self._directory is None else LogFile(self._directory, name, self._most)
            if file is not None and self._released:
                file.release()
            log = self._logs[name] = Log(file)
        return log

    def add(self, log: Log, data: bytes) -> None:
        """Add output to a log."""
        log.add(data)
        self._to_write(log)

    def _to_write(self, log: Log) -> None:
        if log.file is not None:
            with self._written:
                self._dirty.add(log)
                self._written.notify_all()

    # --- ends

    def drained(self, output: Output) -> int:
        """Read the rest of an ended process's output; returns a mark for `is_written`.

        Later output of its children is read too, but not waited for.
        """
        if output.drain(_PIPE_BYTES):
            self._to_write(output.log)
        return output.log.taken

    def is_written(self, output: Output, mark: int) -> bool:
        """Whether all output up to a mark is written, or cannot be. If not, `news` becomes readable later."""
        self._is_awaited = True  # first: it may be written meanwhile
        return output.log.is_settled(mark)

    def hear_news(self) -> None:
        """Reset `news`."""
        _empty(self.news)

    def take_problem(self) -> str | None:
        """Why a log cannot be written; each problem is reported once."""
        with self._lock:
            problem, self._problem = self._problem, None
            return problem

    def settle(self, seconds: float) -> None:
        """Read everything from the pipes, and wait up to `seconds` until it is written."""
        deadline = time.monotonic() + seconds
        with self._lock:
            outputs = list(self._outputs)
        marks = [(output.log, self.drained(output)) for output in outputs] + [(self.own, self.own.taken)]
        with self._written:
            left = max(0.0, deadline - time.monotonic())
            self._written.wait_for(lambda: all(log.is_settled(mark) for log, mark in marks), left)

    def release(self) -> None:
        """Stop creating and replacing files: the directory belongs to another run, or is to be restored."""
        with self._lock:
            self._released = True
            for log in self._logs.values():
                if log.file is not None:
                    log.file.release()

    def close(self, seconds: float = 5.0) -> None:
        """Write waiting output for up to `seconds`, and end."""
        self.settle(seconds)
        if self._replaced is not None:
            sys.stdout, sys.stderr = self._replaced
            self._replaced = None
        with self._written:
            self._closing = True
            self._written.notify_all()
        self._ring(self._waker)
        for thread in self._threads:
            thread.join(seconds)
        if any(thread.is_alive() for thread in self._threads):
            return  # blocked by a disk: the process ends without them
        for output in self._outputs:
            os.close(output.descriptor)
        self._outputs.clear()
        for log in self._logs.values():
            log.close()
        for end in (self._wake, self._waker, self.news, self._newsman):
            os.close(end)

    # --- the threads

    def _tell(self, output: Output) -> None:
        """Notify the reading thread of a new output."""
        self._changed.append(output)
        self._ring(self._waker)

    @staticmethod
    def _ring(bell: int) -> None:
        with contextlib.suppress(BlockingIOError):  # notified already
            os.write(bell, b"!")

    def _read(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake, selectors.EVENT_READ)
            while not self._closing:
                taken = 0
                for key, _ in selector.select():
                    output: Output | None = key.data
                    if output is None:
                        _empty(self._wake)
                        continue
                    taken += output.drain(_READ_BYTES)
                    if output.at_end:
                        selector.unregister(output.descriptor)
                        self._leave(output)
                    self._to_write(output.log)
                    if output.log.is_catching_up():
                        self._let_it_catch_up(output.log)
                while self._changed:
                    new = self._changed.popleft()
                    selector.register(new.descriptor, selectors.EVENT_READ, new)
                if 0 < taken < _FEW_BYTES:
                    time.sleep(_PAUSE_SECONDS)

    def _let_it_catch_up(self, log: Log) -> None:
        with self._written:
            self._written.wait_for(lambda: not log.is_catching_up(), BUSY_SECONDS)

    def _leave(self, output: Output) -> None:
        with self._lock:
            self._outputs.discard(output)
            output.log.users -= 1
        os.close(output.descriptor)

    def _write(self) -> None:
        while True:
            with self._written:
                failed = any(log.failure for log in self._dirty)  # retried at intervals
                self._written.wait_for(self._has_work, _RETRY_SECONDS if failed else None)
                closing = self._closing
                logs, self._dirty = self._dirty, set()
                share = max(1, _ALL_WAITING_BYTES // max(1, len(self._logs)))
            for log in logs:
                log.most_waiting = min(WAITING_BYTES, share)
                log.write()
            with self._written:
                unused = [log for log in logs if not self._is_needed(log)]
                self._written.notify_all()
            for log in unused:
                log.close()
            if self._is_awaited:
                self._is_awaited = False
                self._ring(self._newsman)
            if closing:
                return

    def _has_work(self) -> bool:
        return self._closing or any(log.failure is None for log in self._dirty)

    def _is_needed(self, log: Log) -> bool:
        """Whether a log still has waiting output; a failed one is reported and retried."""
        assert log.file is not None
        if log.failure is not None:
            self._dirty.add(log)
            now = time.monotonic()
            if now - self._problem_at >= _PROBLEM_SECONDS:
                self._problem_at = now
                words = "output is lost until it can be"
                self._problem = f"{log.file.name} cannot be written: {log.failure}; {words}"
            return True
        if log.users or not log.is_empty:
            return True
        self._logs.pop(log.file.name, None)
        return False


class _Printer(io.TextIOBase):
    """A stream for this process's own output."""

    def __init__(self, outputs: Outputs, log: Log) -> None:
        self._outputs, self._log = outputs, log

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._outputs.add(self._log, text.encode("utf-8", "backslashreplace"))
        return len(text)


def _print_into(file: int) -> None:
    """Redirect output that bypasses Python into a file."""
    os.dup2(file, 1)
    os.dup2(file, 2)


def _empty(bell: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(bell, 4096):
            pass
