"""What each epoch of a model gave: kept through resume, and written to NAME.json."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One epoch: losses, metrics, learning rate, and the seconds it took. Unknown is None."""

    epoch: int
    step: int
    loss: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    validation_perplexity: float | None
    learning_rate: float
    seconds: float

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict, faster than `dataclasses.asdict`: every epoch of every model comes this way."""
        return dict(zip(_COLUMNS, _values(self), strict=True))


_COLUMNS = tuple(field.name for field in dataclasses.fields(EpochRecord))
_values = operator.attrgetter(*_COLUMNS)


def to_tensor(history: Sequence[EpochRecord]) -> Tensor:
    """float64 (epochs, columns); None becomes NaN."""
    rows = np.array([_values(item) for item in history], dtype=np.float64)
    return torch.from_numpy(rows.reshape(len(history), len(_COLUMNS)))


def from_tensor(table: Tensor) -> list[EpochRecord]:
    """The history that `to_tensor` wrote."""
    history = []
    for row in table.tolist():
        values = {name: None if math.isnan(value) else value for name, value in zip(_COLUMNS, row, strict=True)}
        history.append(EpochRecord(**{**values, "epoch": int(row[0]), "step": int(row[1])}))  # type: ignore[arg-type]
    return history
