"""Looks at a table in a process of its own: reading takes polars, which a front end need not load."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forge_tui.errors import DataError, ForgeError
from forge_tui.protocol.table_look import TableLook
from forge_tui.safe_io.descriptors import reserved
from forge_tui.safe_io.printing import named
from forge_tui.safe_io.read_only import refuse_if_read_only

LONGEST_SECONDS = 60.0


class TableProcess:
    """One look at a table. `look` waits for it, in a thread; `stop` ends it from any other."""

    def __init__(self, path: Path, data: Mapping[str, Any], seconds: float = LONGEST_SECONDS) -> None:
        """`data` are values of `[data]`, by their names there; `seconds` is the time limit."""
        self._path, self._data, self._seconds = path, dict(data), seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def look(self) -> TableLook:
        """What is in the table. Raises `ForgeError` if it cannot be looked at, takes too long, or was stopped.

        Raises `ReadOnlyError` in a read-only process: it would show any file that this user may read.
        """
        refuse_if_read_only("read a table")
        request = json.dumps({"file": os.fspath(self._path), "data": self._data}).encode()
        process = self._begin()
        try:
            answer, said = process.communicate(request, timeout=self._seconds)
        except subprocess.TimeoutExpired:
            raise ForgeError(
                f"{named(self._path)} could not be looked at within {self._seconds:g} s; is its disk very slow?"
            ) from None
        finally:
            _end(process)
        if self._stopped:
            raise ForgeError("the look at the table was stopped")
        if process.returncode != 0:
            from forge_tui.text.exit_status import exit_in_words

            last = said.decode(errors="replace").strip().rpartition("\n")[2]
            why = f": {last}" if last else ""
            raise ForgeError(f"{named(self._path)}: looking at it {exit_in_words(process.returncode)}{why}")
        reply: dict[str, Any] = json.loads(answer)
        if "error" in reply:
            raise DataError(reply["error"])
        return TableLook.from_record(reply["look"])

    def stop(self) -> None:
        """End it; a `look` that waits for it raises at once."""
        with self._lock:
            self._stopped = True
            if self._process is not None and self._process.poll() is None:
                with contextlib.suppress(OSError):
                    self._process.kill()

    def _begin(self) -> subprocess.Popen[bytes]:
        with self._lock, reserved():
            if self._stopped:
                raise ForgeError("the look at the table was stopped")
            # Its own session: keys of the terminal, such as Ctrl+C, do not reach it.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "forge_tui.tables"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            return self._process


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process, and wait for it, but not for one that is stuck in a read from a dead disk."""
    if process.poll() is None:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
