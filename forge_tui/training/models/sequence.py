"""Common parts of sequence models: features as steps, positions, heads."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

STEPS = 16


def steps_for(features: int) -> tuple[int, int]:
    """Number of steps for features, and features per step; the last step may be padded."""
    a_step = -(-features // STEPS)
    return -(-features // a_step), a_step


class FeatureSteps(nn.Module):
    """Cuts features into at most 16 neighbouring groups and maps each to a vector: (N, features) → (N, S, width).

    Every feature has its own weight vector (Gorishniy et al. 2021, "Revisiting Deep Learning Models for Tabular Data",
    section 3.3): with weights shared between groups, 64 synthetic features were not learned. Groups keep attention
    cheap: one step per feature would cost 16 times as much.
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.steps, self.a_step = steps_for(features)
        self.padding = self.steps * self.a_step - features
        bound = self.a_step**-0.5
        self.weight = nn.Parameter(torch.empty(features, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(self.steps, width).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """(N, features) → (N, S, width)."""
        groups = (self.steps, self.a_step)
        grouped = functional.pad(x, (0, self.padding)).unflatten(-1, groups).transpose(-3, -2)
        weight = functional.pad(self.weight, (0, 0, 0, self.padding)).unflatten(-2, groups)
        return torch.matmul(grouped, weight).transpose(-3, -2) + self.bias.unsqueeze(-3)

    @staticmethod
    def count(features: int, width: int) -> int:
        """Parameters."""
        return features * width + steps_for(features)[0] * width


def sinusoids(steps: int, width: int, like: Tensor) -> Tensor:
    """Position vectors for any length, (steps, width) (Vaswani et al. 2017, section 3.5)."""
    half = -(-width // 2)
    rate = torch.exp(torch.arange(half, device=like.device) * (-math.log(10_000.0) / half))
    angle = torch.arange(steps, device=like.device).unsqueeze(1) * rate
    return torch.cat((angle.sin(), angle.cos()), dim=1)[:, :width].to(like.dtype)


def heads_for(width: int) -> int:
    """Attention heads: 1 below a width of 32, then 2, and from 64 on 4."""
    return 1 if width < 32 else 2 if width < 64 else 4


def even_width(width: int) -> int:
    """The largest width up to `width` that divides into its heads."""
    return width - width % heads_for(width)
