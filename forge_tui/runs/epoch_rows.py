"""The rows of the table `epochs` of run.db: one per epoch and model, with the metrics as JSON by name."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zlib import crc32

from forge_tui.protocol.metrics import LONGEST_NAME, MOST_METRICS, Metrics, is_metric_table
from forge_tui.protocol.record_fields import DURATIONS, LATEST_MOMENT, LONGEST_SECONDS, MOST_MODELS, BadField, is_whole
from forge_tui.safe_io.printing import named
from forge_tui.safe_io.strict_json import LARGEST_INTEGER

if TYPE_CHECKING:
    from forge_tui.protocol.events import EpochFinished

Row = tuple[Any, ...]
"""A row as SQLite gives it, text as bytes, its `crc` last."""

EPOCHS_TABLE = """CREATE TABLE epochs (
    seq INTEGER PRIMARY KEY,
    model_index INTEGER NOT NULL, attempt INTEGER NOT NULL, epoch INTEGER NOT NULL, epochs INTEGER NOT NULL,
    step INTEGER NOT NULL, diverged INTEGER NOT NULL, time REAL NOT NULL,
    best_loss REAL, seconds REAL, eta_seconds REAL,
    metrics TEXT NOT NULL, model TEXT NOT NULL, crc INTEGER NOT NULL
);
"""
WHOLE_COLUMNS = ("seq", "model_index", "attempt", "epoch", "epochs", "step", "diverged")
"""The first columns of every format; `time` follows."""
NUMBERS = ("best_loss", "seconds", "eta_seconds")
COLUMNS = (*WHOLE_COLUMNS, "time", *NUMBERS, "metrics", "model", "crc")

LARGEST_COUNTER = 2**53
"""The largest number of a transaction or a row: a thousand per second for a thousand years."""
LONGEST_MODEL = 1 << 20
"""Maximum length of a model's name (bytes); a run directory's own limit is much lower."""
EPOCH_PLACE = COLUMNS.index("epoch")
INDEX_PLACE = COLUMNS.index("model_index")

_NUMBERS_AT = len(WHOLE_COLUMNS) + 1
_METRICS_AT = COLUMNS.index("metrics")
_PACKED = struct.Struct(f"<7q{1 + len(NUMBERS)}d")
_LONGEST_METRICS = MOST_METRICS * (6 * LONGEST_NAME + 40)
# A quick check before `is_metric_table`: there are millions of rows.
_DECODE: Callable[[str], Any] = json.JSONDecoder().decode
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochFormat:
    """How a database keeps its epochs.

    `metrics` reads those of a row; it raises `ValueError` (`BadField` if the checksum is right), `TypeError` or
    `struct.error` for an invalid row. `event` makes the event of a row and its metrics, and says whether a number of
    it diverged. `value` is SQL for the metric `:name`, whose JSON path is `:path`.
    """

    columns: tuple[str, ...]
    select: str
    metrics: Callable[[Row], Metrics]
    event: Callable[[Row, Metrics], tuple[EpochFinished, bool]]


def epoch_row(seq: int, event: EpochFinished) -> Row:
    """The row of an event: NaN and infinity become NULL with `diverged` set.

    Raises `ValueError`, `TypeError`, `OverflowError` or `struct.error` if a field is not a number that fits.
    """
    diverged = 0
    metrics: Metrics = {}
    for name, value in event.metrics.items():
        if value is not None and value - value != 0.0:  # NaN or infinite; a fifth of the time of math.isfinite by name
            value, diverged = None, 1
        metrics[name] = value
    numbers: list[float | None] = []
    for value in (event.best_loss, event.seconds, event.eta_seconds):
        if value is not None:
            value = float(value) + 0.0  # SQLite stores -0.0 as 0.0: so must the checksum
            if value - value != 0.0:
                value, diverged = None, 1
        numbers.append(value)
    text, model = _ENCODER.encode(metrics).encode(), event.model.encode("utf-8", "replace")
    whole = (int(event.index), int(event.attempt), int(event.epoch), int(event.epochs or 0), int(event.step))
    head = (seq, *whole, diverged, float(event.time), *numbers)
    return (*head, text.decode(), model.decode(), _crc(head, text, model))


def _crc(head: Row, metrics: bytes, model: bytes) -> int:
    """The checksum of a row; NULL counts as NaN."""
    packed = _PACKED.pack(*[math.nan if value is None else value for value in head])
    return crc32(model, crc32(metrics, crc32(packed)))


def row_crc(row: Row) -> int:
    """The checksum of a row without its `crc`, text as bytes."""
    return _crc(row[:_METRICS_AT], row[_METRICS_AT], row[_METRICS_AT + 1])


def _metrics(row: Row) -> Metrics:
    """The metrics of a row. Raises as `EpochFormat.metrics`."""
    if row_crc(row[:-1]) != row[-1]:
        raise ValueError("wrong checksum")
    check_numbers(row, NUMBERS, row[_NUMBERS_AT:_METRICS_AT])
    text: bytes = row[_METRICS_AT]
    found: Any = _DECODE(text.decode()) if len(text) <= _LONGEST_METRICS else None
    if not is_metric_table(found):
        raise BadField(f"metrics = {text!r:.60} is never written")
    metrics: Metrics = found
    return metrics


def check_numbers(row: Row, names: tuple[str, ...], numbers: Row) -> None:
    """Raise `BadField` if the whole numbers, the time, `numbers` or the name of a row are out of range.

    Its checksum was right, so its numbers are numbers. There are millions of rows: only bad ones are checked field by
    field.
    """
    seq, index, *_, diverged = row[: len(WHOLE_COLUMNS)]
    time, model = row[len(WHOLE_COLUMNS)], row[-2]
    is_good = min(row[: len(WHOLE_COLUMNS)]) >= 0 and seq <= LARGEST_COUNTER and index <= MOST_MODELS and diverged <= 1
    is_good = is_good and 0 <= time <= LATEST_MOMENT and len(model) <= LONGEST_MODEL
    if is_good and all(value is None or -LONGEST_SECONDS <= value <= LONGEST_SECONDS for value in numbers):
        return
    most = {"seq": LARGEST_COUNTER, "model_index": MOST_MODELS, "diverged": 1}
    for name, value in zip(WHOLE_COLUMNS, row, strict=False):
        if not is_whole(value, most.get(name, LARGEST_INTEGER)):
            raise BadField(f"{named(name)} = {value!r:.60} is never written")
    if not 0 <= time <= LATEST_MOMENT:
        raise BadField(f"time = {time!r:.60} is never written")
    for name, value in zip(names, numbers, strict=True):
        longest = LONGEST_SECONDS if name in DURATIONS else math.inf
        if value is not None and (value - value != 0.0 or abs(value) > longest):
            raise BadField(f"{named(name)} = {value!r:.60} is never written")
    if len(model) > LONGEST_MODEL:
        raise BadField("model is a very long text")


def _event(row: Row, metrics: Metrics) -> tuple[EpochFinished, bool]:
    return event_of(row, metrics, *row[_NUMBERS_AT:_METRICS_AT])


def event_of(
    row: Row, metrics: Metrics, best_loss: float | None, seconds: float | None, eta_seconds: float | None
) -> tuple[EpochFinished, bool]:
    """The event of a row of any format, and whether a number of it diverged."""
    from forge_tui.protocol.events import EpochFinished  # here: a viewer's start does not need it

    _, index, attempt, epoch, epochs, step, diverged, time = row[: len(WHOLE_COLUMNS) + 1]
    if diverged and metrics.get("loss", 0.0) is None:
        metrics = {**metrics, "loss": math.nan}
    event = EpochFinished(
        time=time, model=row[-2].decode(), index=index, attempt=attempt, epoch=epoch, epochs=epochs or None,
        step=step,
        metrics=metrics, best_loss=best_loss, seconds=seconds, eta_seconds=eta_seconds,
    )  # fmt: skip
    return event, bool(diverged)


FORMAT = EpochFormat(
    columns=COLUMNS,
    select=f"SELECT {', '.join(COLUMNS)} FROM epochs",
    metrics=_metrics,
    event=_event,
)
