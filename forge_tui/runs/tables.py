"""The tables of run.db and the checksums of their rows, for `store` and `reader`.

`seq` numbers events and epochs together, from 1 without gaps: they merge in order, and missing rows are detected.
Every row has a CRC-32 over its key and its content, so that damage is reported, not shown as data.
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any
from zlib import crc32

from forge_tui.protocol.record_fields import LATEST_MOMENT, BadField, is_whole
from forge_tui.runs import epoch_rows
from forge_tui.runs.epoch_rows import EPOCHS_TABLE, LARGEST_COUNTER, EpochFormat
from forge_tui.runs.older_epochs import OLDER
from forge_tui.safe_io.printing import named
from forge_tui.safe_io.strict_json import Limits, parse_object

VERSION = 4
KNOWN = (1, 2, 3, 4)
# "frun": identifies the database of a run.
APPLICATION_ID = 0x6672756E

EPOCHS_INDEX = "CREATE INDEX epochs_by_model ON epochs (model_index, seq);\n"
TABLES = f"""
CREATE TABLE run (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    record TEXT NOT NULL, revision INTEGER NOT NULL,
    heartbeat INTEGER NOT NULL, written REAL NOT NULL, last_seq INTEGER NOT NULL, crc INTEGER NOT NULL
);
CREATE TABLE models (
    model_index INTEGER PRIMARY KEY, revision INTEGER NOT NULL, record TEXT NOT NULL, crc INTEGER NOT NULL
);
CREATE INDEX models_by_revision ON models (revision);
{EPOCHS_TABLE}{EPOCHS_INDEX}CREATE TABLE events (seq INTEGER PRIMARY KEY, record TEXT NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE resources (seq INTEGER PRIMARY KEY, time REAL NOT NULL, record TEXT NOT NULL, crc INTEGER NOT NULL);
"""
PATHS_TABLE = """
CREATE TABLE paths (path TEXT PRIMARY KEY, directory INTEGER NOT NULL, crc INTEGER NOT NULL);
"""
"""What the run has created, relative to its directory (`runs.belongings`); since format 3."""
INDEXES = (("models_by_revision", "models"), ("epochs_by_model", "epochs"))
"""Each index and its table."""

WITH_PATHS = 3
"""The first format that has the table `paths`."""
WITH_METRICS = 4
"""The first format whose epochs have metrics by name; older ones have a column per metric (`runs.older_epochs`)."""

_SECONDS = "seconds_so_far"
_RUN = struct.Struct("<qqdq")
_TWO = struct.Struct("<qq")
_SAMPLE = struct.Struct("<qd")
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str, allow_nan=False)

RECORD = Limits(size=64 << 20, values=4_000_000, depth=100, text=1 << 20, unique=False)
"""Limits on the JSON of a row. Duplicate keys are not checked: a snapshot reads thousands of rows."""
_CUT = " … (shortened)"
_DEEPEST_PLAIN = 8


def epoch_format(version: int) -> EpochFormat:
    """How a database of a format version stores its epochs."""
    return epoch_rows.FORMAT if version >= WITH_METRICS else OLDER[version]


def columns(version: int) -> dict[str, tuple[str, ...]]:
    """The columns of each table in a format version."""
    found = {
        "run": ("id", "record", "revision", "heartbeat", "written", "last_seq", "crc"),
        "models": ("model_index", "revision", "record", "crc"),
        "epochs": epoch_format(version).columns,
        "events": ("seq", "record", "crc"),
        "resources": ("seq", "time", "record", "crc"),
    }
    return found if version < WITH_PATHS else {**found, "paths": ("path", "directory", "crc")}


def to_json(record: dict[str, Any]) -> bytes:
    """`record` as compact JSON in UTF-8; values that JSON lacks are written as text, NaN as null.

    Texts beyond the limits of `from_json` are shortened.
    """
    try:
        text = _ENCODER.encode(record)
    except (TypeError, ValueError):  # keys of another type, NaN, or a value that contains itself
        text = _ENCODER.encode(_plain(record))
    if len(text) > RECORD.text:
        text = _ENCODER.encode(_short(json.loads(text)))
    # Process output may have invalid UTF-8 (lone surrogates): it becomes "?".
    return text.encode("utf-8", "replace")


def _plain(value: Any, depth: int = 0) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if depth < _DEEPEST_PLAIN:
        if isinstance(value, dict):
            return {str(key): _plain(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [_plain(item, depth + 1) for item in value]
    return str(value)


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= RECORD.text else value[: RECORD.text - len(_CUT)] + _CUT
    if isinstance(value, dict):
        return {key[: RECORD.text]: _short(item) for key, item in value.items()}
    return [_short(item) for item in value] if isinstance(value, list) else value


def from_json(record: bytes) -> dict[str, Any]:
    """The dict that `to_json` wrote. Raises `ValueError` for anything else."""
    return parse_object(record, RECORD)


def with_seconds(run: bytes, seconds: float | None) -> bytes:
    """The record of the run with its age, which changes with every sign of life."""
    return run if seconds is None else run[:-1] + f',"{_SECONDS}":{seconds!r}}}'.encode()


def without_seconds(record: dict[str, Any]) -> tuple[dict[str, Any], float | None]:
    """Separate what `with_seconds` has joined; None if the age is missing or not a number."""
    seconds = record.pop(_SECONDS, None)
    good = type(seconds) in (int, float) and math.isfinite(seconds) and seconds >= 0
    return record, float(seconds) if good else None


def run_crc(record: bytes, revision: int, heartbeat: int, written: float, last_seq: int) -> int:
    """The checksum of the row of `run`."""
    return crc32(record, crc32(_RUN.pack(revision, heartbeat, written, last_seq)))


def model_crc(index: int, revision: int, record: bytes) -> int:
    """The checksum of a row of `models`."""
    return crc32(record, crc32(_TWO.pack(index, revision)))


def event_crc(seq: int, record: bytes) -> int:
    """The checksum of a row of `events`."""
    return crc32(record, crc32(_TWO.pack(seq, 0)))


def resource_crc(seq: int, time: float, record: bytes) -> int:
    """The checksum of a row of `resources`."""
    return crc32(record, crc32(_SAMPLE.pack(seq, time)))


def path_crc(path: bytes, directory: int) -> int:
    """The checksum of a row of `paths`."""
    return crc32(path, crc32(_TWO.pack(directory, 0)))


def check_run(revision: Any, heartbeat: Any, written: Any, last_seq: Any) -> None:
    """Raise `BadField` if a number in the row of `run` is out of range."""
    numbers = (("revision", revision), ("heartbeat", heartbeat), ("last_seq", last_seq))
    for name, value in numbers:
        if not is_whole(value, LARGEST_COUNTER):
            raise BadField(f"{named(name)} = {value!r:.60} is never written")
    if type(written) not in (int, float) or not 0 <= written <= LATEST_MOMENT:
        raise BadField(f"written = {written!r:.60} is never written")
