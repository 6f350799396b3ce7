"""What a look at a table has found, for whoever shows it: also what `forge-tui data --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnLook:
    """A column. `range` has least and largest value of numbers and dates (in seconds since 1970); else `top` has the
    most frequent values with their counts. `histogram`: counts of equal steps of the range, or None.

    `kind` is `number`, `category`, `boolean`, `date` or `left_out`, for the target `number` or `category`. `refused`:
    a run refuses the column, for the reason.
    """

    name: str
    kind: str
    reason: str
    missing: int
    distinct: int
    range: tuple[float, float] | None = None
    top: tuple[tuple[str, int], ...] = ()
    histogram: tuple[int, ...] | None = None
    refused: bool = False

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> ColumnLook:
        """The column of a record."""
        ends, counts = record["range"], record["histogram"]
        return cls(
            name=str(record["name"]),
            kind=str(record["kind"]),
            reason=str(record["reason"]),
            missing=int(record["missing"]),
            distinct=int(record["distinct"]),
            range=None if ends is None else (float(ends[0]), float(ends[1])),
            top=tuple((str(value), int(count)) for value, count in record["top"]),
            histogram=None if counts is None else tuple(int(count) for count in counts),
            refused=bool(record["refused"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TableLook:
    """All columns in the file's order. `rows` are those that were looked at; `sample` says which part of the file
    they are (None: all of it).

    `target` is None if none is chosen. `problem`: why it cannot be predicted; else `class_names` has its classes, or is
    None for a regression. `format` has encoding, separator, decimal mark and header of a text table. `split` in words.
    """

    file: str
    rows: int
    sample: str | None
    format: Mapping[str, Any] | None
    target: str | None
    problem: str | None
    task_reason: str | None
    class_names: tuple[Any, ...] | None
    rows_left_out: int | None
    split: str | None
    columns: tuple[ColumnLook, ...]

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict; `TableLook.from_record` reads it."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> TableLook:
        """The look of a record."""
        names = record["class_names"]
        columns = tuple(ColumnLook.from_record(column) for column in record["columns"])
        same = ("file", "rows", "sample", "format", "target", "problem", "task_reason", "rows_left_out", "split")
        return cls(
            **{name: record[name] for name in same},
            class_names=None if names is None else tuple(names),
            columns=columns,
        )
