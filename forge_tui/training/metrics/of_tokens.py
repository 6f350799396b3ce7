"""Metrics of models of sequences."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from forge_tui.protocol.metrics import Metrics
from forge_tui.training.metrics.known_targets import KnownTargets


def perplexity(loss: float) -> float:
    """Of a mean cross entropy per token (nats)."""
    return math.exp(loss) if loss < 700 else math.inf


class TokenMetrics:
    """Accumulates batches of logits (M, N, T, V); see `measures.Measures`."""

    def __init__(self, known: KnownTargets, models: int, *, own_loss: bool) -> None:
        self._known, self._models, self._own_loss = known, models, own_loss
        self._losses: Tensor | None = None

    @staticmethod
    def fits(outputs: Tensor, targets: Tensor) -> bool:
        """Whether the outputs of a batch, (M, N, T, V), are logits for its targets (N, T)."""
        return outputs.dim() == targets.dim() + 2 and outputs.shape[1:-1] == targets.shape

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Add the next batch; with the built-in loss there is nothing to do."""
        if not self._own_loss:
            return
        flat, wanted = outputs.flatten(0, -2), targets.expand(self._models, *targets.shape).flatten()
        if int(wanted.max()) >= flat.shape[1]:
            return
        losses = functional.cross_entropy(flat, wanted, reduction="none").view(self._models, -1)
        total = losses.sum(dim=1, dtype=torch.float64)
        self._losses = total if self._losses is None else self._losses + total

    def results(self, losses: Sequence[float]) -> list[Metrics]:
        """The metrics of each model. `losses`: cross entropies per token, unless the loss is a custom one."""
        if self._own_loss:
            if self._losses is None:
                return [{} for _ in range(self._models)]
            losses = (self._losses / self._known.targets.numel()).tolist()
        return [{"perplexity": perplexity(loss)} for loss in losses]
