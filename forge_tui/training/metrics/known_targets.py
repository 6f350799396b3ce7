"""The targets of a part of the data, and what metrics need to know of them: computed once for all epochs."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from forge_tui.training.data.task import Task


class ByClass(NamedTuple):
    """The samples of each class: `places` (classes, most) of them, of which the first `counts` (classes, 1) count."""

    places: Tensor
    counts: Tensor
    is_filling: Tensor
    pairs: Tensor


class KnownTargets:
    """Targets (N, …) of a task, on the device.

    `scale`: the size of a unit of a regression's targets and outputs in the units of the data, of the shape of a
    sample's targets or one that broadcasts to it; None: 1.
    """

    def __init__(self, task: Task, targets: Tensor, scale: Tensor | None = None) -> None:
        self.task, self.targets = task, targets
        self._scale = scale

    def __len__(self) -> int:
        return len(self.targets)

    @cached_property
    def classes(self) -> np.ndarray:
        """The class of each sample, int64 (N,)."""
        found: np.ndarray = self.targets.cpu().numpy()
        return found

    @cached_property
    def counts(self) -> np.ndarray:
        """The samples of each class up to the largest that occurs."""
        return np.bincount(self.classes)

    @cached_property
    def by_class(self) -> ByClass | None:
        """The samples of each class (of two only of the second, whose curve is that of both).

        None where a class has no sample, or all.
        """
        if len(self.counts) < 2 or not 0 < self.counts.min() <= self.counts.max() < len(self):
            return None
        counts = torch.from_numpy(self.counts)
        order = torch.from_numpy(np.argsort(self.classes, kind="stable"))
        first = counts.cumsum(0) - counts
        if len(counts) == 2:
            counts, first = counts[1:], first[1:]
        places = torch.arange(int(counts.max()))
        # Classes with fewer samples than the largest are filled up with others' places.
        chosen = order[(first.unsqueeze(1) + places).clamp_(max=len(order) - 1)]
        found = (chosen, counts, places >= counts.unsqueeze(1), 2 * counts * (len(self) - counts))
        return ByClass(*(tensor.to(self.targets.device) for tensor in found))

    @cached_property
    def variance(self) -> np.ndarray:
        """The variance of each of a sample's numbers, float64 (D,)."""
        found: np.ndarray = self.targets.double().reshape(len(self), -1).var(dim=0, correction=0).cpu().numpy()
        return found

    @cached_property
    def scale(self) -> np.ndarray:
        """The size of a unit of each of a sample's numbers in the units of the data, float64 (D,)."""
        shape = self.targets.shape[1:]
        scale = torch.ones(()) if self._scale is None else self._scale
        found: np.ndarray = scale.double().expand(shape).flatten().cpu().numpy()
        return found
