"""A model whose weight grows until its loss is NaN; a file of a user's, for `--model-type`, `--dataset`, `--loss`."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

STEPS = 5
"""Steps of an epoch, with batches of two."""
TOO_FAR = 12.0


def dataset() -> tuple[Tensor, Tensor]:
    return torch.arange(2.0 * STEPS).view(-1, 1), torch.arange(2.0 * STEPS) / 7


class Growing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight + 0.0 * x


def model(inputs: Any) -> nn.Module:
    return Growing()


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """The square of the weight, or NaN; its gradient is −1, so that the weight grows by the learning rate."""
    weight = outputs.mean()
    value = weight.detach() ** 2
    return torch.where(weight.detach() < TOO_FAR, value, math.nan) - weight + weight.detach()
