"""`label.json` in a run directory: the name and the note that a user has given the run.

It is no part of the record: anyone who may write in the directory changes it, while the run lives and afterwards. A
file of that name that forge-tui has not written is somebody else's, and stays as it is.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.label import LONGEST_NAME, LONGEST_NOTE, Label
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.names import LABEL
from forge_tui.safe_io.plain_files import read_file
from forge_tui.safe_io.printing import named, printable
from forge_tui.safe_io.strict_json import STATE, parse_object
from forge_tui.safe_io.whole_files import write_atomically

HEAD = b'{"forge_tui": "label"'
_LARGEST = 16_384


def is_label(path: Path) -> bool:
    """Whether forge-tui has written that file, or a part of it before it was killed."""
    try:
        content = read_file(path, _LARGEST, follow=False)
    except OSError:
        return False
    return content.startswith(HEAD) or HEAD.startswith(content)


def read_label(path: Path) -> Label:
    """The label of the run in the directory `path`; empty if it has none, or if that cannot be read."""
    try:
        content = read_file(path / LABEL, _LARGEST, follow=False)
        if not content.startswith(HEAD):
            return Label()
        record = parse_object(content, STATE)
        name, note = record["name"], record["note"]
    except (OSError, ValueError, KeyError):
        return Label()
    if not isinstance(name, str) or not isinstance(note, str):
        return Label()
    return Label(printable(name)[:LONGEST_NAME], printable(note)[:LONGEST_NOTE])


def label_mark(path: Path) -> tuple[int, int, int]:
    """A value that changes whenever the label of the run in `path` is written."""
    try:
        status = os.lstat(path / LABEL)
    except OSError:
        return (0, 0, 0)
    return status.st_ino, status.st_mtime_ns, status.st_size


def write_label(directory: RunDirectory, label: Label) -> None:
    """Give the run in a directory another label. Raises `RunDirectoryError`, also for a directory of another user."""
    directory.check_owner()
    refuse_foreign_label(directory)
    content = json.dumps({"v": 1, "name": label.name, "note": label.note}).encode()
    write_atomically(directory.label, HEAD + b", " + content[1:] + b"\n")


def refuse_foreign_label(directory: RunDirectory) -> None:
    """Raise `RunDirectoryError` if there is a file `label.json` that forge-tui has not written."""
    if os.path.lexists(directory.label) and not is_label(directory.label):
        raise RunDirectoryError(
            f"{named(directory.label)} is no file of forge-tui, and a run's name and note are kept under that name; "
            "move it away, or leave the run without a name"
        )
