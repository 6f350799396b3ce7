"""The optimizers against torch's own, byte for byte, stacked models against single ones, and what they import."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from running import script
from torch import Tensor, nn

from forge_tui.settings.schema import TrainingConfig
from forge_tui.training.optimizers import Muon, Rates, hidden_matrices, make_optimizer, orthogonal

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


@pytest.mark.usefixtures("from_scratch")
def test_no_training_imports_dynamo() -> None:
    code = (
        "import torch; from forge_tui.settings.schema import TrainingConfig;"
        "from forge_tui.worker import fork_server; from forge_tui.training.optimizers import make_optimizer;"
        "fork_server._preload(); p = [torch.nn.Parameter(torch.ones(3))]; o = make_optimizer(p, TrainingConfig());"
        "(p[0] ** 2).sum().backward(); o.step(); print('torch._dynamo' in sys.modules)"
    )
    assert script(code).stdout == "False\n"


def test_orthogonal_matrices_have_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((6, 9), (9, 6), (3, 5, 5)):
        matrix = torch.randn(shape, dtype=torch.float64)
        found = orthogonal(matrix)
        values = torch.linalg.svdvals(found)
        assert 0.6 < values.min() <= values.max() < 1.3
        u, _, v = torch.linalg.svd(matrix, full_matrices=False)
        along = (found * (u @ v)).sum(dim=(-2, -1)) / (found.norm(dim=(-2, -1)) * (u @ v).norm(dim=(-2, -1)))
        assert along.min() > 0.95
        torch.testing.assert_close(orthogonal(matrix.mT), found.mT)


def test_muon_steps_as_torchs_does() -> None:
    """Torch's makes orthogonal in 16-bit numbers: near, not equal. What is no matrix steps as by AdamW."""
    training = TrainingConfig(optimizer="muon", learning_rate=0.01, weight_decay=0.1)
    shapes = [(40, 30), (40,), (20, 40)]
    generator = torch.Generator().manual_seed(0)
    ours = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    theirs = [nn.Parameter(item.detach().clone()) for item in ours]
    before = [item.detach().clone() for item in ours]
    own = make_optimizer(ours, training, matrices=[0, 2])
    muon = torch.optim.Muon([theirs[0], theirs[2]], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW([theirs[1]], lr=0.01, weight_decay=0.1, fused=True)
    for _ in range(10):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape, generator=generator)
            other.grad = one.grad.clone()
        own.step()
        muon.step()
        adamw.step()
    assert torch.equal(ours[1], theirs[1])
    for number in (0, 2):
        moved, expected = ours[number] - before[number], theirs[number] - before[number]
        assert (moved - expected).norm() < 0.02 * expected.norm()


def test_muon_goes_on_from_its_state_and_has_a_rate_for_each_model() -> None:
    training = TrainingConfig(optimizer="muon", weight_decay=0.1)
    shapes = [(4, 3), (4,), (2, 4)]
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    steps = [[torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes] for _ in range(4)]

    def stepped(items: list[nn.Parameter], optimizer: Muon, which: slice, models: int = 0) -> None:
        for gradients in steps[which]:
            for item, gradient in zip(items, gradients, strict=True):
                item.grad = torch.stack([gradient] * models) if models else gradient.clone()
            optimizer.step(0.5)

    rates = [Rates(0.01, 0.1), Rates(0.02, 0.0)]
    whole = [nn.Parameter(item.clone()) for item in start]
    stepped(whole, Muon(whole, rates[:1], training.betas, [0, 2]), slice(None))
    parts = [nn.Parameter(item.clone()) for item in start]
    first = Muon(parts, rates[:1], training.betas, [0, 2])
    assert first.state() == {}
    stepped(parts, first, slice(2))
    second = Muon(parts, rates[:1], training.betas, [0, 2])
    second.load(first.state())
    stepped(parts, second, slice(2, None))
    assert all(torch.equal(one, other) for one, other in zip(parts, whole, strict=True))
    both = [nn.Parameter(torch.stack([item, item])) for item in start]
    stepped(both, Muon(both, rates, training.betas, [0, 2]), slice(None), models=2)
    other = [nn.Parameter(item.clone()) for item in start]
    stepped(other, Muon(other, rates[1:], training.betas, [0, 2]), slice(None))
    for item, one, two in zip(both, whole, other, strict=True):
        torch.testing.assert_close(item[0], one, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(item[1], two, rtol=1e-10, atol=1e-12)


def test_hidden_matrices_are_neither_embeddings_nor_the_last() -> None:
    module = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 3), nn.Linear(3, 2))
    assert hidden_matrices(module) == {1, 5}
    assert hidden_matrices(nn.Linear(3, 2)) == set()
