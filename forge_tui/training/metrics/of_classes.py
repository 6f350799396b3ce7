"""Metrics of a classification."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from forge_tui.protocol.metrics import Metrics
from forge_tui.training.metrics.known_targets import KnownTargets
from forge_tui.training.metrics.roc_auc import roc_auc

MOST_SCORES = 1 << 22
"""Outputs of all samples and models that are kept for the area under the ROC curve; beyond, it is not measured."""


class ClassMetrics:
    """Accumulates batches of logits (M, N, C); see `measures.Measures`."""

    def __init__(self, known: KnownTargets, models: int, *, own_loss: bool, copies: bool) -> None:
        self._known, self._models, self._own_loss, self._copies = known, models, own_loss, copies
        self._losses: Tensor | None = None
        self._kept: list[Tensor] = []
        self._width = self._classes = self._samples = 0
        self._right: np.ndarray
        self._found: np.ndarray

    @staticmethod
    def fits(outputs: Tensor, targets: Tensor) -> bool:
        """Whether the outputs of a batch, (M, N, …), are logits for its targets (N,)."""
        return outputs.dim() == 3 and outputs.shape[1:2] == targets.shape and outputs.shape[2] > 0

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Add the next batch."""
        if not self._samples:
            self._width = outputs.shape[2]
            self._classes = max(self._width, len(self._known.counts))
            # Samples of each class: rightly found, and found at all.
            self._right = np.zeros((self._models, self._classes), dtype=np.int64)
            self._found = np.zeros((self._models, self._classes), dtype=np.int64)
        found = outputs.argmax(dim=-1).cpu().numpy()
        wanted = self._known.classes[self._samples : self._samples + len(targets)]
        self._samples += len(targets)
        if self._models > 1:  # each model has its own numbers
            first = np.arange(0, self._right.size, self._classes).reshape(-1, 1)
            found, wanted = found + first, wanted + first
        self._right += self._counted(found[found == wanted])
        self._found += self._counted(found.ravel())
        if self._own_loss and self._is_scored:
            losses = functional.cross_entropy(
                outputs.flatten(0, 1).double(), targets.expand(self._models, -1).flatten(), reduction="none"
            )
            sums = losses.view(self._models, -1).sum(dim=1)
            self._losses = sums if self._losses is None else self._losses + sums
        if self._models * len(self._known) * self._width <= MOST_SCORES:
            self._kept.append(outputs.clone() if self._copies else outputs)

    def _counted(self, numbers: np.ndarray) -> np.ndarray:
        return np.bincount(numbers, minlength=self._right.size).reshape(self._right.shape)

    @property
    def _is_scored(self) -> bool:
        """Whether there is a logit for each class that occurs."""
        return self._width == self._classes

    def results(self, losses: Sequence[float]) -> list[Metrics]:
        """The metrics of each model. `losses`: cross entropies, unless the loss is a custom one."""
        samples, right, found = self._samples, self._right, self._found
        if self._own_loss:
            losses = [] if self._losses is None else (self._losses / samples).tolist()
        areas: Sequence[float | None] = [None] * self._models
        if self._kept:
            outputs = self._kept[0] if len(self._kept) == 1 else torch.cat(self._kept, dim=1)
            areas = roc_auc(outputs, self._known)
        wanted = np.zeros(self._classes, dtype=np.int64)
        wanted[: len(self._known.counts)] = self._known.counts
        occurs = wanted > 0
        recall = (right[:, occurs] / wanted[occurs]).mean(axis=1).tolist()
        accuracy, f1 = (right.sum(axis=1) / samples).tolist(), _macro_f1(right, found + wanted)
        return [
            {
                "accuracy": accuracy[model],
                "balanced_accuracy": recall[model],
                "f1": f1[model],
                "log_loss": losses[model] if losses else None,
                "auc": areas[model],
            }
            for model in range(self._models)
        ]


def _macro_f1(right: np.ndarray, both: np.ndarray) -> list[float]:
    """The mean F1 of the classes that occur, for each model.

    Counts (models, classes): `right` of those found rightly, `both` of targets and predictions together.
    """
    means: list[float] = ((2.0 * right / np.maximum(both, 1)).sum(axis=1) / (both > 0).sum(axis=1)).tolist()
    return means
