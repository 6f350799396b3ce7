"""The memory: a gated recurrent network that reads its past states by attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from forge_tui.training.models.inputs import InputSpec
from forge_tui.training.models.layers import Embedding, Gru, LayerNorm, Linear, attention
from forge_tui.training.models.sequence import FeatureSteps
from forge_tui.training.models.sizing import Shape, fit, linear


class RecurrentMemory(nn.Module):
    """A GRU (Cho et al. 2014) whose every state reads the states up to it by scaled dot-product attention.

    State and attention output go through one hidden layer, around a residual path.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.cell = Gru(shape.width)
        self.norm = LayerNorm(shape.width)
        self.query_key_value = Linear(shape.width, 3 * shape.width)
        self.inner = Linear(2 * shape.width, shape.hidden)
        self.outer = Linear(shape.hidden, shape.width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, S, width) → (N, S, width); step s depends on steps 1 … s only."""
        states = self.norm(self.cell.states(x))
        query, key, value = self.query_key_value(states).chunk(3, dim=-1)
        read = attention(query, key, value, causal=True)
        return states + self.outer(functional.gelu(self.inner(torch.cat((states, read), dim=-1))))


class FeatureMemory(nn.Module):
    """Features as up to 16 time steps; the output is that of the last: (N, features) → (N, outputs)."""

    def __init__(self, features: int, outputs: int, shape: Shape) -> None:
        super().__init__()
        self.enter = FeatureSteps(features, shape.width)
        self.memory = RecurrentMemory(shape)
        self.leave = Linear(shape.width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, features) → (N, outputs)."""
        return self.leave(self.memory(self.enter(x))[..., -1, :])


class TokenMemory(nn.Module):
    """Outputs at every token: (N, T) → (N, T, outputs), or with `last_only` at the last: (N, outputs)."""

    def __init__(self, vocabulary: int, outputs: int, shape: Shape, *, last_only: bool) -> None:
        super().__init__()
        self.last_only = last_only
        self.embedding = Embedding(vocabulary, shape.width)
        self.memory = RecurrentMemory(shape)
        self.leave = Linear(shape.width, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T) int64 → (N, T, outputs) or (N, outputs)."""
        x = self.memory(self.embedding(tokens))
        return self.leave(x[..., -1, :] if self.last_only else x)


def parameter_count(shape: Shape, inputs: InputSpec) -> int:
    """Parameters of the memory of this shape."""
    width = shape.width
    cell = 6 * width * width + 6 * width
    head = linear(width, 3 * width) + linear(2 * width, shape.hidden) + linear(shape.hidden, width) + 2 * width
    if inputs.vocabulary is not None:
        ends = inputs.vocabulary * width + linear(width, inputs.outputs)
    else:
        ends = FeatureSteps.count(inputs.features or 0, width) + linear(width, inputs.outputs)
    return ends + cell + head


def build(size: int, inputs: InputSpec, *, in_eights: bool) -> nn.Module:
    """The memory with about `size` parameters; `in_eights`: see `fit`."""
    shape = fit(
        "memory",
        size,
        inputs,
        lambda width: Shape(width=width, hidden=2 * width, depth=1),
        lambda shape: parameter_count(shape, inputs),
        in_eights=in_eights,
    )
    if inputs.vocabulary is not None:
        return TokenMemory(inputs.vocabulary, inputs.outputs, shape, last_only=inputs.last_only)
    return FeatureMemory(inputs.features or 0, inputs.outputs, shape)
