"""How the values of one column become numbers, per kind. All is learned from the training rows."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from forge_tui.errors import DataError
from forge_tui.tables.dates import HOURS, seconds_of
from forge_tui.tables.kinds import Column, Kind, booleans_of, first_row, texts_of
from forge_tui.tables.missing import filled, numbers_among
from forge_tui.tables.numbers import numbers_of
from forge_tui.tables.table import Table

if TYPE_CHECKING:
    import polars

_MOST_LEVELS = 100
_DAY = 86_400.0
_YEAR = 365.2425 * _DAY
# The first Monday after 1 January 1970, a Thursday.
_MONDAY = 4 * _DAY
_PERIODS = {"year": (_YEAR, 0.0), "week": (7 * _DAY, _MONDAY), "day": (_DAY, 0.0)}
_HALF_ULP = 2.0**-24
# Rounding to float32 may cost this share of a column's deviation.
_LOSS = 1e-3
_LARGEST, _LEAST = 1e30, 1e-30


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnEncoding(ABC):
    """The encoding of the column `name`."""

    kind: ClassVar[Kind]
    name: str

    @classmethod
    @abstractmethod
    def fit(cls, column: Column, values: polars.Series) -> Self:
        """Learn from the training rows' `values`, which are in the form of `Column.values`."""

    @property
    @abstractmethod
    def outputs(self) -> tuple[str, ...]:
        """A name for each number that a value becomes."""

    @property
    @abstractmethod
    def is_indicator(self) -> tuple[bool, ...]:
        """Which of them are 0 or 1 by their meaning."""

    @abstractmethod
    def encode(self, values: polars.Series, into: np.ndarray) -> None:
        """Write the numbers of N values in the form of `Column.values` into float32 (N, outputs)."""

    @abstractmethod
    def read(self, table: Table, position: int, words: frozenset[str]) -> polars.Series:
        """The values of a table's column in the form of `Column.values`. Raises `DataError` with the row."""

    def encode_column(self, table: Table, position: int, words: frozenset[str], into: np.ndarray) -> None:
        """Write the numbers of a table's column into float32 (N, outputs). Raises as `read`."""
        self.encode(self.read(table, position, words), into)

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict; `from_record` reads it."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {
            "kind": self.kind.value,
            **{name: list(value) if isinstance(value, tuple) else value for name, value in values.items()},
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The encoding of a record. Raises `TypeError` for other keys than its own."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in record.items()
        }
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class _OneNumber(ColumnEncoding):
    """One number, `fill` for missing values, and an indicator of these if training had any."""

    fill: float
    indicator: bool = False

    @property
    def outputs(self) -> tuple[str, ...]:
        return (self.name, f"{self.name} is missing") if self.indicator else (self.name,)

    @property
    def is_indicator(self) -> tuple[bool, ...]:
        return (False, True) if self.indicator else (False,)

    def encode(self, values: polars.Series, into: np.ndarray) -> None:
        into[:, 0] = self.numbers(values.fill_null(self.fill) if values.null_count() else values)
        if self.indicator:
            into[:, 1] = values.is_null().to_numpy()

    @abstractmethod
    def numbers(self, values: polars.Series) -> np.ndarray:
        """The numbers (N,) of N values, of which none is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberEncoding(_OneNumber):
    """(value - offset) / scale in float64, with `fill` for missing values, and an indicator of these.

    Offset and scale are 0 and 1 unless float32 could not tell the column's numbers apart without them: the network
    scales features itself. `words`: other text than numbers is missing, as in training.
    """

    kind = Kind.NUMBER
    offset: float = 0.0
    scale: float = 1.0
    words: bool = False

    @classmethod
    def fit(cls, column: Column, values: polars.Series) -> Self:
        """See `ColumnEncoding.fit`; `fill` is the median."""
        fill = values.median()
        exact = values.drop_nulls().to_numpy()
        offset, scale = exact_scale(exact)
        return cls(
            name=column.name,
            fill=0.0 if fill is None else float(fill),  # type: ignore[arg-type]
            offset=offset,
            scale=scale,
            indicator=values.null_count() > 0,
            words=column.words > 0,
        )

    def numbers(self, values: polars.Series) -> np.ndarray:
        return _single(values.to_numpy(), self.offset, self.scale)

    def encode_column(self, table: Table, position: int, words: frozenset[str], into: np.ndarray) -> None:
        raw = table.column(position)
        plain = None if numbers_among(words) else _plain_numbers(raw, table.decimal)
        if plain is not None:
            # Of numbers that are all finite the rest would change none, and takes six times as long.
            filled_up = plain.fill_null(self.fill) if plain.null_count() else plain
            with np.errstate(over="ignore"):
                into[:, 0] = _scaled(filled_up.to_numpy(), self.offset, self.scale)
            if np.isfinite(into[:, 0]).all():
                if self.indicator:
                    into[:, 1] = plain.is_null().to_numpy()
                return
        self.encode(self.read(table, position, words), into)

    def read(self, table: Table, position: int, words: frozenset[str]) -> polars.Series:
        values = filled(table.column(position), words)
        found = numbers_of(values, table.decimal)
        if not self.words:
            _check_known(values, found, table, position, "a number")
        infinite = found.is_infinite()
        return found.set(infinite.fill_null(value=False), None) if infinite.any() else found


@dataclass(frozen=True, slots=True, kw_only=True)
class BooleanEncoding(_OneNumber):
    """0 or 1, with the training rows' mean for missing values, and an indicator of these."""

    kind = Kind.BOOLEAN

    @classmethod
    def fit(cls, column: Column, values: polars.Series) -> Self:
        mean = values.mean()
        return cls(name=column.name, fill=0.0 if mean is None else float(mean), indicator=values.null_count() > 0)  # type: ignore[arg-type]

    def numbers(self, values: polars.Series) -> np.ndarray:
        import polars

        return values.cast(polars.Float64).to_numpy()

    def read(self, table: Table, position: int, words: frozenset[str]) -> polars.Series:
        values = filled(table.column(position), words)
        found = booleans_of(values)
        _check_known(values, found, table, position, "true or false")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryEncoding(ColumnEncoding):
    """One number per level, 1 for a row's own; missing values and rare levels have one each, if training had any.

    `levels` are the most frequent, 100 at most; `shares` of the training rows per number. What training never had gets
    the shares: it says nothing.
    """

    kind = Kind.CATEGORY
    levels: tuple[str, ...]
    shares: tuple[float, ...]
    rare: bool = False
    missing: bool = False

    @classmethod
    def fit(cls, column: Column, values: polars.Series) -> Self:
        counts = values.drop_nulls().value_counts().rows()
        ordered = sorted(counts, key=lambda pair: (-pair[1], pair[0]))
        kept, others = ordered[:_MOST_LEVELS], ordered[_MOST_LEVELS:]
        by_name = sorted(kept)
        numbers = [count for _, count in by_name]
        if others:
            numbers.append(sum(count for _, count in others))
        if values.null_count():
            numbers.append(values.null_count())
        return cls(
            name=column.name,
            levels=tuple(level for level, _ in by_name),
            shares=tuple(count / len(values) for count in numbers),
            rare=bool(others),
            missing=values.null_count() > 0,
        )

    @property
    def outputs(self) -> tuple[str, ...]:
        names = [f"{self.name}={level}" for level in self.levels]
        if self.rare:
            names.append(f"{self.name} is another")
        if self.missing:
            names.append(f"{self.name} is missing")
        return tuple(names)

    @property
    def is_indicator(self) -> tuple[bool, ...]:
        return (True,) * len(self.shares)

    def encode(self, values: polars.Series, into: np.ndarray) -> None:
        import polars

        known = {level: number for number, level in enumerate(self.levels)}
        rare = len(self.levels) if self.rare else -1
        gone = len(self.shares) - 1 if self.missing else -1
        codes = values.replace_strict(known, default=rare, return_dtype=polars.Int64)
        places = codes.set(values.is_null(), gone).to_numpy()
        into[:] = 0.0
        rows = np.flatnonzero(places >= 0)
        into[rows, places[rows]] = 1.0
        into[places < 0] = self.shares

    def read(self, table: Table, position: int, words: frozenset[str]) -> polars.Series:
        import polars

        raw = table.column(position)
        if not (raw.dtype.is_numeric() or raw.dtype == polars.String):
            raw = raw.cast(polars.String)
        return texts_of(filled(raw, words))


@dataclass(frozen=True, slots=True, kw_only=True)
class DateEncoding(ColumnEncoding):
    """Its age in days, and sine and cosine of its place in year, week and day, as far as it varies in training.

    `fill`, in seconds since 1970, for missing values, and an indicator of these. `written`: the format in text.
    """

    kind = Kind.DATE
    fill: float
    offset: float
    periods: tuple[str, ...]
    indicator: bool = False
    written: str | None = None

    @classmethod
    def fit(cls, column: Column, values: polars.Series) -> Self:
        seconds = values.drop_nulls().to_numpy()
        spread = float(np.ptp(seconds)) if len(seconds) else 0.0
        varies = {
            "year": spread > 30 * _DAY,
            "week": spread >= _DAY,
            "day": bool(len(seconds)) and bool(np.ptp(seconds % _DAY) > 0),
        }
        fill = values.median()
        return cls(
            name=column.name,
            fill=0.0 if fill is None else float(fill),  # type: ignore[arg-type]
            offset=float(seconds.mean()) if len(seconds) else 0.0,
            periods=tuple(period for period, does in varies.items() if does),
            indicator=values.null_count() > 0,
            written=column.written,
        )

    @property
    def outputs(self) -> tuple[str, ...]:
        cyclic = [f"{self.name} {function} of the {period}" for period in self.periods for function in ("sin", "cos")]
        return (f"{self.name} in days", *cyclic, *([f"{self.name} is missing"] if self.indicator else []))

    @property
    def is_indicator(self) -> tuple[bool, ...]:
        return (False,) * (1 + 2 * len(self.periods)) + (True,) * self.indicator

    def encode(self, values: polars.Series, into: np.ndarray) -> None:
        seconds = values.fill_null(self.fill).to_numpy()
        into[:, 0] = _single(seconds, self.offset, _DAY)
        for number, period in enumerate(self.periods):
            length, begin = _PERIODS[period]
            angle = (seconds - begin) % length * (2 * math.pi / length)
            into[:, 1 + 2 * number], into[:, 2 + 2 * number] = np.sin(angle), np.cos(angle)
        if self.indicator:
            into[:, -1] = values.is_null().to_numpy()

    def read(self, table: Table, position: int, words: frozenset[str]) -> polars.Series:
        import polars

        values = filled(table.column(position), words)
        if values.dtype == polars.String or values.dtype.is_temporal():
            found = seconds_of(values, self.written)
        else:
            found = polars.Series(values.name, [None] * len(values), dtype=polars.Float64)
        form = (self.written or "").removeprefix(HOURS)
        _check_known(values, found, table, position, f"a date or time{f' written as {form}' if form else ''}")
        return found


def exact_scale(values: np.ndarray) -> tuple[float, float]:
    """Offset and divisor, in float64, under which float32 tells numbers apart; 0 and 1 where it does without."""
    if not len(values):
        return 0.0, 1.0
    largest = float(np.abs(values).max())
    with np.errstate(over="ignore"):
        if largest <= _LARGEST and np.array_equal(values.astype(np.float32), values):
            return 0.0, 1.0
        deviation = float(values.std())
    if deviation >= _LEAST and largest <= _LARGEST and largest * _HALF_ULP <= _LOSS * deviation:
        return 0.0, 1.0
    offset = float(np.median(values))
    if deviation == 0.0:
        return offset, 1.0
    if _LEAST <= deviation <= _LARGEST:
        return offset, 1.0
    return offset, deviation if math.isfinite(deviation) else largest


def _plain_numbers(raw: polars.Series, decimal: str) -> polars.Series | None:
    """The numbers of a column without other text than plain numbers and nulls; None for any other."""
    import polars

    if raw.dtype.is_float():
        return raw
    if raw.dtype != polars.String or decimal != ".":
        return None
    found = raw.cast(polars.Float64, strict=False)
    return found if found.null_count() == raw.null_count() else None


def _scaled(values: np.ndarray, offset: float, scale: float) -> np.ndarray:
    if offset == 0.0 and scale == 1.0:
        return values
    scaled: np.ndarray = (values.astype(np.float64) - offset) / scale
    return scaled


def _single(values: np.ndarray, offset: float, scale: float) -> np.ndarray:
    """Float32, held within its range: a value far beyond those of training must not become infinite."""
    values = _scaled(values, offset, scale)
    with np.errstate(over="ignore"):
        single: np.ndarray = values.astype(np.float32)
    if not np.isfinite(single).all():
        limit = float(np.finfo(np.float32).max)
        single = np.clip(values, -limit, limit).astype(np.float32)
    return single


def _check_known(values: polars.Series, found: polars.Series, table: Table, position: int, wanted: str) -> None:
    if found.null_count() == values.null_count():
        return
    wrong = found.is_null() & values.is_not_null()
    if wrong.any():
        row = first_row(wrong)
        raise DataError(
            f"{table.place(position)} has {str(values[row - 1])!r} in row {table.begin + row}, and it was {wanted} in "
            f"training ({int(wrong.sum())} such in rows {table.begin + 1} to {table.begin + table.rows})"
        )
