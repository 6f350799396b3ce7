"""CSV files: every column but the target is a feature."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from forge_tui.errors import DataError
from forge_tui.settings.schema import Settings
from forge_tui.training.data.dataset import Dataset, assemble, check_sample_count
from forge_tui.training.data.targets import make_target

if TYPE_CHECKING:
    import polars

DEFAULT_TARGET = "target"


def csv_dataset(path: Path, settings: Settings) -> Dataset:
    """Read a CSV file with a header. Text targets are classes; `targets.is_classification` decides for numbers.

    The target is the column of `--target`, or the one called `target`. Feature columns hold finite numbers or
    true/false. Raises `DataError` with file, column and row (1 is the first below the header).
    """
    names = _header(path)
    target = _target_column(path, names, settings.data.target)
    frame = _read(path)
    check_sample_count(frame.height, str(path))
    features = [name for name in names if name != target]
    if not features:
        raise DataError(f"{path}: {target!r} is its only column; add columns to predict it from")
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
    )


def _header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            names = next(csv.reader(file), [])
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no UTF-8 text ({error.reason}); save it as UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{path}: the header cannot be read: {error}") from None
    if not any(name.strip() for name in names):
        raise DataError(f"{path} is empty; it needs a header with column names, and rows of data")
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(f"{path}: several columns are called {listed(repeated)}; give every column its own name")
    return names


def listed(names: Sequence[str], most: int = 12) -> str:
    """`'a', 'b' and 3 more`: names for an error message."""
    shown = ", ".join(repr(name) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _target_column(path: Path, names: list[str], wanted: str | None) -> str:
    if wanted is None:
        if DEFAULT_TARGET in names:
            return DEFAULT_TARGET
        raise DataError(
            f"{path} has no column {DEFAULT_TARGET!r}: say with --target which one to predict; "
            f"there are {listed(names)}"
        )
    if wanted not in names:
        raise DataError(f"{path} has no column {wanted!r} (--target); there are {listed(names)}")
    return wanted


def _read(path: Path) -> polars.DataFrame:
    import polars  # here: its import costs 60 ms, and its threads would not survive the fork of a worker

    try:
        return polars.read_csv(path, infer_schema_length=None, glob=False)
    except polars.exceptions.NoDataError:
        raise DataError(f"{path} is empty; it needs a header with column names, and rows of data") from None
    except polars.exceptions.PolarsError as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"{path} is no well-formed CSV file: {reason}; give every row one value per column") from None


def _feature(column: polars.Series, path: Path) -> np.ndarray:
    import polars

    place = f"{path}: column {column.name!r}"
    _check_filled(column, place)
    if column.dtype == polars.Boolean:
        return column.to_numpy().astype(np.float32)
    if not column.dtype.is_numeric():
        row, text = _first_text(column)
        raise DataError(
            f"{place} holds text ({text!r} in row {row}), and features are numbers; "
            "encode the text as numbers, take the column out, or make it the --target"
        )
    with np.errstate(over="ignore"):
        values = column.to_numpy().astype(np.float32)
    _check_finite(values, place, column)
    return values


def _target(column: polars.Series, path: Path) -> np.ndarray:
    import polars

    place = f"{path}: column {column.name!r}"
    _check_filled(column, place)
    values = column.to_numpy()
    if column.dtype.is_numeric():
        _check_finite(values, place, column)
        return values
    if column.dtype == polars.Boolean:
        return values
    return np.asarray([str(value) for value in column.to_list()], dtype=str)


def _check_filled(column: polars.Series, place: str) -> None:
    if column.null_count():
        row = int(column.is_null().arg_max() or 0) + 1
        raise DataError(f"{place} has no value in row {row} ({column.null_count()} in all); fill or remove such rows")


def _check_finite(values: np.ndarray, place: str, column: polars.Series) -> None:
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{place} has {column[row]} in row {row + 1} ({len(wrong)} such in all), and needs finite numbers "
            "within ±3.4e38; fill or remove such rows"
        )


def _first_text(column: polars.Series) -> tuple[int, str]:
    for row, value in enumerate(column.to_list(), start=1):
        try:
            float(value)
        except (TypeError, ValueError):
            return row, str(value)
    return 1, str(column[0])
