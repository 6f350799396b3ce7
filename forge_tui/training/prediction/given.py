"""What predictions are asked for, as pieces of rows: frames of any library, dicts of columns, arrays.

Only the columns that a model needs are looked at, and only a piece of them is converted at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import named
from forge_tui.tables.table import Table, by_position, clean_name, listed
from forge_tui.training.data.frames import dense, is_frame, library_of, series_of

SOURCE = "the table"
"""What messages call a table that was given in Python."""
_ACCEPTED = "give a frame of polars, pandas or pyarrow, a dict of columns, or an array (N, …)"


@dataclass(frozen=True, slots=True, eq=False)
class GivenColumns:
    """Named columns of any library, each of `rows` values."""

    source: str
    names: tuple[str, ...]
    columns: tuple[Any, ...]
    rows: int

    def pieces(self, most: int) -> Iterator[Table]:
        """All rows in their order, at most `most` at a time."""
        import polars

        for begin in range(0, self.rows, most):
            end = min(begin + most, self.rows)
            values = [
                series_of(_rows_of(column, begin, end), f"{self.source}: column {name!r}").alias(str(place))
                for place, (name, column) in enumerate(zip(self.names, self.columns, strict=True))
            ]
            frame = by_position(polars.DataFrame(values))
            yield Table(source=self.source, names=self.names, frame=frame, begin=begin)


def has_columns(value: Any) -> bool:
    """Whether it has named columns: a frame, a structured array, or a dict."""
    return isinstance(value, Mapping) or is_frame(value)


def columns_of(value: Any, wanted: Sequence[str], source: str = SOURCE) -> GivenColumns:
    """The columns of those names, in their order, of what has columns.

    Raises `DataError` naming columns that are missing, that are there twice, or that have different lengths.
    """
    if isinstance(value, Mapping):
        values = list(value.values())
        found = _chosen([str(name) for name in value], wanted, values.__getitem__, source)
        found = {name: _one_column(column, f"{source}: column {name!r}") for name, column in found.items()}
    else:
        found = _columns_of_frame(value, wanted, source)
    absent = [name for name in wanted if name not in found]
    if absent:
        raise DataError(f"{source} has no column {listed(absent)}; the model was trained with {listed(wanted)}")
    columns = tuple(_prepared(found[name], f"{source}: column {name!r}") for name in wanted)
    lengths = [len(column) for column in columns]
    for name, length in zip(wanted, lengths, strict=True):
        if length != lengths[0]:
            raise DataError(
                f"{source}: column {name!r} has {length} values, and column {wanted[0]!r} {lengths[0]}; make them equal"
            )
    return GivenColumns(source, tuple(wanted), columns, lengths[0] if lengths else 0)


def array_of(value: Any) -> Any:
    """An array (N, …) as it is, of NumPy, torch, SciPy, or of nested lists. Raises `DataError` for anything else."""
    if isinstance(value, Tensor):
        value = dense(value.detach()).cpu()
        is_small = value.is_floating_point() and value.element_size() < 4
        found = (value.float() if is_small else value).numpy()
    elif isinstance(value, list | tuple) and value and isinstance(value[0], list | tuple | np.ndarray):
        try:
            found = np.asarray(value)
        except ValueError as error:
            raise DataError(f"the rows cannot be read as an array: {error}; {_ACCEPTED}") from None
    else:
        found = dense(value)
    if not isinstance(found, np.ndarray) or found.ndim == 0:
        raise DataError(f"a {type(value).__name__} is no table; {_ACCEPTED}")
    return found


def pieces_of_array(array: Any, names: Sequence[str], most: int) -> Iterator[Table]:
    """All rows of an array (N, F), whose columns are in the order of `names`, at most `most` at a time."""
    for begin in range(0, array.shape[0], most):
        rows = dense(array[begin : begin + most])
        if not isinstance(rows, np.ma.MaskedArray):
            rows = np.asfortranarray(rows)
        columns = tuple(rows[:, place] for place in range(len(names)))
        (piece,) = GivenColumns("the array", tuple(names), columns, len(rows)).pieces(most)
        yield replace(piece, begin=begin)


def _chosen(names: Sequence[str], wanted: Sequence[str], column: Callable[[int], Any], source: str) -> dict[str, Any]:
    """The columns that are wanted, by their name; `column` gives that of a position."""
    found: dict[str, Any] = {}
    for place, raw in enumerate(names):
        name = clean_name(raw)
        if name in wanted:
            if name in found:
                raise DataError(f"{source} has several columns {name!r}; give every column its own name")
            found[name] = column(place)
    return found


def _columns_of_frame(value: Any, wanted: Sequence[str], source: str) -> dict[str, Any]:
    if type(value).__name__ == "LazyFrame":
        value = value.select([name for name in value.collect_schema().names() if clean_name(name) in wanted]).collect()
    if isinstance(value, np.ndarray):
        fields = value.dtype.names or ()
        return _chosen(fields, wanted, lambda place: value[fields[place]], source)
    if library_of(value) == "pandas":
        return _chosen([str(name) for name in value.columns], wanted, lambda place: value.iloc[:, place], source)
    if library_of(value) == "pyarrow":
        return _chosen([str(name) for name in value.schema.names], wanted, value.column, source)
    return _chosen(value.columns, wanted, value.to_series, source)


def _one_column(value: Any, place: str) -> Any:
    """A column of a dict. Raises `DataError` for what has not one value per row."""
    if isinstance(value, Tensor):
        value = array_of(value)
    if isinstance(value, list | tuple | range):
        return series_of(list(value), place)
    if isinstance(value, np.ndarray) and value.ndim == 2 and value.shape[1] == 1:
        return value[:, 0]
    shape = getattr(value, "shape", None)
    if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__len__") or (shape and len(shape) != 1):
        what = f"an array of shape {tuple(shape)}" if shape else f"a {type(value).__name__}"
        raise DataError(f"{named(place)} is {what}; each column is a list or an array (N,), one value per row")
    return value


def _prepared(column: Any, place: str) -> Any:
    """Objects as a whole: all of them decide about the type of a column."""
    is_objects = str(getattr(column, "dtype", "")) == "object"
    return series_of(column, place) if is_objects else column


def _rows_of(column: Any, begin: int, end: int) -> Any:
    if hasattr(column, "iloc"):
        return column.iloc[begin:end]
    if library_of(column) == "pyarrow":
        return column.slice(begin, end - begin)
    return column[begin:end]
