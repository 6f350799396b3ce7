"""How tables and arrays become the inputs of a trained model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from forge_tui.errors import DataError, UsageError
from forge_tui.tables.encoder import Encoder
from forge_tui.tables.plain_numbers import plain_features
from forge_tui.tables.table import Table
from forge_tui.training.data.frames import dense, plain_array
from forge_tui.training.prediction.given import array_of, columns_of, has_columns, pieces_of_array

# Values of a piece, raw or encoded: 16 MiB in float64. Larger ones leave the cache, and take twice as long.
_CELLS, _ROWS = 1 << 21, 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInputs:
    """What the model called `model` takes.

    `features` are the columns that it needs, which `encoder` turns into numbers (None: they are numbers, and none is
    missing); none of them: its samples have another shape than (F,). `shape` is that of a sample as the module takes
    it; None: it takes tokens.
    """

    model: str
    features: tuple[str, ...]
    encoder: Encoder | None
    shape: tuple[int, ...] | None

    @property
    def piece_rows(self) -> int:
        """How many rows are converted at a time."""
        width = max(len(self.features), math.prod(self.shape or (1,)), 1)
        return max(1, min(_ROWS, _CELLS // width))

    @property
    def plain_numbers(self) -> tuple[str, ...]:
        """The columns of which a finite number in text means that number, and nothing else."""
        return self.features if self.encoder is None else self.encoder.plain_numbers

    def pieces(self, given: Any) -> Iterator[Tensor]:
        """The inputs for each row of a frame, a dict or an array, float32 (n, *shape), in their order.

        Raises `UsageError` for a model of tokens, and `DataError` with the column or the row for what does not fit.
        """
        self.require_real()
        if has_columns(given):
            if not self.features:
                raise self._no_columns()
            yield from map(self.of_table, columns_of(given, self.features).pieces(self.piece_rows))
            return
        array = array_of(given)
        self.check_shape(tuple(array.shape))
        if self.encoder is not None:
            yield from map(self.of_table, pieces_of_array(array, self.features, self.piece_rows))
            return
        for begin in range(0, array.shape[0], self.piece_rows):
            yield self.of_array(array[begin : begin + self.piece_rows], begin)

    def of_table(self, table: Table) -> Tensor:
        """The inputs of a table's rows, float32 (n, *shape). Raises `DataError` with the column and the row."""
        if not self.features:
            raise self._no_columns()
        if self.encoder is not None:
            return torch.from_numpy(self.encoder.encode(table))
        return torch.from_numpy(plain_features(table, self.features))

    def require_real(self) -> None:
        """Raise `UsageError` for a model of tokens."""
        if self.shape is None:
            raise UsageError(
                f"{self.model} takes tokens, int64 (N, T), and no table: call the module itself; a language model "
                "writes text with `forge-tui sample`"
            )

    def _no_columns(self) -> DataError:
        shape = ", ".join(map(str, self.shape or ()))
        return DataError(
            f"{self.model} takes samples of the shape {self.shape}, not columns: give an array (N, {shape})"
        )

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise `DataError` unless an array of that shape has samples of the model."""
        wanted = (len(self.features),) if self.features else self.shape
        if shape[1:] != wanted:
            columns = f" (the columns {', '.join(self.features[:12])}{', …' if len(self.features) > 12 else ''})"
            raise DataError(
                f"the array has the shape {shape}, and {self.model} takes (N, "
                f"{', '.join(map(str, wanted or ()))}){columns if self.features else ''}"
            )

    def of_array(self, rows: Any, begin: int = 0) -> Tensor:
        """The inputs of an array (n, *shape) without an encoder; `begin`: the rows above. Raises `DataError`."""
        array = np.ma.filled(rows.astype(float), np.nan) if isinstance(rows, np.ma.MaskedArray) else dense(rows)
        array = plain_array(array)
        if array.dtype.kind not in "fiub":
            raise DataError(f"the array holds {array.dtype}; {self.model} takes numbers")
        with np.errstate(over="ignore"):
            single = np.ascontiguousarray(array, dtype=np.float32)
        if not np.isfinite(single).all():
            row, *place = (int(number) for number in np.argwhere(~np.isfinite(single))[0])
            what = f"column {self.features[place[0]]!r}" if self.features else f"place {tuple(place)}"
            raise DataError(
                f"the array has {array[(row, *place)]} in row {begin + row + 1}, {what}, and {self.model} needs finite "
                "numbers within ±3.4e38: it was trained without missing values"
            )
        return torch.from_numpy(single)


def recorded_inputs(model: str, record: Mapping[str, Any], encoder: Encoder | None) -> ModelInputs:
    """The inputs of a model from its NAME.json. Raises `LookupError`, `TypeError`, `ValueError` for a damaged one."""
    features = tuple(str(name) for name in record["features"] or ())
    if record["vocabulary"] is not None:
        return ModelInputs(model=model, features=features, encoder=None, shape=None)
    shape = tuple(int(length) for length in record.get("input_shape") or [len(features)])
    if encoder is not None and (encoder.features != features or (len(encoder.outputs),) != shape):
        raise ValueError("its table is not that of its features")
    return ModelInputs(model=model, features=features, encoder=encoder, shape=shape)
