"""Scales of columns read in pieces, equal to `fit_scale` of whole columns."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from forge_tui.training.data.dataset import range_of, scale_of


class Moments:
    """Means and deviations, put together from pieces (Chan et al. 1979, "Updating Formulae", equation 2.1)."""

    def __init__(self, columns: int) -> None:
        self._seen, self._mean, self._squares = 0, np.zeros(columns), np.zeros(columns)

    def add(self, rows: np.ndarray) -> None:
        """Add rows, float64 (n, columns), at least one."""
        own = rows.mean(axis=0)
        apart, both = own - self._mean, self._seen + len(rows)
        self._squares += np.square(rows - own).sum(axis=0) + np.square(apart) * (self._seen * len(rows) / both)
        self._mean += apart * (len(rows) / both)
        self._seen = both

    def scale(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation, as `fit_scale` by `standard`."""
        return scale_of(torch.from_numpy(self._mean), torch.from_numpy(self._squares / self._seen))


class Extremes:
    """Least and largest values."""

    def __init__(self, columns: int) -> None:
        self._least, self._largest = np.full(columns, np.inf), np.full(columns, -np.inf)

    def add(self, rows: np.ndarray) -> None:
        """Add rows, float64 (n, columns), at least one."""
        np.minimum(self._least, rows.min(axis=0), out=self._least)
        np.maximum(self._largest, rows.max(axis=0), out=self._largest)

    def scale(self) -> tuple[Tensor, Tensor]:
        """Least value and range, as `fit_scale` by `minmax`."""
        return range_of(torch.from_numpy(self._least), torch.from_numpy(self._largest))
