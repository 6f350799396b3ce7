"""`starting.json`: what a start is about to create; written before anything else, deleted when the run has begun."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from forge_tui.errors import RunDirectoryError
from forge_tui.runs.inside import open_inside
from forge_tui.runs.names import CODE, PREVIOUS, ROOMS, ROOT, STARTING_FILE, STARTING_LOG, is_inside
from forge_tui.runs.own_paths import Record
from forge_tui.safe_io.strict_json import Limits, parse_object
from forge_tui.safe_io.whole_files import write_atomically

HEAD = '{"forge_tui": "start"'
SETTINGS = "settings.toml"
_LARGEST = 16 << 20
_RECORD = Limits(size=_LARGEST, unique=False)


@dataclass(frozen=True, slots=True)
class Intent:
    """What a start creates: `files` with their SHA-256 (None: unknown) and directories, relative to the run's.

    `previous`: where it moves the earlier run, if there is one.
    """

    files: dict[str, str | None] = field(default_factory=dict)
    directories: frozenset[str] = frozenset()
    previous: str | None = None

    def record(self) -> Record:
        """What it may have created, as a run's record."""
        code = frozenset(path.removeprefix(f"{CODE}/") for path in self.files if path.startswith(f"{CODE}/"))
        return Record(files=frozenset(self.files), directories=self.directories, code=code)

    def write(self, path: Path) -> None:
        """Write it to the run directory `path`. Raises `RunDirectoryError`."""
        content = json.dumps(
            {"v": 1, "previous": self.previous, "directories": sorted(self.directories), "files": self.files}
        )
        write_atomically(path / STARTING_FILE, f"{HEAD}, {content[1:]}\n".encode())


def read_intent(path: Path) -> Intent | None:
    """What a start has announced in the run directory `path`; None if there is no such file, or a foreign one."""
    try:
        descriptor = open_inside(path / STARTING_FILE, path, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, RunDirectoryError):
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_size > _LARGEST:
            return None
        content = file.read()
    try:
        record = parse_object(content, _RECORD)
        is_ours = record["forge_tui"] == "start" and record["v"] == 1
        intent = Intent(dict(record["files"]), frozenset(record["directories"]), record["previous"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return intent if is_ours and _is_possible(intent) else None


def _is_possible(intent: Intent) -> bool:
    """Whether a start makes such paths: nothing else is undone, whoever has written the file."""
    previous = intent.previous
    return (
        all(map(_is_made, (*intent.files, *intent.directories)))
        and all(digest is None or isinstance(digest, str) for digest in intent.files.values())
        and (previous is None or (isinstance(previous, str) and PREVIOUS.fullmatch(previous) is not None))
    )


def _is_made(path: object) -> bool:
    if not isinstance(path, str):
        return False
    return path in (SETTINGS, STARTING_LOG, ROOT, CODE, *ROOMS) or (is_inside(path) and path.startswith(f"{CODE}/"))
