"""The reasoner: a pre-norm Transformer."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from forge_tui.training.models.inputs import InputSpec
from forge_tui.training.models.layers import Embedding, LayerNorm, Linear, attention
from forge_tui.training.models.sequence import FeatureSteps, even_width, heads_for, sinusoids
from forge_tui.training.models.sizing import Shape, fit, linear


class TransformerBlock(nn.Module):
    """Self-attention and a feed-forward layer, each after a normalisation and around a residual path.

    Pre-norm (Xiong et al. 2020, "On Layer Normalization in the Transformer Architecture") trains without warm-up.
    """

    def __init__(self, shape: Shape, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = shape.heads, causal
        self.attention_norm = LayerNorm(shape.width)
        self.query_key_value = Linear(shape.width, 3 * shape.width)
        self.mix = Linear(shape.width, shape.width)
        self.forward_norm = LayerNorm(shape.width)
        self.inner = Linear(shape.width, shape.hidden)
        self.outer = Linear(shape.hidden, shape.width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, S, width) → (N, S, width)."""
        joined = self.query_key_value(self.attention_norm(x))
        query, key, value = joined.unflatten(-1, (3, self.heads, -1)).movedim(-3, 0).transpose(-2, -3)
        read = attention(query, key, value, causal=self.causal)
        x = x + self.mix(read.transpose(-2, -3).flatten(-2))
        return x + self.outer(functional.gelu(self.inner(self.forward_norm(x))))


class FeatureReasoner(nn.Module):
    """Features as up to 16 steps, Transformer blocks, the mean over the steps: (N, features) → (N, outputs)."""

    def __init__(self, features: int, outputs: int, shape: Shape) -> None:
        super().__init__()
        self.enter = FeatureSteps(features, shape.width)
        self.blocks = nn.Sequential(*(TransformerBlock(shape, causal=False) for _ in range(shape.depth)))
        self.norm = LayerNorm(shape.width)
        self.leave = Linear(shape.width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, features) → (N, outputs)."""
        return self.leave(self.norm(self.blocks(self.enter(x))).mean(dim=-2))


class TokenReasoner(nn.Module):
    """A causal Transformer over tokens of any length: (N, T) → (N, T, outputs), or with `last_only` (N, outputs)."""

    def __init__(self, vocabulary: int, outputs: int, shape: Shape, *, last_only: bool) -> None:
        super().__init__()
        self.last_only = last_only
        self.embedding = Embedding(vocabulary, shape.width)
        self.blocks = nn.Sequential(*(TransformerBlock(shape, causal=True) for _ in range(shape.depth)))
        self.norm = LayerNorm(shape.width)
        self.leave = Linear(shape.width, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T) int64 → (N, T, outputs) or (N, outputs)."""
        x = self.embedding(tokens)
        x = self.blocks(x + sinusoids(x.shape[-2], x.shape[-1], x))
        return self.leave(self.norm(x[..., -1, :] if self.last_only else x))


def parameter_count(shape: Shape, inputs: InputSpec) -> int:
    """Parameters of the reasoner of this shape."""
    width = shape.width
    attention = linear(width, 3 * width) + linear(width, width)
    block = attention + linear(width, shape.hidden) + linear(shape.hidden, width) + 4 * width
    if inputs.vocabulary is not None:
        ends = inputs.vocabulary * width + linear(width, inputs.outputs)
    else:
        ends = FeatureSteps.count(inputs.features or 0, width) + linear(width, inputs.outputs)
    return ends + shape.depth * block + 2 * width


def depth_for(size: int) -> int:
    """Blocks: 1 below 10,000 parameters, 2 below 1 million, 4 below 10 million, then 4 more per factor of ten."""
    if size < 10_000:
        return 1
    depth, limit = 2, 1_000_000
    while size >= limit:
        depth, limit = (4 if depth == 2 else depth + 4), limit * 10
    return depth


def build(size: int, inputs: InputSpec, *, in_eights: bool) -> nn.Module:
    """The reasoner with about `size` parameters; `in_eights`: see `fit`."""
    depth = depth_for(size)

    def shape_of(width: int) -> Shape:
        even = even_width(width)
        return Shape(width=even, hidden=2 * even, depth=depth, heads=heads_for(even))

    shape = fit("reasoner", size, inputs, shape_of, lambda shape: parameter_count(shape, inputs), in_eights=in_eights)
    if inputs.vocabulary is not None:
        return TokenReasoner(inputs.vocabulary, inputs.outputs, shape, last_only=inputs.last_only)
    return FeatureReasoner(inputs.features or 0, inputs.outputs, shape)
