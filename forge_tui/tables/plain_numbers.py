"""Columns as numbers without an encoder: those of models that were trained on numbers as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from forge_tui.errors import DataError
from forge_tui.tables.kinds import first_row
from forge_tui.tables.numbers import numbers_of
from forge_tui.tables.table import Table, positions_of

if TYPE_CHECKING:
    import polars


def booleans_in(raw: polars.Series) -> polars.Series | None:
    """The column as booleans, if all its values are, or the words true and false."""
    import polars

    if raw.dtype == polars.Boolean:
        return raw
    if raw.dtype == polars.String and raw.is_in(["true", "false"]).all():
        return raw == "true"
    return None


def plain_numbers(raw: polars.Series, decimal: str = ".") -> polars.Series:
    """A column as float64, with null for what is missing or no number; true is 1."""
    import polars

    booleans = booleans_in(raw)
    return numbers_of(raw, decimal) if booleans is None else booleans.cast(polars.Float64)


def plain_features(table: Table, features: tuple[str, ...]) -> np.ndarray:
    """The columns of those names as float32 (N, F). Raises `DataError` naming missing columns, and values by row."""
    import polars

    found = np.empty((table.rows, len(features)), dtype=np.float32)
    for place, position in enumerate(positions_of(table, features)):
        raw = table.column(position)
        values = plain_numbers(raw, table.decimal)
        single = values.cast(polars.Float32)
        wrong = ~single.is_finite().fill_null(value=False)
        if wrong.any():
            row = first_row(wrong)
            value = raw[row - 1]
            shown = "no value" if value is None or value != value or value == "" else repr(str(value))
            raise DataError(
                f"{table.place(position)} has {shown} in row {table.begin + row}, and the model needs a finite number "
                "within ±3.4e38 in each: it was trained without missing values"
            )
        found[:, place] = single.to_numpy()
    return found
