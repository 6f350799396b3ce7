"""The column to predict: its task, its classes or numbers, and the rows where it is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import escaped
from forge_tui.tables.dates import format_of
from forge_tui.tables.kinds import first_row, is_identifier, texts_of
from forge_tui.tables.missing import filled
from forge_tui.tables.numbers import has_leading_zeros, numbers_of
from forge_tui.tables.table import Table

if TYPE_CHECKING:
    import polars

Label = str | int | float | bool
TaskName = Literal["auto", "classification", "regression"]

FEW_DISTINCT = 20
_MOST_CLASSES = 1000
_ROWS_A_CLASS = 10
_MOSTLY = 0.9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target:
    """The target of the rows that have one: numbers of classes, int64 (n,), or numbers, float64 (n,).

    `has_value`: bool (N,), which rows of the table these are. `reason`: why it is this task. `classes` is None for a
    regression.
    """

    name: str
    values: np.ndarray
    classes: tuple[Label, ...] | None
    reason: str
    has_value: np.ndarray

    @property
    def left_out(self) -> int:
        """The number of rows without a target."""
        return int(len(self.has_value) - self.has_value.sum())


def target_of(
    table: Table,
    position: int,
    words: frozenset[str],
    task: TaskName = "auto",
    missing: Literal["drop", "refuse"] = "drop",
) -> Target:
    """The target in a column; `words` count as missing. Text, booleans and categories are classes.

    Raises `DataError`, with the row, for a column that cannot be predicted: nested or binary values, dates, one value,
    a text of its own in nearly every row, and other than numbers for a regression.
    """
    import polars

    raw, place = table.column(position), table.place(position)
    _refuse_types(raw, place)
    values = filled(raw, words)
    numbers = None
    if raw.dtype.is_numeric() or raw.dtype == polars.Duration:
        numbers = _exact(values, place)
    elif raw.dtype == polars.String and not has_leading_zeros(values):
        found = numbers_of(values, table.decimal)
        if found.null_count() == values.null_count():
            whole = values.cast(polars.Int64, strict=False)  # float64 has not every number of a label
            numbers = whole if whole.null_count() == values.null_count() else found
        elif task != "classification":
            _refuse_mostly_numbers(values, found, place, task)
    if numbers is not None and numbers.dtype.is_float():
        numbers = numbers.set(numbers.is_infinite().fill_null(value=False), None)
    values = (values if numbers is None else numbers).alias(raw.name)
    has_value = values.is_not_null().to_numpy()
    _check_missing(has_value, place, missing)
    values = values.drop_nulls()
    name = table.names[position]
    if task == "regression" or (numbers is not None and task == "auto" and not _is_classes(values)):
        if numbers is None:
            raise DataError(
                f"{place} is text or true/false ({str(values[0])!r} in row {first_row(polars.Series(has_value))}), and "
                "data.task = regression needs numbers; write numbers, or leave data.task to auto"
            )
        _refuse_one_value(values, place)
        reason = "as data.task says" if task == "regression" else _why_regression(values)
        exact = values.to_numpy().astype(np.float64)
        return Target(name=name, values=exact, classes=None, reason=reason, has_value=has_value)
    if numbers is None:
        _refuse_dates(values, place)
        if task == "auto":
            _refuse_identifier(values, place)
    _refuse_one_value(values, place)
    labels, coded = _labels(values)
    reason = "as data.task says" if task == "classification" else _why_classes(values, len(labels))
    return Target(name=name, values=coded, classes=labels, reason=reason, has_value=has_value)


def _exact(values: polars.Series, place: str) -> polars.Series:
    """Whole numbers as int64, others as float64: labels of classes are then exact."""
    import polars

    if values.dtype == polars.Duration:
        return numbers_of(values)
    if values.dtype.is_integer():
        narrow = values.cast(polars.Int64, strict=False)
        if narrow.null_count() > values.null_count():
            raise DataError(f"{place} has whole numbers of more than 64 bits; rescale the target, or write it as text")
        return narrow
    return values.cast(polars.Float64)


def _is_classes(values: polars.Series) -> bool:
    """Whether numbers are classes: whole, and few different ones, or 0 … K-1 with at least 10 rows each."""
    if values.dtype.is_float() and not bool((values == values.floor()).all()):
        return False
    counts = values.value_counts()
    rows = int(counts["count"].min() or 0)  # type: ignore[arg-type]
    return few_or_numbered(counts.height, values.min(), values.max(), rows)


def few_or_numbered(distinct: int, least: Any, largest: Any, rows: int) -> bool:
    """Whether `distinct` whole numbers are classes: at most 20, or 0 … K-1 with K ≤ 1,000 and 10 `rows` each."""
    if distinct <= FEW_DISTINCT:
        return True
    is_numbered = bool(least == 0 and largest == distinct - 1)
    return is_numbered and distinct <= _MOST_CLASSES and rows >= _ROWS_A_CLASS


def _labels(values: polars.Series) -> tuple[tuple[Label, ...], np.ndarray]:
    """The classes in their order, and the number of each value's class."""
    import polars

    if values.dtype == polars.String and {"true", "false"} >= set(values.unique().to_list()):
        values = values == "true"
    if values.dtype != polars.Boolean:
        if values.dtype.is_float() and bool((values == values.floor()).all()) and abs(values).max() < 2**63:  # type: ignore[operator]
            values = values.cast(polars.Int64)
        elif not values.dtype.is_numeric():
            values = texts_of(values) if values.dtype == polars.String else values.cast(polars.String)
    labels, numbers = np.unique(_as_numpy(values), return_inverse=True)
    return tuple(labels.tolist()), numbers.astype(np.int64).reshape(-1)


def _as_numpy(values: polars.Series) -> np.ndarray:
    import polars

    return np.asarray(values.to_list(), dtype=str) if values.dtype == polars.String else values.to_numpy()


def _why_classes(values: polars.Series, classes: int) -> str:
    if values.dtype.is_numeric():
        return f"{classes} different whole numbers"
    return f"{classes} different values that are no numbers"


def _why_regression(values: polars.Series) -> str:
    distinct = values.n_unique()
    if values.dtype.is_float() and not bool((values == values.floor()).all()):
        return "numbers that are not whole"
    return (
        f"{distinct} different whole numbers, more than {FEW_DISTINCT} and not 0 to K-1 with {_ROWS_A_CLASS} rows "
        "each; data.task = classification takes them as classes"
    )


def _refuse_types(raw: polars.Series, place: str) -> None:
    import polars

    dtype = raw.dtype
    if dtype.is_nested() or dtype in (polars.Binary, polars.Object, polars.Unknown):
        kind = (
            "binary values"
            if dtype == polars.Binary
            else "lists"
            if isinstance(dtype, polars.List | polars.Array)
            else f"{dtype}"
        )
        raise DataError(f"{place} holds {kind}; a target is one number, text or true/false in each row")
    if dtype.is_temporal() and dtype != polars.Duration:
        raise _date(place, str(raw.drop_nulls()[0]) if raw.null_count() < len(raw) else "")


def _refuse_dates(values: polars.Series, place: str) -> None:
    import polars

    if values.dtype == polars.String and len(values) and format_of(values) is not None:
        raise _date(place, str(values[0]))


def _date(place: str, first: str) -> DataError:
    return DataError(
        f"{place} holds dates or times ({escaped(first)!r} is the first), which are neither classes nor numbers; "
        "predict a number made of them, such as days since the first: (d - d.min()).dt.total_days() in polars"
    )


def _refuse_mostly_numbers(values: polars.Series, numbers: polars.Series, place: str, task: TaskName) -> None:
    """Refuse numbers with a word among them: as text each would be a class."""
    wrong = numbers.is_null() & values.is_not_null()
    if task == "auto" and int(wrong.sum()) > (1 - _MOSTLY) * (len(values) - values.null_count()):
        return
    row = first_row(wrong)
    raise DataError(
        f"{place} has {str(values[row - 1])!r} in row {row}, which is no number, and numbers in other rows "
        f"({int(wrong.sum())} such in all); correct it, or name it in data.missing; data.task = classification takes "
        "every text as a class"
    )


def _refuse_identifier(values: polars.Series, place: str) -> None:
    if is_identifier(values.cast(values.dtype)):
        distinct = values.n_unique()
        raise DataError(
            f"{place} has {distinct} different texts in {len(values)} rows, so nearly every row would be a class of "
            "its own; name another --target, or set data.task = classification if that is meant"
        )


def _refuse_one_value(values: polars.Series, place: str) -> None:
    if values.n_unique() < 2:
        raise DataError(
            f"{place} has the value {escaped(str(values[0]))} in every row, so there is nothing to predict; name "
            "another --target"
        )


def _check_missing(has_value: np.ndarray, place: str, missing: str) -> None:
    without = int(len(has_value) - has_value.sum())
    if without == len(has_value):
        raise DataError(f"{place} has no value in any row; name another --target")
    if without and missing == "refuse":
        row = int(np.argmin(has_value)) + 1
        raise DataError(
            f"{place} has no value in row {row} ({without} in all), and data.missing_target = refuse; fill or remove "
            "such rows, or leave them out with data.missing_target = drop"
        )
