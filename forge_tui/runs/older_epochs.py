"""The rows of `epochs` in databases of older formats, which have one column per metric."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING
from zlib import crc32

from forge_tui.protocol.metrics import Metrics
from forge_tui.protocol.record_fields import BadField
from forge_tui.runs.epoch_rows import WHOLE_COLUMNS, EpochFormat, Row, check_numbers, event_of

if TYPE_CHECKING:
    from forge_tui.protocol.events import EpochFinished

NUMBERS = (
    "loss", "best_loss", "validation_loss", "validation_accuracy", "validation_perplexity", "learning_rate", "seconds",
    "steps_per_second", "eta_seconds", "validation_metric",
)  # fmt: skip
_COLUMNS = (*WHOLE_COLUMNS, "time", *NUMBERS, "model", "crc")
# Format 1 lacks it; its rows' checksums do not include it.
_ADDED_IN_2 = "validation_metric"
_NO_METRICS = frozenset(("best_loss", "seconds", "eta_seconds"))

_EPOCH = struct.Struct(f"<7q{len(NUMBERS)}d")
_METRIC = struct.Struct("<d")


def row_crc(row: Row) -> int:
    """The checksum of a row without its `crc`, `model` as bytes. NULL counts as NaN."""
    *numbers, metric = (math.nan if value is None else value for value in row[7:-1])
    crc = crc32(row[-1], crc32(_EPOCH.pack(*row[:7], *numbers)))
    return crc if row[-2] is None else crc32(_METRIC.pack(metric), crc)


def _numbers(row: Row) -> Row:
    return row[len(WHOLE_COLUMNS) + 1 : -2]


def _metrics(row: Row) -> Metrics:
    if row_crc(row[:-1]) != row[-1]:
        raise ValueError("wrong checksum")
    numbers = _numbers(row)
    check_numbers(row, NUMBERS, numbers)
    found = {
        name: value
        for name, value in zip(NUMBERS, numbers, strict=True)
        if name not in _NO_METRICS and (value is not None or name == "loss")
    }
    accuracy = found.get("validation_accuracy")
    if accuracy is not None and not 0 <= accuracy <= 1:
        raise BadField(f"validation_accuracy = {accuracy!r:.60} is never written")
    return found


def _event(row: Row, metrics: Metrics) -> tuple[EpochFinished, bool]:
    known = dict(zip(NUMBERS, _numbers(row), strict=True))
    return event_of(row, metrics, known["best_loss"], known["seconds"], known["eta_seconds"])


def _format(version: int) -> EpochFormat:
    columns = tuple(name for name in _COLUMNS if version > 1 or name != _ADDED_IN_2)
    chosen = (name if name in columns else f"NULL AS {name}" for name in _COLUMNS)
    return EpochFormat(
        columns=columns,
        select=f"SELECT {', '.join(chosen)} FROM epochs",
        metrics=_metrics,
        event=_event,
    )


OLDER = {version: _format(version) for version in (1, 2, 3)}
"""By the version of the database."""
