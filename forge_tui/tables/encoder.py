"""Turns the columns of a table into numbers: learned from the training rows, stored with the model, applied again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forge_tui.tables.column_encodings import (
    BooleanEncoding,
    CategoryEncoding,
    ColumnEncoding,
    DateEncoding,
    NumberEncoding,
)
from forge_tui.tables.kinds import Column, Kind
from forge_tui.tables.missing import numbers_among, words_with
from forge_tui.tables.table import Table, positions_of

VERSION = 2
"""Of `Encoder.to_record`. Version 1 is none: numbers as they are, in the order of the file's columns."""

_FITTED: dict[Kind, type[ColumnEncoding]] = {
    Kind.NUMBER: NumberEncoding,
    Kind.CATEGORY: CategoryEncoding,
    Kind.BOOLEAN: BooleanEncoding,
    Kind.DATE: DateEncoding,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """Encodes tables with the columns of the training data. `missing` are the words of `data.missing`."""

    columns: tuple[ColumnEncoding, ...]
    missing: tuple[str, ...] = ()

    @classmethod
    def fit(cls, columns: Sequence[Column], rows: np.ndarray, missing: Sequence[str]) -> Encoder:
        """Learn from the training `rows` (int64, positions) of columns that are not left out."""
        fitted = tuple(
            _FITTED[column.kind].fit(column, column.values.gather(rows))
            for column in columns
            if column.values is not None and column.kind is not Kind.LEFT_OUT
        )
        return cls(columns=fitted, missing=tuple(missing))

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the columns that are used."""
        return tuple(column.name for column in self.columns)

    @property
    def outputs(self) -> tuple[str, ...]:
        """A name for each encoded number."""
        return tuple(name for column in self.columns for name in column.outputs)

    @property
    def plain_numbers(self) -> tuple[str, ...]:
        """The columns of numbers, unless some numbers mean a missing value."""
        if numbers_among(words_with(self.missing)):
            return ()
        return tuple(column.name for column in self.columns if isinstance(column, NumberEncoding))

    @property
    def is_indicator(self) -> tuple[bool, ...]:
        """Which encoded numbers are 0 or 1 by their meaning, and are not scaled."""
        return tuple(flag for column in self.columns for flag in column.is_indicator)

    def encode_columns(self, columns: Sequence[Column]) -> np.ndarray:
        """The encoded rows, float32 (N, outputs), of columns in the order of `self.columns`, without left-out ones."""
        used = [column for column in columns if column.values is not None]
        rows = 0 if not used else len(used[0].values)  # type: ignore[arg-type]
        found = np.empty((rows, len(self.outputs)), dtype=np.float32)
        begin = 0
        for encoding, column in zip(self.columns, used, strict=True):
            assert column.values is not None
            end = begin + len(encoding.outputs)
            encoding.encode(column.values, found[:, begin:end])
            begin = end
        return found

    def encode(self, table: Table) -> np.ndarray:
        """The encoded rows, float32 (N, outputs), of any table with the columns by name; others are ignored.

        Raises `DataError` naming missing columns, and values that do not fit a column's kind with their row.
        """
        places = positions_of(table, self.features)
        words = words_with(self.missing)
        found = np.empty((table.rows, len(self.outputs)), dtype=np.float32)
        begin = 0
        for encoding, place in zip(self.columns, places, strict=True):
            end = begin + len(encoding.outputs)
            encoding.encode_column(table, place, words, found[:, begin:end])
            begin = end
        return found

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict; `from_record` reads it."""
        return {
            "version": VERSION,
            "missing": list(self.missing),
            "columns": [column.to_record() for column in self.columns],
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Encoder:
        """The encoder of a record. Raises `ValueError` for a damaged one, and for one of a newer version."""
        try:
            if record["version"] != VERSION:
                raise ValueError(f"its encoder is of version {record['version']!r}, and this forge-tui knows {VERSION}")
            columns = tuple(
                _FITTED[Kind(one["kind"])].from_record({key: one[key] for key in one if key != "kind"})
                for one in record["columns"]
            )
            return cls(columns=columns, missing=tuple(str(word) for word in record["missing"]))
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"no record of an encoder: {type(error).__name__}: {error}") from None


def recorded_encoder(record: Mapping[str, Any]) -> Encoder | None:
    """The encoder in a checkpoint's record or in NAME.json; None without one. Raises `ValueError`, as `from_record`."""
    found = record.get("table")
    return None if found is None else Encoder.from_record(found)
