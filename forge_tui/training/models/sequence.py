"""What the models of sequences share: features cut into steps, tokens embedded, positions."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

STEPS = 16


def steps_for(features: int) -> tuple[int, int]:
    """Number of steps that features are cut into, and features a step; the last step may be padded."""
    a_step = -(-features // STEPS)
    return -(-features // a_step), a_step


class FeatureSteps(nn.Module):
    """Cuts features into at most 16 neighbouring groups and maps each to a vector: (N, features) → (N, S, width).

    Groups are what patches are to an image (Dosovitskiy et al. 2021); a step a feature would cost S² attention for
    little gain. Each position has a learned vector of its own, as features have no order of their own.
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.steps, self.a_step = steps_for(features)
        self.padding = self.steps * self.a_step - features
        self.map = nn.Linear(self.a_step, width)
        self.position = nn.Parameter(torch.randn(self.steps, width) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        """(N, features) → (N, S, width)."""
        grouped = functional.pad(x, (0, self.padding)).unflatten(1, (self.steps, self.a_step))
        return self.map(grouped) + self.position

    @staticmethod
    def count(features: int, width: int) -> int:
        """Parameters."""
        steps, a_step = steps_for(features)
        return a_step * width + width + steps * width


class TokenEmbedding(nn.Module):
    """Vectors for tokens, used again to score the next token (Press & Wolf 2017): one matrix for both."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.table.weight, std=width**-0.5)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.scale = math.sqrt(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T) int64 → (N, T, width)."""
        return self.table(tokens) * self.scale

    def score(self, x: Tensor) -> Tensor:
        """(N, T, width) → (N, T, vocabulary)."""
        return functional.linear(x, self.table.weight, self.bias)

    @staticmethod
    def count(vocabulary: int, width: int) -> int:
        """Parameters."""
        return vocabulary * width + vocabulary


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
