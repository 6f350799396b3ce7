"""Decides whether a target is a class or a number, and makes its tensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import named
from forge_tui.training.data.dataset import Task

FEW_DISTINCT = 20
_MOST_CLASSES = 1000
_SAMPLES_A_CLASS = 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target:
    """A target column ready for training: int64 (N,) class numbers, or float32 (N, K)."""

    task: Task
    values: Tensor
    outputs: int
    classes: tuple[str | int | float | bool, ...] | None


def is_classification(values: np.ndarray) -> bool:
    """Whether a one-dimensional target is classes.

    Text and booleans are classes. Whole numbers (1.0 too) are classes if at most 20 are distinct, or if they are
    0 … K-1 with K ≤ 1,000 and at least 10 samples per class on average. Anything else is a regression.
    """
    if values.dtype.kind not in "iuf":
        return True
    if values.dtype.kind == "f" and not np.array_equal(values, np.floor(values)):
        return False
    distinct = np.unique(values)
    if len(distinct) <= FEW_DISTINCT:
        return True
    numbered = distinct[0] == 0 and distinct[-1] == len(distinct) - 1
    return bool(numbered and len(distinct) <= _MOST_CLASSES and len(values) >= _SAMPLES_A_CLASS * len(distinct))


def make_target(values: np.ndarray, source: str) -> Target:
    """The target of a dataset from its values, (N,) of text, booleans or finite numbers, or (N, K) of numbers.

    Classes are numbered in their sorted order. Raises `DataError` for numbers beyond 32-bit floats.
    """
    if values.ndim == 1 and is_classification(values):
        labels, numbers = np.unique(values, return_inverse=True)
        classes: tuple[str | int | float | bool, ...] = tuple(labels.tolist())
        if labels.dtype.kind == "f":
            classes = tuple(int(label) for label in classes)
        numbered = torch.from_numpy(numbers.astype(np.int64).reshape(-1))
        return Target(task=Task.CLASSIFICATION, values=numbered, outputs=len(classes), classes=classes)
    table = values.reshape(len(values), -1)
    with np.errstate(over="ignore"):
        single = table.astype(np.float32)
    if not np.isfinite(single).all():
        row = int(np.argwhere(~np.isfinite(single))[0, 0]) + 1
        raise DataError(f"{named(source)}: row {row} is beyond ±3.4e38; rescale the target")
    return Target(task=Task.REGRESSION, values=torch.from_numpy(single), outputs=single.shape[1], classes=None)
