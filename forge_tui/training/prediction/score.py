"""How good predictions are for rows whose target is known."""

from __future__ import annotations

import math

import numpy as np
import polars
import torch
from torch import Tensor

from forge_tui.tables.labels import class_numbers
from forge_tui.tables.missing import filled, words_with
from forge_tui.tables.numbers import numbers_of
from forge_tui.tables.table import Table
from forge_tui.training.data.task import Task
from forge_tui.training.prediction.predictions import Description


class Score:
    """Accuracy of classes, or mean absolute and root mean squared error of numbers, over pieces of a table.

    Rows without a target do not count; one of a class that the model does not know is predicted wrong.
    """

    def __init__(self, description: Description) -> None:
        self._description = description
        encoder = description.inputs.encoder
        self._words = frozenset(("",)) if encoder is None else words_with(encoder.missing)
        self._rows = 0
        self._sums = np.zeros(2)

    def add(self, table: Table, outputs: Tensor) -> None:
        """Add the rows of a table, if it has the target, and their outputs (n, outputs)."""
        target = self._description.target
        if target is None or target not in table.names or target in self._description.inputs.features:
            return
        raw = table.column(table.names.index(target))
        if raw.dtype.is_nested() or raw.dtype in (polars.Binary, polars.Object):
            return
        if self._description.task is Task.CLASSIFICATION:
            places = class_numbers(raw, self._description.labels.tolist(), self._words, table.decimal)
            known = places.is_not_null().to_numpy()
            self._rows += int(known.sum())
            self._sums[0] += int((outputs.argmax(dim=-1).numpy() == places.fill_null(-1).to_numpy())[known].sum())
        elif outputs.shape[1:] == (1,):
            values = numbers_of(filled(raw, self._words), table.decimal)
            known = values.is_finite().fill_null(value=False).to_numpy()
            errors = outputs[:, 0].to(torch.float64).numpy()[known] - values.to_numpy()[known]
            self._rows += len(errors)
            self._sums += np.abs(errors).sum(), np.square(errors).sum()

    def __str__(self) -> str:
        """In words; nothing if no row had a target."""
        if not self._rows:
            return ""
        over = f"over {self._rows:,} rows with {self._description.target!r}"
        first, second = (self._sums / self._rows).tolist()
        if self._description.task is Task.CLASSIFICATION:
            return f"accuracy {first:.4f} {over}"
        return f"mean absolute error {first:.6g}, root mean squared error {math.sqrt(second):.6g} {over}"
