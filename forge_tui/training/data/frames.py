"""Tables and columns of pandas, polars, pyarrow and NumPy, as a dataset function may give them.

None of the three needs to be installed: their objects are known by what they can do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import named
from forge_tui.tables.table import Table, by_position, clean_names

if TYPE_CHECKING:
    import polars

_LIBRARIES = ("pandas", "polars", "pyarrow")


def is_frame(value: Any) -> bool:
    """Whether it is a table of named columns: a frame of one of the libraries, or a structured array."""
    if isinstance(value, np.ndarray):
        return value.dtype.names is not None
    return (library_of(value) is not None and len(getattr(value, "shape", ())) == 2) or _is_lazy(value)


def is_column(value: Any) -> bool:
    """Whether it is one column of one of the libraries."""
    return library_of(value) is not None and not is_frame(value) and hasattr(value, "__len__")


def needs_table(value: Any) -> bool:
    """Whether inputs are a table to be studied: a frame, or an array (N, F) of text, of objects, or with a mask."""
    if is_frame(value):
        return True
    if isinstance(value, np.ma.MaskedArray) and value.ndim == 2:
        return True
    return isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype.kind in "OUST"


def table_of(value: Any, source: str) -> Table:
    """The table of a frame, or of an array (N, F) with columns x1 … xF. Raises `DataError` naming the column."""
    import polars

    if _is_lazy(value):
        value = value.collect()
    if isinstance(value, polars.DataFrame):
        names, columns = list(value.columns), [value.to_series(place) for place in range(value.width)]
    elif isinstance(value, np.ndarray) and value.dtype.names is not None:
        names = list(value.dtype.names)
        columns = [series_of(value[name], f"{source}: column {name!r}") for name in names]
    elif isinstance(value, np.ndarray):
        names = [f"x{number}" for number in range(1, value.shape[1] + 1)]
        columns = [series_of(value[:, place], f"{source}: column {name!r}") for place, name in enumerate(names)]
    elif library_of(value) == "pyarrow":
        names = [str(name) for name in value.schema.names]
        columns = [series_of(value.column(place), f"{source}: column {name!r}") for place, name in enumerate(names)]
    else:
        names = [name if isinstance(name, str) else str(name) for name in value.columns]
        columns = [series_of(value.iloc[:, place], f"{source}: column {name!r}") for place, name in enumerate(names)]
    frame = polars.DataFrame([column.alias(str(place)) for place, column in enumerate(columns)])
    return Table(source=source, names=clean_names(names, source), frame=by_position(frame))


def series_of(value: Any, place: str) -> polars.Series:
    """One column of any kind, missing values as null. Raises `DataError` for values that no column can hold."""
    import polars

    try:
        if isinstance(value, polars.Series):
            return value
        if isinstance(value, np.ma.MaskedArray):
            mask = polars.Series(np.ma.getmaskarray(value))
            return series_of(np.asarray(value.filled(value.fill_value)), place).set(mask, None)
        if library_of(value) == "pyarrow":
            return polars.Series(value) if hasattr(value, "__arrow_c_stream__") else polars.Series(value.to_pylist())
        if library_of(value) == "pandas":
            return _of_pandas(value)
        array = plain_array(np.asarray(value))
        if array.dtype.kind == "f" and array.dtype.itemsize not in (4, 8):  # others are not in every polars
            array = array.astype(np.float64)
        if array.dtype.kind == "O":
            return _of_objects(array.tolist())
        return polars.Series(array)
    except (TypeError, ValueError, polars.exceptions.PolarsError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"{named(place)} holds values of several types, or of one that is unknown: {reason}") from None


def plain_array(array: np.ndarray) -> np.ndarray:
    """The same values in this machine's byte order, without negative strides, in types that torch and polars know.

    Bytes and NumPy's variable-width strings become text, bfloat16 and other small floats float32.
    """
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    elif array.dtype.kind == "T":
        array = np.array(array.tolist(), dtype=object)
    elif array.dtype.kind == "V" and array.dtype.names is None and _is_small_float(array.dtype):
        array = array.astype(np.float32)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return np.ascontiguousarray(array) if any(stride < 0 for stride in array.strides) else array


def dense(value: Any) -> Any:
    """A sparse matrix of SciPy, or tensor of torch, as a dense one; anything else as it is."""
    if isinstance(value, Tensor):
        return value.to_dense() if value.layout != torch.strided else value
    if type(value).__module__.startswith("scipy.sparse") and hasattr(value, "toarray"):
        return value.toarray()
    return value


def _of_pandas(value: Any) -> polars.Series:
    import polars

    dtype = str(value.dtype)
    if dtype == "category":
        found = polars.Series([None if one != one or one is None else str(one) for one in value.astype(object)])
        return found.cast(polars.Categorical)
    array = value.to_numpy() if hasattr(value, "to_numpy") else np.asarray(value)
    if array.dtype.kind == "M" or dtype.startswith("datetime64"):
        stamps = np.asarray(
            value.astype("datetime64[ns]") if "," not in dtype else value.dt.tz_convert("UTC").dt.tz_localize(None)
        )
        return polars.Series(stamps.astype("datetime64[ns]"))
    if array.dtype.kind == "O":
        return _of_objects([None if _is_missing(one) else one for one in array.tolist()])
    return polars.Series(plain_array(array))


def _of_objects(values: list[Any]) -> polars.Series:
    """A column of Python objects: of numbers, of texts, or where both are mixed of texts."""
    import polars

    values = [None if _is_missing(one) else one for one in values]
    kinds = {type(one) for one in values if one is not None}
    if kinds == {int, float}:
        return polars.Series([None if one is None else float(one) for one in values])
    if any(isinstance(one, str) for one in values):
        return polars.Series([None if one is None else str(one) for one in values], dtype=polars.String)
    return polars.Series(values, strict=False)


def _is_missing(value: Any) -> bool:
    """None, NaN, pandas' NA and NaT."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and value != value


def _is_small_float(dtype: np.dtype) -> bool:
    return "float" in dtype.name


def library_of(value: Any) -> str | None:
    """Which of pandas, polars and pyarrow an object is of; None for others."""
    found = type(value).__module__.partition(".")[0]
    return found if found in _LIBRARIES else None


def _is_lazy(value: Any) -> bool:
    return library_of(value) == "polars" and type(value).__name__ == "LazyFrame"
