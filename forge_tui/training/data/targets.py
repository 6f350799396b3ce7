"""Decides whether a target is a class or a number, and makes its tensor."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import named
from forge_tui.tables.column_encodings import exact_scale
from forge_tui.tables.target import few_or_numbered
from forge_tui.training.data.task import Task


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target:
    """A target ready for training: int64 (N,) class numbers, or float32 (N, K), float64 where that is too coarse."""

    task: Task
    values: Tensor
    outputs: int
    classes: tuple[str | int | float | bool, ...] | None

    def of_rows(self, rows: Tensor) -> Target:
        """The target of some rows (n,)."""
        return replace(self, values=self.values[rows])


def is_classification(values: np.ndarray, *, each: bool = True) -> bool:
    """Whether a one-dimensional target is classes.

    Text and booleans are classes. Whole numbers (1.0 too) are classes if at most 20 are distinct, or if they are
    0 … K-1 with K ≤ 1,000 and at least 10 samples each (in version 1: on average). Anything else is a regression.
    """
    if values.dtype.kind not in "iuf":
        return True
    if values.dtype.kind == "f" and not np.array_equal(values, np.floor(values)):
        return False
    distinct, counts = np.unique(values, return_counts=True)
    samples = int(counts.min()) if each else len(values) // len(distinct)
    return few_or_numbered(len(distinct), distinct[0], distinct[-1], samples)


def make_target(values: np.ndarray, source: str, task: str = "auto", *, version: int = 2) -> Target:
    """The target of a dataset from its values, (N,) of text, booleans or finite numbers, or (N, K) of numbers.

    Classes are numbered in their sorted order. `task` is `data.task`, `version` how data was read (`data.load`). Raises
    `DataError` for numbers beyond 32-bit floats, and for a task that does not fit the values.
    """
    is_flat = values.ndim == 1
    if task == "classification" and not is_flat:
        raise DataError(
            f"{named(source)} has the shape {values.shape}, and data.task = classification needs one class each"
        )
    if task == "regression" and values.dtype.kind not in "iufb":
        raise DataError(f"{named(source)} is text ({str(values[0])!r} first), and data.task = regression needs numbers")
    if is_flat and task != "regression" and (task == "classification" or is_classification(values, each=version > 1)):
        labels, numbers = np.unique(values, return_inverse=True)
        classes: tuple[str | int | float | bool, ...] = tuple(labels.tolist())
        if labels.dtype.kind == "f" and np.array_equal(labels, np.floor(labels)):
            classes = tuple(int(label) for label in classes)
        return classes_of(numbers, classes)
    return numbers_of(values.reshape(len(values), -1), source, exact=version > 1)


def classes_of(numbers: np.ndarray, classes: tuple[str | int | float | bool, ...]) -> Target:
    """The target of class numbers (N,)."""
    numbered = torch.from_numpy(numbers.astype(np.int64).reshape(-1))
    return Target(task=Task.CLASSIFICATION, values=numbered, outputs=len(classes), classes=classes)


def numbers_of(table: np.ndarray, source: str, *, exact: bool = True) -> Target:
    """The target of numbers (N, K) for a regression. `exact`: in float64 where float32 could not tell them apart.

    Raises `DataError` for numbers beyond 32-bit floats.
    """
    with np.errstate(over="ignore"):
        single = table.astype(np.float32)
    if not np.isfinite(single).all():
        row = int(np.argwhere(~np.isfinite(single))[0, 0]) + 1
        raise DataError(f"{named(source)}: row {row} is beyond ±3.4e38; rescale the target")
    wide = table.astype(np.float64)
    is_coarse = exact and any(exact_scale(wide[:, column]) != (0.0, 1.0) for column in range(wide.shape[1]))
    values = torch.from_numpy(wide if is_coarse else single)
    return Target(task=Task.REGRESSION, values=values, outputs=single.shape[1], classes=None)
