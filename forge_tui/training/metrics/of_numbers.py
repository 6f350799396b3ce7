"""Metrics of a regression."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from forge_tui.protocol.metrics import Metrics
from forge_tui.training.metrics.known_targets import KnownTargets


class NumberMetrics:
    """Accumulates batches of predictions (M, N, …); see `measures.Measures`.

    With several targets, each metric is the mean of theirs, in the units of the data.
    """

    def __init__(self, known: KnownTargets, models: int) -> None:
        self._known, self._models = known, models
        self._sums: Tensor | None = None

    @staticmethod
    def fits(outputs: Tensor, targets: Tensor) -> bool:
        """Whether the outputs of a batch, (M, N, …), have the shape of its targets (N, …)."""
        return outputs.shape[1:] == targets.shape

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Add the next batch."""
        errors = (
            (outputs.double() - targets).flatten(2) if targets.dim() > 1 else (outputs.double() - targets)[..., None]
        )
        sums = torch.stack((errors.abs().sum(dim=1), errors.square_().sum(dim=1)))
        self._sums = sums if self._sums is None else self._sums + sums

    def results(self, losses: Sequence[float]) -> list[Metrics]:
        """The metrics of each model."""
        assert self._sums is not None
        known = self._known
        absolute, squared = self._sums.cpu().numpy() / len(known)
        mae, rmse = ((values * known.scale).mean(axis=1).tolist() for values in (absolute, np.sqrt(squared)))
        is_varied = bool((known.variance > 0).all())
        r2 = (1.0 - squared / known.variance).mean(axis=1).tolist() if is_varied else [None] * self._models
        return [{"mae": mae[model], "rmse": rmse[model], "r2": r2[model]} for model in range(self._models)]
