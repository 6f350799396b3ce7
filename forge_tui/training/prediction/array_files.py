"""NPY and NPZ files as arrays to predict for."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import named
from forge_tui.settings.schema import DataSettings
from forge_tui.tables.table import Table
from forge_tui.training.data.npy_file import open_array
from forge_tui.training.data.npz_file import read_features
from forge_tui.training.prediction.given import pieces_of_array
from forge_tui.training.prediction.inputs import ModelInputs

ARRAYS = (".npy", ".npz")


def array_of_file(path: Path, data: DataSettings) -> Any:
    """The array (N, …) of a file: a `.npy` stays on disk; of a `.npz` it is that of the features, by its usual name.

    Raises `DataError` for what is no such file, `OSError`.
    """
    return open_array(path) if path.suffix.lower() == ".npy" else read_features(path, data.features_array)


def named_pieces(array: Any, path: Path, inputs: ModelInputs) -> Iterator[Table]:
    """The rows of an array (N, C) as a table.

    With as many columns as the model has features they are these, in their order; else they are x1 to xC. Raises
    `DataError` for another shape.
    """
    if path.suffix.lower() == ".npz":  # samples of any shape are flat features, as in training
        array = array.reshape(array.shape[0], -1)
    if array.ndim != 2:
        inputs.check_shape(tuple(array.shape))
    width = array.shape[1]
    names = inputs.features
    if width != len(names):
        names = tuple(f"x{number}" for number in range(1, width + 1))
        if not set(inputs.features) <= set(names):
            inputs.check_shape(tuple(array.shape))
    for begin, rows in rows_of(array, inputs.piece_rows):
        (piece,) = pieces_of_array(rows, names, len(rows))
        yield replace(piece, source=str(path), begin=begin)


def rows_of(array: Any, most: int) -> Iterator[tuple[int, Any]]:
    """The rows of an array, at most `most` at a time, and how many are above them.

    The pages of a file are given back after each: while they are mapped they count as the process's memory.
    """
    for begin in range(0, array.shape[0], most):
        yield begin, array[begin : begin + most]
        if isinstance(array.base, mmap.mmap):
            array.base.madvise(mmap.MADV_DONTNEED)


def require_rows(array: Any, path: Path) -> None:
    """Raise `DataError` for an array that has no rows."""
    if array.ndim == 0 or not array.shape[0]:
        raise DataError(f"{named(path)} has no rows; there is nothing to predict")
