"""The file that a command appends its reports to, a JSON object a line (`protocol.trial_channel`)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from forge_tui.protocol.trial_channel import write_line
from forge_tui.runs.inside import open_inside
from forge_tui.runs.names import REPORTS, report_name
from forge_tui.safe_io.whole_files import directory_error
from forge_tui.training.model_place import ModelPlace
from forge_tui.worker.command_output import Lines

_READ_BYTES = 1 << 20


class ReportFile:
    """Follows the file of one attempt. `take` gets its lines as they are completed.

    Those of earlier attempts stay until the model is finished: its history has their epochs, too.
    """

    def __init__(self, place: ModelPlace, take: Callable[[bytes], None]) -> None:
        """Make the file anew. Raises `RunDirectoryError`."""
        self._place = place
        self._lines = Lines(take)
        self._read = 0
        path = self.path
        with place.in_place():
            try:
                flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
                self._file = open_inside(path, path.parents[2], flags)
            except OSError as error:
                raise directory_error(error, "write", path) from error

    @property
    def path(self) -> Path:
        """Its path, in the model's directory."""
        return self._place.checkpoints / report_name(self._place.job.attempt)

    def earlier(self, take: Callable[[bytes], None]) -> None:
        """Give the lines of earlier attempts to `take`, in order."""
        found = {int(match[1]): match[0] for name in self._names() if (match := REPORTS.fullmatch(name))}
        for attempt in sorted(attempt for attempt in found if attempt < self._place.job.attempt):
            path, lines = self._place.checkpoints / found[attempt], Lines(take)
            with contextlib.suppress(OSError), open(open_inside(path, path.parents[2], os.O_RDONLY), "rb") as file:
                while data := file.read(_READ_BYTES):
                    lines.feed(data)

    def append(self, record: Mapping[str, Any]) -> None:
        """Append a report that was found elsewhere, to be read with the next ones. Raises `OSError`."""
        write_line(self._file, record)

    def read(self) -> bool:
        """Take what was appended since the last call; returns whether there was anything."""
        size = os.fstat(self._file).st_size
        if size < self._read:  # written anew: `>` where `>>` was meant
            self._read = 0
        is_new = size > self._read
        while size > self._read:
            data = os.pread(self._file, min(_READ_BYTES, size - self._read), self._read)
            if not data:
                break
            self._read += len(data)
            self._lines.feed(data)
        return is_new

    def finish(self) -> None:
        """Take the rest, also a last line without its end, and close."""
        self.read()
        self._lines.end()
        os.close(self._file)

    def remove(self) -> None:
        """Delete the files of all attempts: the model is finished."""
        with contextlib.suppress(OSError):  # a leftover does no harm
            for name in self._names():
                os.unlink(self._place.checkpoints / name)

    def _names(self) -> list[str]:
        try:
            return [name for name in os.listdir(self._place.checkpoints) if REPORTS.fullmatch(name)]
        except OSError:
            return []
