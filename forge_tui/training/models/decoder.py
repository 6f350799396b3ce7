"""A causal Transformer decoder of a given shape: the network of the GrokFast paper, for sequences of tokens.

Named in settings like a custom model: `forge_tui.training.models.decoder:decoder`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from forge_tui.errors import SettingsError
from forge_tui.training.models.inputs import InputSpec
from forge_tui.training.models.layers import Embedding, LayerNorm, Linear, attention


class DecoderBlock(nn.Module):
    """Attention and a GELU layer four times as wide, each after a normalisation and around a residual path.

    Initial values are those of `torch.nn.MultiheadAttention`: Glorot for the three projections, biases of zero.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = LayerNorm(width)
        self.query_key_value = Linear(width, 3 * width)
        self.mix = Linear(width, width)
        self.forward_norm = LayerNorm(width)
        self.inner = Linear(width, 4 * width)
        self.outer = Linear(4 * width, width)
        nn.init.xavier_uniform_(self.query_key_value.weight)
        for layer in (self.query_key_value, self.mix):
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, *, last_only: bool = False) -> Tensor:
        """(N, T, width) → (N, T, width), or with `last_only` just the last position, (N, 1, width)."""
        joined = self.query_key_value(self.attention_norm(x))
        query, key, value = joined.unflatten(-1, (3, self.heads, -1)).movedim(-3, 0).transpose(-2, -3)
        if last_only:
            x, query = x[..., -1:, :], query[..., -1:, :]
        read = attention(query, key, value, causal=not last_only)
        x = x + self.mix(read.transpose(-2, -3).flatten(-2))
        return x + self.outer(functional.gelu(self.inner(self.forward_norm(x))))


class Decoder(nn.Module):
    """Tokens and learned positions, blocks, an untied head without bias: (N, T) → (N, T, outputs) or (N, outputs)."""

    def __init__(self, inputs: InputSpec, *, width: int, depth: int, heads: int, context: int) -> None:
        super().__init__()
        self.last_only = inputs.last_only
        self.tokens = Embedding(inputs.vocabulary or 0, width)
        self.positions = Embedding(context, width)
        self.blocks = nn.ModuleList(DecoderBlock(width, heads) for _ in range(depth))
        self.norm = LayerNorm(width)
        self.head = Linear(width, inputs.outputs, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T) int64, T up to `context`."""
        places = torch.arange(tokens.shape[-1], device=tokens.device).expand(tokens.shape)
        x = self.tokens(tokens) + self.positions(places)
        for number, block in enumerate(self.blocks, 1):
            x = block(x, last_only=self.last_only and number == len(self.blocks))
        return self.head(self.norm(x[..., -1, :] if self.last_only else x))


def decoder(
    inputs: InputSpec,
    width: int = 128,
    depth: int = 2,
    heads: int = 4,
    context: int = 4,
    embedding_scale: float = 1.0,
) -> nn.Module:
    """A decoder of this shape, for sequences of up to `context` tokens. Raises `SettingsError`.

    Token and position embeddings start with a deviation of `embedding_scale`; torch's default is 1, which makes them by
    far the largest weights.
    """
    if inputs.vocabulary is None:
        raise SettingsError("a decoder takes tokens: give --dataset modular or a .txt file")
    if min(width, depth, heads, context) < 1 or width % heads:
        raise SettingsError(
            f"width = {width}, depth = {depth}, heads = {heads}, context = {context}: all must be at least 1, and the "
            "width a multiple of the heads"
        )
    made = Decoder(inputs, width=width, depth=depth, heads=heads, context=context)
    with torch.no_grad():
        for embedding in (made.tokens, made.positions):
            embedding.weight.mul_(embedding_scale)
    return made
