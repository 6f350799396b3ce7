"""Where a finished model errs: its confusion matrix and its worst rows, as NAME.json has them. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from forge_tui.protocol.record_fields import is_number, is_whole

MOST_CLASSES = 30
"""The classes of the largest matrix that is recorded; of more, the most confused pairs."""
MOST_PAIRS = 50
MOST_ROWS = 20
_LONGEST = 200

Value = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """How many samples of a class were taken for another one."""

    true: Value
    predicted: Value
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Either the `matrix` of counts, by true class and in each by predicted class, or the most frequent `mistakes`."""

    classes: tuple[Value, ...] = ()
    matrix: tuple[tuple[int, ...], ...] = ()
    mistakes: tuple[Mistake, ...] = ()

    def most_confused(self) -> tuple[Mistake, ...]:
        """The pairs of classes that are confused, the most frequent first."""
        if not self.matrix:
            return self.mistakes
        found = [
            Mistake(true=true, predicted=predicted, count=count)
            for place, (true, row) in enumerate(zip(self.classes, self.matrix, strict=True))
            for other, (predicted, count) in enumerate(zip(self.classes, row, strict=True))
            if count and other != place
        ]
        return tuple(sorted(found, key=lambda mistake: -mistake.count))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstRow:
    """A sample with a large loss. `row`: its place in its source, 1 for the first; None: it has none."""

    row: int | None
    loss: float | None
    true: Value | None
    predicted: Value | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDetails:
    """What was measured on `split`, `validation` or `test`, with the weights of the finished model."""

    split: str = "validation"
    confusion: Confusion | None = None
    worst: tuple[WorstRow, ...] = ()

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict."""
        record = asdict(self)
        if self.confusion is not None:
            empty = ("mistakes",) if self.confusion.matrix else ("classes", "matrix")
            record["confusion"] = {name: value for name, value in record["confusion"].items() if name not in empty}
        shortened: dict[str, Any] = _shortened(record)
        return shortened

    @classmethod
    def from_record(cls, record: Any) -> ModelDetails:
        """The details of a record, which may be anything: what is never written is left out."""
        if not isinstance(record, Mapping):
            return cls()
        split, worst = record.get("split"), record.get("worst")
        rows = worst[:MOST_ROWS] if isinstance(worst, list) else []
        return cls(
            split=split if split in ("validation", "test") else "validation",
            confusion=_confusion(record.get("confusion")),
            worst=tuple(row for one in rows if (row := _worst(one)) is not None),
        )


def _shortened(value: Any) -> Any:
    """With lists, and with the beginning of long texts."""
    if isinstance(value, dict):
        return {name: _shortened(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_shortened(one) for one in value]
    if isinstance(value, str):
        return value if len(value) <= _LONGEST else f"{value[: _LONGEST - 1]}…"
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_value(value: Any) -> bool:
    return isinstance(value, str | bool) or is_number(value)


def _confusion(record: Any) -> Confusion | None:
    if not isinstance(record, Mapping):
        return None
    classes, matrix, mistakes = (record.get(name) for name in ("classes", "matrix", "mistakes"))
    if isinstance(mistakes, list):
        return Confusion(mistakes=tuple(found for one in mistakes[:MOST_PAIRS] if (found := _mistake(one)) is not None))
    if not isinstance(classes, list) or not isinstance(matrix, list) or not 0 < len(classes) <= MOST_CLASSES:
        return None
    is_square = len(matrix) == len(classes) and all(
        isinstance(row, list) and len(row) == len(classes) and all(map(is_whole, row)) for row in matrix
    )
    if not is_square or not all(map(_is_value, classes)):
        return None
    return Confusion(classes=tuple(classes), matrix=tuple(map(tuple, matrix)))


def _mistake(record: Any) -> Mistake | None:
    if not isinstance(record, Mapping):
        return None
    true, predicted, count = (record.get(name) for name in ("true", "predicted", "count"))
    if not (_is_value(true) and _is_value(predicted) and is_whole(count)):
        return None
    return Mistake(true=true, predicted=predicted, count=count)  # type: ignore[arg-type]


def _worst(record: Any) -> WorstRow | None:
    if not isinstance(record, Mapping):
        return None
    row, loss, true, predicted = (record.get(name) for name in ("row", "loss", "true", "predicted"))
    is_known = (row is None or is_whole(row)) and (loss is None or is_number(loss))
    if not is_known or not all(value is None or _is_value(value) for value in (true, predicted)):
        return None
    return WorstRow(row=row, loss=loss, true=true, predicted=predicted)
