"""Clipping against torch's own, and each model of a stack by its own norm."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from forge_tui.training.clipping import clip

SHAPES = [(5, 7), (7,), (), (3, 2, 2)]


def gradients(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]


def parameters(values: list[Tensor]) -> list[nn.Parameter]:
    """Parameters that have these gradients."""
    found = [nn.Parameter(torch.zeros_like(value)) for value in values]
    for item, value in zip(found, values, strict=True):
        item.grad = value.clone()
    return found


@pytest.mark.parametrize("most", [0.5, 6.0, 1e9])
def test_one_model_is_clipped_as_by_torch(most: float) -> None:
    own, theirs = parameters(gradients(0)), parameters(gradients(0))
    clip(own, most)
    nn.utils.clip_grad_norm_(theirs, most)
    for item, other in zip(own, theirs, strict=True):
        torch.testing.assert_close(item.grad, other.grad, rtol=1e-12, atol=0.0)


def test_each_model_of_a_stack_has_its_own_norm() -> None:
    # The first is longer than 3, the second shorter; the third has diverged, which is nobody else's business.
    singles = [gradients(0), [0.01 * value for value in gradients(1)], [math.nan * value for value in gradients(2)]]
    stacked = parameters([torch.stack(same) for same in zip(*singles, strict=True)])
    clip(stacked, 3.0, models=3)
    for number, values in enumerate(singles):
        alone = parameters(values)
        nn.utils.clip_grad_norm_(alone, 3.0)
        for item, other in zip(stacked, alone, strict=True):
            assert item.grad is not None
            torch.testing.assert_close(item.grad[number], other.grad, rtol=1e-12, atol=0.0, equal_nan=True)
    lengths = [math.sqrt(sum(float(item.grad[n].square().sum()) for item in stacked)) for n in (0, 1)]  # type: ignore[index]
    assert lengths[0] == pytest.approx(3.0, rel=1e-6)
    assert lengths[1] < 0.2


def test_a_parameter_without_gradient_is_passed_over() -> None:
    (used,) = parameters([torch.tensor([3.0, 4.0])])
    unused = nn.Parameter(torch.zeros(2))
    clip([unused, used], 1.0)
    assert unused.grad is None
    torch.testing.assert_close(used.grad, torch.tensor([0.6, 0.8]))
