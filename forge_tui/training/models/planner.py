"""The planner: a residual MLP."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from forge_tui.training.models.inputs import InputSpec
from forge_tui.training.models.layers import Embedding, LayerNorm, Linear
from forge_tui.training.models.sizing import Shape, fit, linear

CONTEXT = 8


class ResidualBlock(nn.Module):
    """x + W₂ relu(W₁ norm(x)), with the normalisation before the layers (He et al. 2016, "Identity Mappings")."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = LayerNorm(width)
        self.inner = Linear(width, hidden)
        self.outer = Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(…, width) → (…, width)."""
        return x + self.outer(torch.relu(self.inner(self.norm(x))))


class Planner(nn.Module):
    """A residual MLP over the features: (N, features) → (N, outputs)."""

    def __init__(self, inputs: int, outputs: int, shape: Shape) -> None:
        super().__init__()
        self.features, self.outputs, self.width, self.hidden = inputs, outputs, shape.width, shape.hidden
        self.enter = Linear(inputs, shape.width)
        self.blocks = nn.Sequential(*(ResidualBlock(shape.width, shape.hidden) for _ in range(shape.depth)))
        self.leave = Linear(shape.width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(…, inputs) → (…, outputs)."""
        return self.leave(self.blocks(self.enter(x)))


class TokenPlanner(nn.Module):
    """A residual MLP over the last 8 tokens: (N, T) → (N, T, outputs), or with `last_only` (N, outputs).

    The embeddings of a token and of the seven before it are concatenated, with zeros before the start of the text
    (Bengio et al. 2003, "A Neural Probabilistic Language Model").
    """

    def __init__(self, vocabulary: int, outputs: int, shape: Shape, *, last_only: bool) -> None:
        super().__init__()
        self.last_only = last_only
        self.embedding = Embedding(vocabulary, embedding_width(shape.width))
        self.planner = Planner(CONTEXT * embedding_width(shape.width), outputs, shape)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T) int64 → (N, T, outputs) or (N, outputs)."""
        embedded = functional.pad(self.embedding(tokens), (0, 0, CONTEXT - 1, 0))
        windows = embedded.unfold(-2, CONTEXT, 1)
        if self.last_only:
            windows = windows[..., -1, :, :]
        return self.planner(windows.flatten(-2))


def embedding_width(width: int) -> int:
    """The size of a token's embedding in a planner of this width."""
    return max(2, min(64, width // 4))


def parameter_count(shape: Shape, inputs: InputSpec) -> int:
    """Parameters of the planner of this shape."""
    block = 2 * shape.width + linear(shape.width, shape.hidden) + linear(shape.hidden, shape.width)
    entering, embedding = inputs.features or 0, 0
    if inputs.vocabulary is not None:
        entering = CONTEXT * embedding_width(shape.width)
        embedding = inputs.vocabulary * embedding_width(shape.width)
    return embedding + linear(entering, shape.width) + shape.depth * block + linear(shape.width, inputs.outputs)


def depth_for(size: int) -> int:
    """Residual blocks: one below 300,000 parameters, two below 3 million, then one more for each factor of ten.

    On CPUs a step of a small model is mostly call overhead, which grows with depth and hardly with width.
    """
    depth, limit = 1, 300_000
    while size >= limit:
        depth, limit = depth + 1, limit * 10
    return depth


def build(size: int, inputs: InputSpec, *, in_eights: bool) -> nn.Module:
    """The planner with about `size` parameters; `in_eights`: see `fit`."""
    depth = depth_for(size)
    shape = fit(
        "planner",
        size,
        inputs,
        lambda width: Shape(width=width, hidden=2 * width, depth=depth),
        lambda shape: parameter_count(shape, inputs),
        in_eights=in_eights,
    )
    if inputs.vocabulary is not None:
        return TokenPlanner(inputs.vocabulary, inputs.outputs, shape, last_only=inputs.last_only)
    return Planner(inputs.features or 0, inputs.outputs, shape)
