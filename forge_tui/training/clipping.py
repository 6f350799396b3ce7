"""Gradient clipping by norm (Pascanu et al. 2013, "On the difficulty of training recurrent neural
networks", algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

# As in torch.nn.utils.clip_grad_norm_.
_EPSILON = 1e-6


@torch.no_grad()
def clip(parameters: Sequence[nn.Parameter], most: float, models: int = 1) -> None:
    """Scale gradients in place so that the norm over all gradients of a model is at most `most`.

    With `models` stacked along the first axis of each parameter, each is scaled by its own norm.
    """
    gradients = [item.grad for item in parameters if item.grad is not None]
    norms = torch.stack([torch.linalg.vector_norm(item.reshape(models, -1), dim=1) for item in gradients])
    factors = (most / (torch.linalg.vector_norm(norms, dim=0) + _EPSILON)).clamp(max=1.0)
    for gradient in gradients:
        # A single model has no axis of models: (1, 1, …) in front of its own changes nothing.
        gradient.mul_(factors.view(-1, *[1] * (gradient.dim() - 1)) if gradient.dim() else factors[0])
