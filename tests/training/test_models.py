from __future__ import annotations

import pytest
import torch

from forge_tui.errors import SettingsError
from forge_tui.training.data.dataset import Normalisation
from forge_tui.training.models import InputSpec, Network, build_model
from forge_tui.training.models.network import count_parameters, named_weights, set_weights

ARCHITECTURES = ("planner", "reasoner", "memory")
INPUTS = (
    InputSpec(features=1, outputs=1),
    InputSpec(features=30, outputs=2),
    InputSpec(features=64, outputs=10),
    InputSpec(features=784, outputs=10),
    InputSpec(vocabulary=2, outputs=2),
    InputSpec(vocabulary=65, outputs=65),
    InputSpec(vocabulary=200, outputs=200),
    InputSpec(vocabulary=99, outputs=97, last_only=True),
)
SIZES = (1_000, 2_000, 5_000, 20_000, 104_000, 300_000, 1_000_000, 10_000_000)


@pytest.mark.parametrize("inputs", INPUTS, ids=str)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_size_is_met_to_within_5_percent(architecture: str, inputs: InputSpec) -> None:
    for size in SIZES:
        with torch.device("meta"):
            parameters = count_parameters(build_model(architecture, size, inputs))
        assert abs(parameters - size) <= 0.05 * size, (size, parameters)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("size", [104_000, 300_000, 1_000_000, 10_000_000])
def test_widths_are_multiples_of_eight(architecture: str, size: int) -> None:
    with torch.device("meta"):
        model = build_model(architecture, size, InputSpec(features=64, outputs=10))
    (hidden, width), *_ = [item.shape for name, item in model.named_parameters() if name.endswith("outer.weight")]
    assert (hidden % 8, width % 8) == (0, 0)
    assert model.leave.weight.shape[1] in (hidden, width)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_size_too_small_for_the_inputs_says_what_is_possible(architecture: str) -> None:
    with pytest.raises(
        SettingsError, match=r"model_size = 1000: .* smallest has [\d,]+ parameters: raise --model-size"
    ):
        build_model(architecture, 1_000, InputSpec(vocabulary=3_000, outputs=3_000))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_shapes_of_features(architecture: str) -> None:
    for features in (1, 5, 17, 64):
        model = build_model(architecture, 5_000, InputSpec(features=features, outputs=3))
        assert model(torch.randn(7, features)).shape == (7, 3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_tokens_of_any_length_and_no_look_ahead(architecture: str) -> None:
    torch.manual_seed(0)
    model = build_model(architecture, 5_000, InputSpec(vocabulary=11, outputs=11)).eval()
    tokens = torch.randint(0, 11, (2, 40))
    changed = tokens.clone()
    changed[:, 20] = (changed[:, 20] + 1) % 11
    with torch.inference_mode():
        before, after = model(tokens), model(changed)
    assert before.shape == (2, 40, 11)
    torch.testing.assert_close(before[:, :20], after[:, :20])
    assert not torch.allclose(before[:, 20:], after[:, 20:])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_one_answer_a_sequence_is_that_of_the_last_place(architecture: str) -> None:
    def answers(last_only: bool) -> torch.Tensor:
        torch.manual_seed(0)
        model = build_model(architecture, 5_000, InputSpec(vocabulary=11, outputs=9, last_only=last_only)).eval()
        with torch.inference_mode():
            return model(tokens)

    tokens = torch.randint(0, 11, (6, 4), generator=torch.Generator().manual_seed(1))
    assert answers(last_only=True).shape == (6, 9)
    torch.testing.assert_close(answers(last_only=True), answers(last_only=False)[:, -1])


def test_only_tokens_have_a_last_place() -> None:
    with pytest.raises(ValueError, match="last_only is for tokens"):
        InputSpec(features=3, outputs=2, last_only=True)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_feature_and_every_parameter_counts(architecture: str) -> None:
    torch.manual_seed(0)
    model = build_model(architecture, 5_000, InputSpec(features=19, outputs=2))
    inputs = torch.randn(8, 19, requires_grad=True)
    model(inputs).square().sum().backward()
    assert (inputs.grad.abs().sum(dim=0) > 0).all()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_equal_seeds_give_equal_weights() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.cat([item.flatten() for item in build_model("planner", 2_000, INPUTS[1]).parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_network_scales_raw_features_and_answers_in_the_targets_units() -> None:
    normalisation = Normalisation(
        feature_mean=torch.tensor([10.0, -2.0]),
        feature_scale=torch.tensor([2.0, 4.0]),
        target_mean=torch.tensor([100.0]),
        target_scale=torch.tensor([5.0]),
    )
    body = torch.nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        body.weight.copy_(torch.tensor([[1.0, 1.0]]))
    network = Network(body, normalisation)
    raw = torch.tensor([[14.0, 2.0]])
    assert network.scale_features(raw).tolist() == [[2.0, 1.0]]
    assert network(raw).tolist() == [[115.0]]
    assert network.scale_targets(torch.tensor([[115.0]])).tolist() == [[3.0]]


def test_tied_weights_are_stored_once_and_come_back() -> None:
    class Tied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Linear(3, 3)
            self.second = torch.nn.Linear(3, 3)
            self.second.weight = self.first.weight

    module, other = Tied(), Tied()
    stored = named_weights(module)
    assert sorted(stored) == ["first.bias", "first.weight", "second.bias"]
    set_weights(other, stored)
    assert torch.equal(other.second.weight, module.first.weight)
    with pytest.raises(ValueError, match="other weights"):
        set_weights(other, {"first.bias": stored["first.bias"]})
