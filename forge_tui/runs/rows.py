"""Decodes rows of run.db and checks each: checksum, JSON within limits, fields in range.

A checksum only detects damage: a malicious directory has valid ones. Each function raises one of `ERRORS` for an
invalid row; `why` has the reason in words.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from forge_tui.protocol.model_state import Interner, ModelState
from forge_tui.protocol.record_fields import BadField, check_event, check_sample
from forge_tui.protocol.run_info import RunInfo
from forge_tui.runs import tables
from forge_tui.runs.names import checked_name
from forge_tui.safe_io.strict_json import BadJson

ERRORS = (ValueError, TypeError, KeyError, AttributeError, struct.error, OverflowError, RecursionError)
WRONG_CHECKSUM = "wrong checksum"


def why(error: BaseException) -> str:
    """What is wrong with a row."""
    return str(error) if isinstance(error, BadField | BadJson) else WRONG_CHECKSUM


class RunRow(NamedTuple):
    """The row of `run`: its record, its numbers, and the age of the run (seconds)."""

    info: RunInfo
    revision: int
    heartbeat: int
    written: float
    last_seq: int
    seconds: float | None


def run_of(row: tuple[Any, ...]) -> RunRow:
    """Decode `record, revision, heartbeat, written, last_seq, crc`."""
    record, *numbers, crc = row
    _require(tables.run_crc(record, *numbers), crc)
    tables.check_run(*numbers)
    revision, heartbeat, written, last_seq = numbers
    about, seconds = tables.without_seconds(tables.from_json(record))
    return RunRow(RunInfo.from_record(about), revision, heartbeat, written, last_seq, seconds)


def model_of(row: tuple[Any, ...], interner: Interner, where: object) -> ModelState:
    """Decode `model_index, revision, record, crc`. Raises `RunDirectoryError` for an invalid model name.

    The name becomes part of a path; `where` is the file, for that message.
    """
    index, revision, record, crc = row
    _require(tables.model_crc(index, revision, record), crc)
    about = tables.from_json(record)
    group = about.get("group")
    for name in (about.get("name"), *(group[:1] if isinstance(group, list) else ())):
        checked_name(name, f"model {index} in {where}")
    model = ModelState.from_record(about, interner)
    if model.index != index:
        raise BadField(f"index = {model.index} belongs to another row")
    return model


def is_event(row: tuple[Any, ...]) -> None:
    """Check only the checksum of `seq, record, crc`."""
    seq, record, crc = row
    _require(tables.event_crc(seq, record), crc)


def event_of(row: tuple[Any, ...]) -> dict[str, Any]:
    """Decode `seq, record, crc`."""
    is_event(row)
    record = tables.from_json(row[1])
    check_event(record)
    return record


def sample_of(row: tuple[Any, ...]) -> dict[str, Any]:
    """Decode `seq, time, record, crc`."""
    seq, time, text, crc = row
    _require(tables.resource_crc(seq, time, text), crc)
    record = tables.from_json(text)
    check_sample(record)
    return record


def _require(found: int, crc: Any) -> None:
    if found != crc:
        raise ValueError(WRONG_CHECKSUM)
