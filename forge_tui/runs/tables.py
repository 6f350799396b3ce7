"""The tables of run.db and the checksums of their rows: what `store` writes and `reader` reads.

`seq` numbers events and epochs together, from 1 without gaps: they merge in order, and a missing row is noticed.
Every row carries a CRC-32 over its key and its content, so that damage is reported and never shown as a number.
"""

from __future__ import annotations

import json
import math
import struct
from typing import TYPE_CHECKING, Any
from zlib import crc32

from forge_tui.protocol.record_fields import DURATIONS, LATEST_MOMENT, LONGEST_SECONDS, MOST_MODELS, BadField, is_whole
from forge_tui.safe_io.printing import named
from forge_tui.safe_io.strict_json import LARGEST_INTEGER, Limits, parse_object

if TYPE_CHECKING:
    from forge_tui.protocol.events import EpochFinished

VERSION = 3
KNOWN = (1, 2, 3)
# "frun": told apart from any other SQLite database.
APPLICATION_ID = 0x6672756E

TABLES = """
CREATE TABLE run (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    record TEXT NOT NULL, revision INTEGER NOT NULL,
    heartbeat INTEGER NOT NULL, written REAL NOT NULL, last_seq INTEGER NOT NULL, crc INTEGER NOT NULL
);
CREATE TABLE models (
    model_index INTEGER PRIMARY KEY, revision INTEGER NOT NULL, record TEXT NOT NULL, crc INTEGER NOT NULL
);
CREATE INDEX models_by_revision ON models (revision);
CREATE TABLE epochs (
    seq INTEGER PRIMARY KEY,
    model_index INTEGER NOT NULL, attempt INTEGER NOT NULL, epoch INTEGER NOT NULL, epochs INTEGER NOT NULL,
    step INTEGER NOT NULL, diverged INTEGER NOT NULL, time REAL NOT NULL,
    loss REAL, best_loss REAL, validation_loss REAL, validation_accuracy REAL, validation_perplexity REAL,
    learning_rate REAL, seconds REAL, steps_per_second REAL, eta_seconds REAL, validation_metric REAL,
    model TEXT NOT NULL, crc INTEGER NOT NULL
);
CREATE INDEX epochs_by_model ON epochs (model_index, seq);
CREATE TABLE events (seq INTEGER PRIMARY KEY, record TEXT NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE resources (seq INTEGER PRIMARY KEY, time REAL NOT NULL, record TEXT NOT NULL, crc INTEGER NOT NULL);
"""
PATHS_TABLE = """
CREATE TABLE paths (path TEXT PRIMARY KEY, directory INTEGER NOT NULL, crc INTEGER NOT NULL);
"""
"""What the run has created, relative to its directory (`runs.belongings`); since format 3."""
INDEXES = (("models_by_revision", "models"), ("epochs_by_model", "epochs"))
"""Each index and its table."""

EPOCH_NUMBERS = (
    "loss", "best_loss", "validation_loss", "validation_accuracy", "validation_perplexity", "learning_rate", "seconds",
    "steps_per_second", "eta_seconds", "validation_metric",
)  # fmt: skip
EPOCH_COLUMNS = (
    "seq", "model_index", "attempt", "epoch", "epochs", "step", "diverged", "time", *EPOCH_NUMBERS, "model", "crc",
)  # fmt: skip

ADDED_IN_2 = "validation_metric"
"""What format 1 lacks of the numbers of `epochs`; its checksums are those of rows without it."""

LARGEST_COUNTER = 2**53
"""Of numbers that count transactions and rows: more than a thousand a second for a thousand years."""

WITH_PATHS = 3
"""The first format that has the table `paths`."""

_NUMBERS = len(EPOCH_NUMBERS)
_SECONDS = "seconds_so_far"
_EPOCH = struct.Struct(f"<7q{_NUMBERS}d")
_METRIC = struct.Struct("<d")
_RUN = struct.Struct("<qqdq")
_TWO = struct.Struct("<qq")
_SAMPLE = struct.Struct("<qd")
_NAN = math.nan
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str, allow_nan=False)

RECORD = Limits(size=64 << 20, values=4_000_000, depth=100, text=1 << 20, unique=False)
"""How much JSON a row may hold. A key that is given twice is not looked for: there are thousands of rows at a look."""
_CUT = " … (shortened)"
_DEEPEST_PLAIN = 8


def columns(version: int) -> dict[str, tuple[str, ...]]:
    """The columns of each table of a database of a format."""
    found = {
        "run": ("id", "record", "revision", "heartbeat", "written", "last_seq", "crc"),
        "models": ("model_index", "revision", "record", "crc"),
        "epochs": tuple(name for name in EPOCH_COLUMNS if version > 1 or name != ADDED_IN_2),
        "events": ("seq", "record", "crc"),
        "resources": ("seq", "time", "record", "crc"),
    }
    return found if version < WITH_PATHS else {**found, "paths": ("path", "directory", "crc")}


def epoch_select(version: int) -> str:
    """The query for all rows of `epochs`, in the order of `EPOCH_COLUMNS`, in a database of a format."""
    columns = (f"NULL AS {name}" if version == 1 and name == ADDED_IN_2 else name for name in EPOCH_COLUMNS)
    return f"SELECT {', '.join(columns)} FROM epochs"


def to_json(record: dict[str, Any]) -> bytes:
    """`record` as compact JSON in UTF-8; values that JSON does not know are written as their text, NaN as null.

    Texts longer than those that `from_json` reads are shortened.
    """
    try:
        text = _ENCODER.encode(record)
    except (TypeError, ValueError):  # keys of another type, NaN, or a value that holds itself
        text = _ENCODER.encode(_plain(record))
    if len(text) > RECORD.text:
        text = _ENCODER.encode(_short(json.loads(text)))
    # Output of a process may hold bytes that were no UTF-8 (lone surrogates): they become "?".
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
    """The record of the run with how long it has gone on, which changes with every sign of life."""
    return run if seconds is None else run[:-1] + f',"{_SECONDS}":{seconds!r}}}'.encode()


def without_seconds(record: dict[str, Any]) -> tuple[dict[str, Any], float | None]:
    """What `with_seconds` put together; None where it is missing or no number."""
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


def epoch_crc(row: tuple[Any, ...]) -> int:
    """The checksum of a row of `epochs`, given without its `crc`; `model` as bytes. NULL counts as NaN.

    A row without a custom metric has the checksum that it has in format 1.
    """
    *numbers, metric = (_NAN if value is None else value for value in row[7:-1])
    crc = crc32(row[-1], crc32(_EPOCH.pack(*row[:7], *numbers)))
    return crc if row[-2] is None else crc32(_METRIC.pack(metric), crc)


def check_run(revision: Any, heartbeat: Any, written: Any, last_seq: Any) -> None:
    """Raise `BadField` where the numbers of the row of `run` cannot be what a runner wrote."""
    numbers = (("revision", revision), ("heartbeat", heartbeat), ("last_seq", last_seq))
    for name, value in numbers:
        if not is_whole(value, LARGEST_COUNTER):
            raise BadField(f"{named(name)} = {value!r:.60} is never written")
    if type(written) not in (int, float) or not 0 <= written <= LATEST_MOMENT:
        raise BadField(f"written = {written!r:.60} is never written")


def check_epoch(row: tuple[Any, ...]) -> None:
    """Raise `BadField` where a row of `epochs` (as of `epoch_select`) holds what is never written.

    Its checksum was right, so that its numbers are numbers. There are millions of rows: only one that is wrong is
    looked at field by field.
    """
    seq, index, _, _, _, _, diverged, time, *numbers, model, _ = row
    is_good = min(row[:7]) >= 0 and seq <= LARGEST_COUNTER and index <= MOST_MODELS and diverged <= 1
    is_good = is_good and 0 <= time <= LATEST_MOMENT and len(model) <= RECORD.text
    if is_good and all(value is None or -LONGEST_SECONDS <= value <= LONGEST_SECONDS for value in numbers):
        return
    whole = {"seq": LARGEST_COUNTER, "model_index": MOST_MODELS, "diverged": 1}
    for name, value in zip(EPOCH_COLUMNS[:7], row, strict=False):
        if not is_whole(value, whole.get(name, LARGEST_INTEGER)):
            raise BadField(f"{named(name)} = {value!r:.60} is never written")
    if not 0 <= time <= LATEST_MOMENT:
        raise BadField(f"time = {time!r:.60} is never written")
    for name, value in zip(EPOCH_NUMBERS, numbers, strict=True):
        longest = LONGEST_SECONDS if name in DURATIONS else math.inf
        if value is not None and (value - value != 0.0 or abs(value) > longest):
            raise BadField(f"{named(name)} = {value!r:.60} is never written")
    if len(model) > RECORD.text:
        raise BadField("model is a very long text")


def epoch_row(seq: int, event: EpochFinished) -> tuple[Any, ...]:
    """The row of `epochs` for `event`: NaN and infinity become NULL with `diverged` set.

    Raises `ValueError`, `TypeError`, `OverflowError` or `struct.error` where a field is no number that fits.
    """
    diverged = 0
    numbers: list[float | None] = []
    for value in (
        event.loss, event.best_loss, event.validation_loss, event.validation_accuracy, event.validation_perplexity,
        event.learning_rate, event.seconds, event.steps_per_second, event.eta_seconds, event.validation_metric,
    ):  # fmt: skip
        if value is not None:
            value = float(value) + 0.0  # SQLite keeps -0.0 as 0.0: so must the checksum
            if value - value != 0.0:  # NaN or infinite; a fifth of the time of math.isfinite by name
                value, diverged = None, 1
        numbers.append(value)
    name = event.model.encode("utf-8", "replace")
    whole = (int(event.index), int(event.attempt), int(event.epoch), int(event.epochs), int(event.step))
    head = (seq, *whole, diverged, float(event.time))
    row = (*head, *numbers, name)
    return (*head, *numbers, name.decode(), epoch_crc(row))


def epoch_of(row: tuple[Any, ...]) -> tuple[EpochFinished, bool]:
    """The event of a row of `epochs` (without its `crc`, `model` as bytes), and whether a number in it diverged."""
    from forge_tui.protocol.events import EpochFinished  # here: a viewer that shows no epoch starts without it

    _, index, attempt, epoch, epochs, step, diverged, time, *numbers, model = row
    values: dict[str, float | None] = dict(zip(EPOCH_NUMBERS, numbers, strict=True))
    if diverged and values["loss"] is None:
        values["loss"] = _NAN
    loss, best_loss = values.pop("loss"), values.pop("best_loss")
    event = EpochFinished(
        time=time, model=model.decode(), index=index, attempt=attempt, epoch=epoch, epochs=epochs, step=step,
        loss=loss, best_loss=best_loss, **values,
    )  # fmt: skip
    return event, bool(diverged)
