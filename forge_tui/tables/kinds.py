"""What the columns of a table are: numbers, categories, booleans, dates, or left out; each with a reason."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import escaped
from forge_tui.tables.dates import format_of, seconds_of
from forge_tui.tables.missing import filled
from forge_tui.tables.numbers import has_leading_zeros, numbers_of, unit_of
from forge_tui.tables.table import Table

if TYPE_CHECKING:
    import polars

# Row numbers as pandas, polars and R write them.
_ROW_NUMBERS = re.compile(r"|index|rownames|row\.names|Unnamed: \d+|__index_level_\d+__", re.IGNORECASE)
_BOOLEANS = ({"true", "false"}, {"yes", "no"}, {"y", "n"}, {"t", "f"}, {"on", "off"})
_LOOKED_AT = 1_000
_TRUE = ("true", "yes", "y", "t", "on")
# Texts of which nearly every row has its own: fewer rows do not tell.
_IDENTIFIER_SHARE, _IDENTIFIER_ROWS = 0.9, 10
# A column of numbers may have a few words that `data.missing` does not name.
_NUMBERS_SHARE, _NUMBERS_DISTINCT = 0.95, 10


class Kind(StrEnum):
    """What becomes of a column."""

    NUMBER = "number"
    CATEGORY = "category"
    BOOLEAN = "boolean"
    DATE = "date"
    LEFT_OUT = "left_out"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Column:
    """A column of features: its kind with the reason, and its values in the form of the kind.

    `values`: float64 for numbers and dates (`dates.seconds_of`), text for categories, booleans; null where missing;
    None if it is left out. `written`: the format of dates in text, `decimal` the mark of numbers in text. `infinite`
    numbers and `words` among them count as missing. `refused`: a run refuses the column, for the reason
    (`study.describe`).
    """

    position: int
    name: str
    kind: Kind
    reason: str
    values: polars.Series | None = None
    written: str | None = None
    decimal: str = "."
    infinite: int = 0
    words: int = 0
    refused: bool = False


def column_of(table: Table, position: int, words: frozenset[str], declared: Kind | None = None) -> Column:
    """What a column is; `declared` is a kind from the settings, `words` count as missing.

    Raises `DataError` for values that cannot be read: nested ones, or others than were declared, with the row.
    """
    import polars

    raw = table.column(position)
    _refuse_nested(raw, table.place(position))
    made = _Maker(table, position)
    if raw.dtype == polars.Binary:
        return made.left_out("binary values")
    if raw.dtype == polars.Boolean:
        return _constant(made, raw) or made.of(Kind.BOOLEAN, "true or false", raw)
    if raw.dtype.is_temporal() and raw.dtype != polars.Duration:
        seconds = seconds_of(raw, None)
        return _constant(made, seconds) or made.of(Kind.DATE, f"its type is {_type(raw)}", seconds)
    if not (raw.dtype.is_numeric() or raw.dtype in (polars.String, polars.Duration)):
        try:
            raw = raw.cast(polars.String)  # categories and enumerations
        except polars.exceptions.PolarsError:
            raise DataError(f"{made.place} holds {raw.dtype}; leave it out with data.ignore") from None
        values = filled(raw, words)
        return _constant(made, values) or made.of(Kind.CATEGORY, "its type is categories", values)
    values = filled(raw, words)
    match declared:
        case Kind.CATEGORY:
            return made.of(Kind.CATEGORY, "as data.categories says", texts_of(values))
        case Kind.NUMBER:
            return made.numbers(values, "as data.numbers says", strict=True)
        case Kind.DATE:
            return made.dates(values)
    constant = _constant(made, values)
    if constant is not None:
        return constant
    return _inferred_text(made, values) if values.dtype == polars.String else _inferred_numbers(made, values)


def texts_of(values: polars.Series) -> polars.Series:
    """Values as text; whole numbers of a column of floats as `1`."""
    import polars

    if values.dtype == polars.String:
        return values
    if values.dtype.is_float():
        whole = values.cast(polars.Int64, strict=False)
        if whole.null_count() == values.null_count() and bool((whole == values).all()):
            values = whole
    return values.cast(polars.String)


def booleans_of(values: polars.Series) -> polars.Series:
    """Booleans of the usual words; null for others."""
    import polars

    if values.dtype == polars.Boolean:
        return values
    if values.dtype.is_numeric():
        numbers = values.cast(polars.Float64)
        return (numbers == 1).set(~numbers.is_in([0.0, 1.0]).fill_null(value=True), None)
    lower = values.cast(polars.String).str.to_lowercase()
    known = [word for pair in _BOOLEANS for word in pair]
    return lower.is_in(list(_TRUE)).set(~lower.is_in(known).fill_null(value=True), None)


def boolean_words(values: polars.Series) -> bool:
    """Whether the distinct texts are one pair of words such as yes and no."""
    # Most columns need no look at all of their values.
    if values.head(_LOOKED_AT).n_unique() > 3 or values.n_unique() > 3:
        return False
    found = {str(value).lower() for value in values.drop_nulls().unique().to_list()}
    return any(found <= pair for pair in _BOOLEANS)


def is_identifier(values: polars.Series) -> bool:
    """Whether text has nearly as many values as rows."""
    rows = len(values) - values.null_count()
    return rows >= _IDENTIFIER_ROWS and values.drop_nulls().n_unique() >= _IDENTIFIER_SHARE * rows


def first_row(mask: polars.Series) -> int:
    """The number (from 1) of the first row that is true."""
    return int(mask.arg_max() or 0) + 1


class _Maker:
    """Makes the `Column` of one position of a table."""

    def __init__(self, table: Table, position: int) -> None:
        self.table, self.position = table, position
        self.name, self.place, self.decimal = table.names[position], table.place(position), table.decimal

    def of(self, kind: Kind, reason: str, values: polars.Series, written: str | None = None) -> Column:
        return Column(
            position=self.position, name=self.name, kind=kind, reason=reason, values=values, written=written,
            decimal=self.decimal,
        )  # fmt: skip

    def left_out(self, reason: str) -> Column:
        return Column(position=self.position, name=self.name, kind=Kind.LEFT_OUT, reason=reason)

    def numbers(self, values: polars.Series, reason: str, *, strict: bool = False) -> Column:
        """A column of numbers; infinities count as missing. `strict`: other values are refused."""
        found = numbers_of(values, self.decimal)
        wrong = found.is_null() & values.is_not_null()
        if strict and wrong.any():
            row = first_row(wrong)
            raise DataError(
                f"{self.place} has {str(values[row - 1])!r} in row {row}, which is no number ({int(wrong.sum())} such "
                "in all); name what is missing in data.missing, or take the column from data.numbers"
            )
        is_infinite = found.is_infinite().fill_null(value=False)
        infinite = int(is_infinite.sum())
        if infinite:
            found = found.set(is_infinite, None)
            reason += f"; {infinite} infinite, which count as missing"
        constant = _constant(self, found)
        if constant is not None:
            return constant
        return Column(
            position=self.position, name=self.name, kind=Kind.NUMBER, reason=reason, values=found,
            decimal=self.decimal, infinite=infinite, words=int(wrong.sum()),
        )  # fmt: skip

    def dates(self, values: polars.Series) -> Column:
        """A column of text that must be dates."""
        import polars

        texts = texts_of(values).cast(polars.String)
        written = format_of(texts)
        if written is None:
            first = next((str(value) for value in texts.drop_nulls().head(1).to_list()), "")
            raise DataError(
                f"{self.place} has no date or time in one known form in each row (the first value is "
                f"{escaped(first)!r}); write them as 2024-12-31 or 2024-12-31 23:59:59, or take the column from "
                "data.dates"
            )
        return self.of(Kind.DATE, "as data.dates says", seconds_of(texts, written), written)


def _refuse_nested(raw: polars.Series, place: str) -> None:
    import polars

    dtype = raw.dtype
    if dtype.is_nested() or dtype in (polars.Object, polars.Unknown):
        kind = (
            "lists" if isinstance(dtype, polars.List | polars.Array) else "structs" if dtype.is_nested() else str(dtype)
        )
        raise DataError(
            f"{place} holds {kind}, and a value of a table is a number, a text, a date or true/false; give each of "
            "their values a column of its own, or leave the column out with data.ignore"
        )


def _constant(made: _Maker, values: polars.Series) -> Column | None:
    """The column left out if it has no value, or one value in every row; else None."""
    missing = values.null_count()
    if missing == len(values):
        return made.left_out("empty: every value is missing")
    if missing == 0 and bool((values == values[0]).all()):
        return made.left_out(f"constant: every value is {escaped(str(values[0]))}")
    return None


def _inferred_numbers(made: _Maker, values: polars.Series) -> Column:
    import polars

    if values.dtype == polars.Duration:
        return made.numbers(values, "a duration, in seconds")
    if _is_row_number(made.name, values):
        return made.left_out("row number")
    return made.numbers(values, "numbers")


def _inferred_text(made: _Maker, values: polars.Series) -> Column:
    if boolean_words(values):
        pair = sorted({str(value) for value in values.drop_nulls().unique().to_list()})
        return made.of(Kind.BOOLEAN, " or ".join(pair), booleans_of(values))
    found = numbers_of(values, made.decimal)
    wrong = int(found.null_count() - values.null_count())
    if not wrong and not has_leading_zeros(values):
        if _is_row_number(made.name, found):
            return made.left_out("row number")
        return made.numbers(values, f"numbers{unit_of(values)}")
    written = format_of(values)
    if written is not None:
        return made.of(Kind.DATE, f"written as {written.removeprefix('time')}", seconds_of(values, written), written)
    if wrong and _is_mostly_numbers(values, found, wrong):
        row = first_row(found.is_null() & values.is_not_null())
        reason = (
            f"numbers but for {wrong} of {len(values)} values, which count as missing (row {row}: {values[row - 1]!r})"
        )
        return made.numbers(values, reason)
    if is_identifier(values):
        return made.left_out(f"identifier: {values.drop_nulls().n_unique()} different texts in {len(values)} rows")
    reason = "digits with leading zeros are text" if not wrong else "text"
    return made.of(Kind.CATEGORY, f"{reason}, {values.drop_nulls().n_unique()} different values", values)


def _is_mostly_numbers(values: polars.Series, numbers: polars.Series, wrong: int) -> bool:
    filled_in = len(values) - values.null_count()
    return wrong <= (1 - _NUMBERS_SHARE) * filled_in and numbers.drop_nulls().n_unique() > _NUMBERS_DISTINCT


def _is_row_number(name: str, values: polars.Series) -> bool:
    """Whether a column is named as row numbers are, and has different whole numbers."""
    if not _ROW_NUMBERS.fullmatch(name) or values.null_count():
        return False
    numbers = values.to_numpy().astype(np.float64)
    return bool(
        np.isfinite(numbers).all() and (numbers == np.floor(numbers)).all() and values.n_unique() == len(values)
    )


def _type(raw: polars.Series) -> str:
    import polars

    if raw.dtype == polars.Time:
        return "a time"
    return "a date" if raw.dtype == polars.Date else "a date and time"
