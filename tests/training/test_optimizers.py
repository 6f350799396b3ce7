"""The optimizers against torch's own, byte for byte, stacked models against single ones, and what they import."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from forge_tui.settings.schema import TrainingConfig
from forge_tui.training.optimizers import Rates, make_optimizer

CONFIGS: dict[str, tuple[TrainingConfig, Callable[..., torch.optim.Optimizer]]] = {
    "adam": (
        TrainingConfig(optimizer="adam", weight_decay=0.01, betas=(0.8, 0.99)),
        lambda items: torch.optim.Adam(items, lr=0.001, weight_decay=0.01, betas=(0.8, 0.99), fused=True),
    ),
    "adamw": (
        TrainingConfig(optimizer="adamw", weight_decay=0.1),
        lambda items: torch.optim.AdamW(items, lr=0.001, weight_decay=0.1, fused=True),
    ),
    "sgd": (
        TrainingConfig(optimizer="sgd", momentum=0.9, weight_decay=0.01),
        lambda items: torch.optim.SGD(items, lr=0.001, momentum=0.9, weight_decay=0.01, fused=True),
    ),
    "plain sgd": (TrainingConfig(optimizer="sgd"), lambda items: torch.optim.SGD(items, lr=0.001, fused=True)),
}
SHAPES = [(5, 7), (7,), (3, 2, 2)]


def parameters(seed: int, models: int | None = None) -> list[nn.Parameter]:
    """Random parameters of one model, or of several stacked along the first axis."""
    if models is None:
        generator = torch.Generator().manual_seed(seed)
        return [nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64)) for shape in SHAPES]
    singles = [parameters(seed + number) for number in range(models)]
    return [nn.Parameter(torch.stack([item.detach() for item in same])) for same in zip(*singles, strict=True)]


def gradients(step: int, seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1_000 * step + seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]


@pytest.mark.parametrize(("training", "theirs"), CONFIGS.values(), ids=CONFIGS.keys())
def test_the_bytes_are_those_of_torchs_optimizers(training: TrainingConfig, theirs: Callable[..., object]) -> None:
    ours, reference = parameters(0), parameters(0)
    own, other = make_optimizer(ours, training), theirs(reference)
    for step in range(20):
        for items in (ours, reference):
            for item, gradient in zip(items, gradients(step, 0), strict=True):
                item.grad = gradient.clone()
        own.step()
        other.step()  # type: ignore[attr-defined]
    assert all(torch.equal(a, b) for a, b in zip(ours, reference, strict=True))


@pytest.mark.parametrize("training", [config for config, _ in CONFIGS.values()], ids=CONFIGS.keys())
@pytest.mark.parametrize("same_rates", [True, False])
def test_stacked_models_step_as_each_alone_with_its_own_rates(training: TrainingConfig, same_rates: bool) -> None:
    rates = [
        Rates(0.001 if same_rates else 0.001 * (number + 1), 0.01 * (not same_rates) * number) for number in range(3)
    ]
    stacked = parameters(0, models=3)
    together = make_optimizer(stacked, training, rates)
    alone = [parameters(number) for number in range(3)]
    own = [make_optimizer(items, training, [rates[number]]) for number, items in enumerate(alone)]
    for step in range(10):
        for number, items in enumerate(alone):
            for item, gradient in zip(items, gradients(step, number), strict=True):
                item.grad = gradient
            own[number].step()
        each = [gradients(step, number) for number in range(3)]
        for item, same in zip(stacked, zip(*each, strict=True), strict=True):
            item.grad = torch.stack(same)
        together.step()
    for number, items in enumerate(alone):
        for item, both in zip(items, stacked, strict=True):
            torch.testing.assert_close(both[number], item, rtol=1e-12, atol=0)


@pytest.mark.parametrize("training", [config for config, _ in CONFIGS.values()], ids=CONFIGS.keys())
def test_state_goes_on_exactly(training: TrainingConfig) -> None:
    through, broken = parameters(0), parameters(0)
    one, two = make_optimizer(through, training), make_optimizer(broken, training)
    for step in range(6):
        if step == 3:
            kept = {name: tensor.clone() for name, tensor in two.state().items()}
            two = make_optimizer(broken, training)
            two.load(kept)
        for items, optimizer in ((through, one), (broken, two)):
            for item, gradient in zip(items, gradients(step, 0), strict=True):
                item.grad = gradient.clone()
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(through, broken, strict=True))


def test_no_training_imports_dynamo() -> None:
    code = (
        "import sys, torch; from forge_tui.settings.schema import TrainingConfig;"
        "from forge_tui.training import forkserver; from forge_tui.training.optimizers import make_optimizer;"
        "forkserver._preload(); p = [torch.nn.Parameter(torch.ones(3))]; o = make_optimizer(p, TrainingConfig());"
        "(p[0] ** 2).sum().backward(); o.step(); print('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
