"""The moving average of the weights against torch's own."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from forge_tui.training.averaging import MovingAverage


def moved(model: nn.Module, step: int) -> None:
    """Other weights, the same for every model."""
    generator = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for item in model.parameters():
            item.copy_(torch.randn(item.shape, generator=generator))


def test_the_average_is_torchs_byte_for_byte() -> None:
    model = nn.Linear(5, 3)
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    own = MovingAverage(list(model.parameters()), 0.9)
    for step in range(20):
        moved(model, step)
        own.follow()
        theirs.update_parameters(model)
    expected = list(theirs.module.parameters())
    trained = [item.detach().clone() for item in model.parameters()]
    with own.in_use():
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), expected, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), trained, strict=True))
    assert all(torch.equal(own.state()[str(number)], item) for number, item in enumerate(expected))


def test_weights_are_back_after_an_error() -> None:
    model = nn.Linear(2, 2)
    own = MovingAverage(list(model.parameters()), 0.5)
    for step in range(3):
        moved(model, step)
        own.follow()
    trained = model.weight.detach().clone()
    try:
        with own.in_use():
            assert not torch.equal(model.weight, trained)
            raise KeyError
    except KeyError:
        pass
    assert torch.equal(model.weight, trained)


def test_state_goes_on_exactly() -> None:
    model = nn.Linear(5, 3)
    through = MovingAverage(list(model.parameters()), 0.9)
    for step in range(3):
        moved(model, step)
        through.follow()
    broken = MovingAverage(list(model.parameters()), 0.9)
    broken.load({name: tensor.clone() for name, tensor in through.state().items()})
    moved(model, 3)
    for average in (through, broken):
        average.follow()
    assert all(torch.equal(broken.state()[name], tensor) for name, tensor in through.state().items())


def test_without_decay_nothing_is_kept() -> None:
    model = nn.Linear(2, 2)
    average = MovingAverage(list(model.parameters()), 0.0)
    average.follow()
    assert average.state() == {}
    with average.in_use():
        pass
