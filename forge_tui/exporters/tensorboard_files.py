"""What an event file that was written here has: so much of it that it can be continued."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from forge_tui.errors import ForgeError
from forge_tui.exporters.courses import Mark, Marks
from forge_tui.exporters.tensorboard_records import masked_crc
from forge_tui.safe_io.printing import named

_LENGTH = struct.Struct("<QI")
_CRC = struct.Struct("<I")
_DOUBLE = struct.Struct("<d")
# An event begins with its time, then its step (unless it says the version), then what it is: the keys of these fields.
_TIME, _STEP, _SUMMARY, _SESSION = 0x09, 0x10, 0x2A, 0x3A
_STEP_AT = 9


@dataclass(slots=True)
class Written:
    """The events of a model: the newest file (None: none), whether its last record is whole, and what is drawn."""

    path: Path | None = None
    files: int = 0
    is_whole: bool = True
    marks: Marks = field(default_factory=Marks)


class _Event(NamedTuple):
    time: float
    step: int
    is_start: bool


def read_back(directory: Path, pattern: str) -> Written:
    """The events of the files of `directory` that fit `pattern`, in the order of their names.

    Raises `ForgeError` if a file is damaged, `OSError` if one cannot be read.
    """
    found = Written()
    for path in sorted(directory.glob(pattern)):
        found.path, found.files = path, found.files + 1
        found.is_whole = _read(path, found.marks)
    return found


def _read(path: Path, marks: Marks) -> bool:
    """Put what a file draws into `marks`; returns whether its last record is whole."""
    data = path.read_bytes()
    place, content = 0, b""
    while place < len(data):
        if place + _LENGTH.size > len(data):
            return False
        length, crc = _LENGTH.unpack_from(data, place)
        if masked_crc(data[place : place + 8]) != crc:
            raise _damaged(path)
        begin = place + _LENGTH.size
        content = data[begin : begin + length]
        place = begin + length + _CRC.size
        if place > len(data):
            return False
        event = _event(content)
        if event is None:
            continue
        if event.is_start:
            marks.discard_from(event.step)
        elif event.step > 0:  # the settings are at step 0
            marks.put(Mark(event.step, event.time))
    if content and masked_crc(content) != _CRC.unpack_from(data, place - _CRC.size)[0]:
        raise _damaged(path)  # after a power loss the end of a file may be zeros
    return True


def _event(content: bytes) -> _Event | None:
    """A record of values or of a start; None for any other."""
    if len(content) <= _STEP_AT or content[0] != _TIME or content[_STEP_AT] != _STEP:
        return None
    step = shift = 0
    place = _STEP_AT + 1
    while place < len(content):
        byte = content[place]
        step |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            break
    if place >= len(content) or content[place] not in (_SUMMARY, _SESSION):
        return None
    return _Event(_DOUBLE.unpack_from(content, 1)[0], step, content[place] == _SESSION)


def _damaged(path: Path) -> ForgeError:
    return ForgeError(f"{named(path)} is damaged; delete the directory {named(path.parent)}, and export again")
