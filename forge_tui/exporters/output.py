"""The directory of an output: chosen, marked with the run that it shows, and held by one export at a time."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from forge_tui.errors import ForgeError, UsageError
from forge_tui.reports.run_report import report_stem
from forge_tui.safe_io.plain_files import read_file
from forge_tui.safe_io.printing import named
from forge_tui.safe_io.strict_json import STATE, BadJson, parse_object
from forge_tui.safe_io.whole_files import write_atomically

if TYPE_CHECKING:
    from forge_tui.protocol.run_info import RunInfo

MARKER = "forge-tui.json"
"""The file in an output that says which run it shows."""
_VERSION = 1


class OutputDirectory:
    """A directory that has one run in the form of one tool. Close it, or use it in a `with` block."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def open(cls, info: RunInfo, tool: str, base: Path, given: Path | None = None) -> OutputDirectory:
        """The directory `given`, or `RUN-TOOL` in `base` (`RUN-TOOL-2` … where that is another run's).

        A new one is made. Raises `UsageError` for a directory with something else in it, or that another export is
        writing, `ForgeError` if it cannot be made or written.
        """
        if given is not None:
            return cls._take(given.expanduser().absolute(), info, tool, "choose another directory with --output")
        count = 1
        while True:
            name = f"{report_stem(info.run)}-{tool}"
            path = base.absolute() / (f"{name}-{count}" if count > 1 else name)
            if _is_free(path) or _belongs(path, info, tool):
                return cls._take(path, info, tool, "end it, or choose another directory with --output")
            count += 1

    @classmethod
    def _take(cls, path: Path, info: RunInfo, tool: str, advice: str) -> OutputDirectory:
        marker = path / MARKER
        try:
            path.mkdir(exist_ok=True)
            if not _belongs(path, info, tool):
                if not _is_free(path):
                    raise UsageError(f"{named(path)} has other files in it, or another run; {advice}")
                write_atomically(marker, json.dumps(_record(info, tool)).encode(), 0o666)
            descriptor = os.open(marker, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            if isinstance(error, ForgeError):
                raise
            raise cannot_write(error, path) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                os.close(descriptor)
                raise UsageError(f"another export is writing {named(path)}; {advice}") from None
            # Some network file systems know no locks.
        return cls(path, descriptor)

    def close(self) -> None:
        """Let other exports write it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def cannot_write(error: OSError, path: Path) -> ForgeError:
    """An error of the file system in words."""
    return ForgeError(
        f"cannot write {named(error.filename or path)}: {error.strerror or error}; "
        "choose a directory of your own, with room (--output), or run this there"
    )


def _record(info: RunInfo, tool: str) -> dict[str, object]:
    return {"version": _VERSION, "tool": tool, "run": info.run, "created": info.created}


def _is_free(path: Path) -> bool:
    """Whether nothing is there, or an empty directory."""
    try:
        return not any(os.scandir(path))
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _belongs(path: Path, info: RunInfo, tool: str) -> bool:
    """Whether it is an output of this run for this tool."""
    try:
        found = parse_object(read_file(path / MARKER, STATE.size), STATE)
    except (OSError, BadJson):
        return False
    return all(found.get(key) == value for key, value in _record(info, tool).items())
