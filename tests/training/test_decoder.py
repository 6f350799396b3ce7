"""The decoder of the GrokFast paper: its size, its arithmetic against torch's own layers, its limits."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from forge_tui.errors import SettingsError
from forge_tui.settings.files import read_settings
from forge_tui.settings.presets import preset_path
from forge_tui.training.data.load import load_dataset
from forge_tui.training.models.decoder import decoder
from forge_tui.training.models.inputs import InputSpec
from forge_tui.training.own_code import load_own_code

TOKENS = InputSpec(vocabulary=99, outputs=97, last_only=True)


def test_the_paper_network_has_422_000_parameters() -> None:
    made = decoder(TOKENS)
    assert sum(item.numel() for item in made.parameters()) == 422_400


def test_it_is_torchs_layers_in_the_papers_order() -> None:
    torch.manual_seed(0)
    made = decoder(TOKENS, width=16, heads=4)
    tokens = torch.randint(99, (5, 4))
    x = made.tokens.weight[tokens] + made.positions.weight[torch.arange(4)]
    later = torch.full((4, 4), -torch.inf).triu(1)
    for block in made.blocks:
        attention = nn.MultiheadAttention(16, 4, batch_first=True)
        attention.load_state_dict(
            {
                "in_proj_weight": block.query_key_value.weight, "in_proj_bias": block.query_key_value.bias,
                "out_proj.weight": block.mix.weight, "out_proj.bias": block.mix.bias,
            }
        )  # fmt: skip
        normed = nn.functional.layer_norm(x, (16,))
        x = x + attention(normed, normed, normed, attn_mask=later)[0]
        inner = nn.functional.gelu(
            nn.functional.linear(nn.functional.layer_norm(x, (16,)), block.inner.weight, block.inner.bias)
        )
        x = x + nn.functional.linear(inner, block.outer.weight, block.outer.bias)
    expected = nn.functional.layer_norm(x[:, -1], (16,)) @ made.head.weight.T
    torch.testing.assert_close(made(tokens), expected, rtol=1e-4, atol=1e-5)
    assert decoder(InputSpec(vocabulary=99, outputs=99))(tokens).shape == (5, 4, 99)


def test_it_begins_as_torchs_layers_do() -> None:
    torch.manual_seed(0)
    first = decoder(TOKENS).blocks[0]
    assert not first.query_key_value.bias.any()
    assert not first.mix.bias.any()
    assert first.query_key_value.weight.detach().abs().max().item() == pytest.approx((6 / 512) ** 0.5, rel=1e-2)
    torch.manual_seed(0)
    scaled = decoder(TOKENS, embedding_scale=0.5)
    torch.manual_seed(0)
    plain = decoder(TOKENS)
    assert torch.equal(scaled.tokens.weight, plain.tokens.weight * 0.5)
    assert torch.equal(scaled.positions.weight, plain.positions.weight * 0.5)
    assert torch.equal(scaled.head.weight, plain.head.weight)


@pytest.mark.parametrize(
    ("inputs", "shape", "words"),
    [
        (InputSpec(features=3, outputs=2), {}, "a decoder takes tokens"),
        (TOKENS, {"width": 10, "heads": 4}, "the width a multiple of the heads"),
        (TOKENS, {"depth": 0}, "all must be at least 1"),
    ],
)
def test_what_it_cannot_be_is_told(inputs: InputSpec, shape: dict[str, int], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        decoder(inputs, **shape)


@pytest.mark.parametrize("preset", ["grokking", "grokking-fast"])
def test_the_preset_is_the_papers_task(preset: str) -> None:
    settings = read_settings(preset_path(preset))
    own = load_own_code(settings)
    dataset = load_dataset(settings, preset_path(preset).parent)
    assert own.model is not None
    assert sum(item.numel() for item in own.model(dataset.inputs).parameters()) == 422_400
    assert (dataset.train_samples, dataset.validation_samples) == (4_656, 4_656)
    assert -(-dataset.train_samples // settings.training.batch_size) == 10
