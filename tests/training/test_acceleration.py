"""Mixed precision and compiled models against torch's own, alone and in groups."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from depth import deep
from torch import Tensor
from torch.nn.functional import cross_entropy

from forge_tui.settings.schema import DataSettings, Settings, TrainingConfig
from forge_tui.training.acceleration import missing_compiler
from forge_tui.training.data import load_dataset
from forge_tui.training.data.dataset import Dataset
from forge_tui.training.group_state import GroupState
from forge_tui.training.own_code import load_own_code
from forge_tui.training.placed_data import PlacedData
from forge_tui.training.state import SingleState, TrainingState, new_network

CPU = torch.device("cpu")
SEEDS = (3, 4)


def of(tmp_path: Path, **training: Any) -> tuple[Settings, Dataset]:
    settings = Settings(
        training=TrainingConfig(**{"model_size": 5_000, "optimizer": "sgd", "learning_rate": 0.1, **training}),
        data=DataSettings(samples=120, features=16, classes=4),
    )
    return settings, load_dataset(settings, tmp_path)


def trained(state: TrainingState, data: PlacedData, seeds: tuple[int, ...]) -> TrainingState:
    for inputs, targets in state.batches(data, seeds):
        state.loss(data, inputs, targets).backward()
        state.update()
    return state


def data_of(settings: Settings, dataset: Dataset, state: TrainingState) -> PlacedData:
    return PlacedData(dataset, state.network, settings.training.batch_size, CPU)


def plain(settings: Settings, dataset: Dataset, seed: int, forward: Callable[[Any], Any]) -> dict[str, Tensor]:
    """A loop by hand over the same batches; `forward` makes of the module what is called."""
    network = new_network(settings.training, dataset, seed)
    state = SingleState(settings.training, dataset, seed, CPU)
    body, optimizer = forward(network.body), torch.optim.SGD(network.parameters(), settings.training.learning_rate)
    for inputs, targets in state.batches(data_of(settings, dataset, state), [seed]):
        optimizer.zero_grad()
        body(inputs, targets).backward()
        optimizer.step()
    return {name: item.detach() for name, item in network.named_parameters()}


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], rtol: float, atol: float) -> None:
    for name, item in expected.items():
        torch.testing.assert_close(found[name], item, rtol=rtol, atol=atol, msg=name)


@pytest.mark.parametrize("model_type", ["planner", "reasoner"])
def test_bfloat16_is_torchs_mixed_precision(model_type: str, tmp_path: Path) -> None:
    settings, dataset = of(tmp_path, model_type=model_type, precision="bfloat16")

    def mixed(body: Any) -> Any:
        def forward(inputs: Tensor, targets: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return cross_entropy(body(inputs), targets)

        return forward

    state = SingleState(settings.training, dataset, 3, CPU)
    data = data_of(settings, dataset, state)
    found = trained(state, data, (3,)).weights(0)
    expected = plain(settings, dataset, 3, mixed)
    assert all(item.dtype is torch.float32 for item in found.values() if item.is_floating_point())
    assert_close(found, expected, 0.0, 0.0)
    exact = plain(settings, dataset, 3, lambda body: lambda inputs, targets: cross_entropy(body(inputs), targets))
    assert any(not torch.equal(found[name], item) for name, item in exact.items())
    assert_close(found, exact, 0.1, 0.02)
    (validation,) = state.validate(data)
    assert validation["validation_loss"] is not None


def test_a_group_in_bfloat16_is_near_its_models_alone(tmp_path: Path) -> None:
    settings, dataset = of(tmp_path, precision="bfloat16")
    group = GroupState(settings.training, dataset, SEEDS, CPU)
    data = data_of(settings, dataset, group)
    trained(group, data, SEEDS)
    for number, seed in enumerate(SEEDS):
        alone = trained(SingleState(settings.training, dataset, seed, CPU), data, (seed,))
        assert_close(group.weights(number), alone.weights(0), 0.1, 0.02)


SMALL_NET = """
from torch import nn


def model(inputs):
    return nn.Sequential(nn.Linear(inputs.features, 8), nn.Tanh(), nn.Linear(8, inputs.outputs))
"""


@pytest.mark.parametrize("kind", ["small", deep("planner")])  # of a planner 40 kernels are compiled
def test_a_compiled_model_trains_as_the_plain_one(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone and in a group, with a short last batch; its names are those of the plain one."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    assert missing_compiler(CPU) is None
    (tmp_path / "small.py").write_text(SMALL_NET, encoding="utf-8")
    model_type = "planner" if kind == "planner" else str(tmp_path / "small.py")
    settings, dataset = of(tmp_path, compile=True, model_type=model_type)
    without, _ = of(tmp_path, model_type=model_type)
    own = load_own_code(settings)
    state = SingleState(settings.training, dataset, 3, CPU, own)
    data = data_of(settings, dataset, state)
    trained(state, data, (3,))
    expected = trained(SingleState(without.training, dataset, 3, CPU, own), data, (3,))
    assert state.tensors(0).keys() == expected.tensors(0).keys()
    assert_close(state.weights(0), expected.weights(0), 1e-4, 1e-5)
    group = trained(GroupState(settings.training, dataset, SEEDS, CPU, own), data, SEEDS)
    assert_close(group.weights(0), expected.weights(0), 1e-4, 1e-5)
    assert state.validate(data)[0] == pytest.approx(expected.validate(data)[0], rel=1e-4)


def test_without_a_compiler_it_is_told_before_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert str(missing_compiler(CPU)).startswith("a C++ compiler (g++ or clang++)")
