"""What each epoch of a model gave: kept through resume, and written to NAME.json."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

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


_COLUMNS = tuple(field.name for field in dataclasses.fields(EpochRecord))


def to_tensor(history: Sequence[EpochRecord]) -> Tensor:
    """float64 (epochs, columns); None becomes NaN."""
    rows = [
        [math.nan if value is None else float(value) for value in (getattr(item, name) for name in _COLUMNS)]
        for item in history
    ]
    return torch.tensor(rows, dtype=torch.float64).reshape(len(rows), len(_COLUMNS))


def from_tensor(table: Tensor) -> list[EpochRecord]:
    """The history that `to_tensor` wrote."""
    history = []
    for row in table.tolist():
        values = {name: None if math.isnan(value) else value for name, value in zip(_COLUMNS, row, strict=True)}
        history.append(EpochRecord(**{**values, "epoch": int(row[0]), "step": int(row[1])}))  # type: ignore[arg-type]
    return history
