"""Tables with named columns, from any kind of file: every column but the target is a feature."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import named
from forge_tui.settings.schema import Settings
from forge_tui.training.data.dataset import Dataset, assemble, check_sample_count
from forge_tui.training.data.targets import make_target

if TYPE_CHECKING:
    import polars

DEFAULT_TARGET = "target"
_WIDE = ("Int128", "UInt128")


def target_column(path: Path, names: Sequence[str], wanted: str | None) -> str:
    """The column of `--target`, or the one called `target`. Raises `DataError` naming the existing columns."""
    if wanted is None:
        if DEFAULT_TARGET in names:
            return DEFAULT_TARGET
        raise DataError(
            f"{named(path)} has no column {DEFAULT_TARGET!r}: say with --target which one to predict; "
            f"there are {listed(names) or 'none'}"
        )
    if wanted not in names:
        raise DataError(f"{named(path)} has no column {wanted!r} (--target); there are {listed(names)}")
    return wanted


def table_dataset(
    path: Path, frame: polars.DataFrame, names: Sequence[str], target: str, settings: Settings
) -> Dataset:
    """The dataset of a table with columns `names`. `targets.is_classification` decides about a target of numbers.

    Feature columns have finite numbers or true/false; any other target is classes. Raises `DataError`
    with file, column and row (1 is the first).
    """
    check_sample_count(frame.height, str(path))
    features = [name for name in names if name != target]
    if not features:
        raise DataError(f"{named(path)}: {target!r} is its only column; add columns to predict it from")
    table = np.empty((frame.height, len(features)), dtype=np.float32)
    for position, name in enumerate(features):
        table[:, position] = _feature(frame[name], path)
    found = make_target(_target(frame[target], path), f"{path}: column {target!r}")
    return assemble(
        task=found.task,
        inputs=torch.from_numpy(table),
        targets=found.values,
        outputs=found.outputs,
        features=tuple(features),
        target=target,
        classes=found.classes,
        fraction=settings.data.validation_fraction,
        seed=settings.run.seed,
        normalise=settings.data.normalise,
        scaling=settings.data.scaling,
    )


def listed(names: Sequence[str], most: int = 12) -> str:
    """`'a', 'b' and 3 more`: names for an error message."""
    shown = ", ".join(repr(name) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _feature(column: polars.Series, path: Path) -> np.ndarray:
    import polars

    place = f"{path}: column {column.name!r}"
    _check_filled(column, place)
    if column.dtype == polars.Boolean:
        return column.to_numpy().astype(np.float32)
    if not column.dtype.is_numeric():
        row, text = _first_text(column)
        kind = "text" if column.dtype == polars.String else str(column.dtype)
        raise DataError(
            f"{named(place)} holds {kind} ({text!r} in row {row}), and features are numbers; "
            f"encode the {'text' if kind == 'text' else 'values'} as numbers, take the column out, "
            "or make it the --target"
        )
    with np.errstate(over="ignore"):
        values = _numbers(column).astype(np.float32)
    _check_finite(values, place, column)
    return values


def _target(column: polars.Series, path: Path) -> np.ndarray:
    import polars

    place = f"{path}: column {column.name!r}"
    _check_filled(column, place)
    if column.dtype.is_numeric():
        values = _numbers(column)
        _check_finite(values, place, column)
        if values.dtype.kind == "f" and column.dtype.is_integer():
            raise DataError(
                f"{named(place)} has whole numbers of more than 64 bits; rescale the target, or write it as text"
            )
        return values
    if column.dtype == polars.Boolean:
        return column.to_numpy()
    if column.dtype.is_nested() or column.dtype in (polars.Binary, polars.Object):
        raise DataError(f"{named(place)} holds {column.dtype}; a target is one number, text or true/false in each row")
    return np.asarray([str(value) for value in column.to_list()], dtype=str)


def _numbers(column: polars.Series) -> np.ndarray:
    """The values as numpy's numbers.

    It has no decimals, which are float64 then, and no whole numbers of 128 bits: int64 where all fit, else float64.
    """
    import polars

    if str(column.dtype) in _WIDE:  # by name: the older versions of polars do not know them all
        narrow = column.cast(polars.Int64, strict=False)
        return (column.cast(polars.Float64) if narrow.null_count() else narrow).to_numpy()
    return (column.cast(polars.Float64) if column.dtype.is_decimal() else column).to_numpy()


def _check_filled(column: polars.Series, place: str) -> None:
    if column.null_count():
        row = int(column.is_null().arg_max() or 0) + 1
        raise DataError(
            f"{named(place)} has no value in row {row} ({column.null_count()} in all); fill or remove such rows"
        )


def _check_finite(values: np.ndarray, place: str, column: polars.Series) -> None:
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{named(place)} has {column[row]} in row {row + 1} ({len(wrong)} such in all), and needs finite numbers "
            "within ±3.4e38; fill or remove such rows"
        )


def _first_text(column: polars.Series) -> tuple[int, str]:
    for row, value in enumerate(column.to_list(), start=1):
        try:
            float(value)
        except (TypeError, ValueError):
            return row, str(value)
    return 1, str(column[0])
