"""GrokFast against the formulas of Lee et al. 2024, computed by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from forge_tui.settings.schema import TrainingConfig
from forge_tui.training.grokfast import ExponentialFilter, NoFilter, WindowFilter, make_filter


def filtered(gradient_filter: ExponentialFilter | WindowFilter, parameter: nn.Parameter, gradient: float) -> float:
    parameter.grad = torch.full_like(parameter, gradient)
    gradient_filter.apply()
    return parameter.grad.tolist()[0]


@pytest.fixture
def parameter() -> nn.Parameter:
    return nn.Parameter(torch.zeros(2))


def test_exponential_average_begins_with_the_first_gradient(parameter: nn.Parameter) -> None:
    gradient_filter = ExponentialFilter([parameter], alpha=0.75, factor=2.0)
    # h: 4, then 0.75·4 + 0.25·8 = 5, then 0.75·5 + 0.25·(-3) = 3; g + 2h.
    assert [filtered(gradient_filter, parameter, g) for g in (4.0, 8.0, -3.0)] == [12.0, 18.0, 3.0]


def test_windowed_average_waits_until_the_window_is_full(parameter: nn.Parameter) -> None:
    gradient_filter = WindowFilter([parameter], window=3, factor=2.0)
    # Means of the last three: (1+2+6)/3 = 3, (2+6+1)/3 = 3, (6+1-1)/3 = 2; g + 2·mean.
    assert [filtered(gradient_filter, parameter, g) for g in (1.0, 2.0, 6.0, 1.0, -1.0)] == [1.0, 2.0, 12.0, 7.0, 3.0]


def test_window_of_one_scales_the_gradient(parameter: nn.Parameter) -> None:
    gradient_filter = WindowFilter([parameter], window=1, factor=0.5)
    assert [filtered(gradient_filter, parameter, g) for g in (4.0, -2.0)] == [6.0, -3.0]


@pytest.mark.parametrize("kind", ["ema", "ma"])
def test_state_goes_on_exactly(kind: str) -> None:
    config = TrainingConfig(grokfast_enabled=True, grokfast_filter=kind, grokfast_window=3)
    first, second = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    one = make_filter([first], config)
    for gradient in (1.0, 5.0, 2.0, 7.0):
        filtered(one, first, gradient)
    other = make_filter([second], config)
    other.load({name: tensor.clone() for name, tensor in one.state().items()})
    assert [filtered(one, first, g) for g in (3.0, 4.0)] == [filtered(other, second, g) for g in (3.0, 4.0)]


def test_filter_follows_the_settings(parameter: nn.Parameter) -> None:
    assert isinstance(make_filter([parameter], TrainingConfig()), NoFilter)
    ema = make_filter([parameter], TrainingConfig(grokfast_enabled=True, grokfast_alpha=0.5, grokfast_lambda=3.0))
    assert [filtered(ema, parameter, g) for g in (1.0, 3.0)] == [4.0, 9.0]
    config = TrainingConfig(grokfast_enabled=True, grokfast_filter="ma", grokfast_window=2, grokfast_lambda=1.0)
    window = make_filter([parameter], config)
    assert [filtered(window, parameter, g) for g in (1.0, 3.0)] == [1.0, 5.0]


def test_a_parameter_without_gradient_is_left_alone(parameter: nn.Parameter) -> None:
    unused = nn.Parameter(torch.zeros(2))
    gradient_filter = ExponentialFilter([unused, parameter], alpha=0.5, factor=1.0)
    assert filtered(gradient_filter, parameter, 2.0) == 4.0
    assert unused.grad is None
