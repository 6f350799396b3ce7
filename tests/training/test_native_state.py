"""Native steps against eager ones, and against themselves in other groups, threads and calls."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from native import native_library
from torch import Tensor

from forge_tui.settings.schema import DataSettings, Settings, TrainingConfig
from forge_tui.training import native_state
from forge_tui.training.data import load_dataset
from forge_tui.training.data.dataset import Dataset, Task
from forge_tui.training.group_state import GroupState
from forge_tui.training.native_state import NativeState
from forge_tui.training.optimizers import EPSILON, Adam, Rates
from forge_tui.training.placed_data import PlacedData
from forge_tui.training.state import SingleState, TrainingState

CPU = torch.device("cpu")
SEEDS = (0, 7, 3)
RATES = (Rates(0.001, 0.0), Rates(0.02, 0.01), Rates(0.005, 0.2))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Other tests may have set more; and small numbers count as 0, as in a worker."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    yield
    torch.set_flush_denormal(False)
    torch.set_num_threads(before)


def settings_of(data: dict[str, Any] | None = None, **training: Any) -> Settings:
    return Settings(
        training=TrainingConfig(**{"model_size": 2_000, **training}),
        data=DataSettings(**{"samples": 110, "features": 12, "classes": 4, **(data or {})}),
    )


def regression(dataset: Dataset, outputs: int) -> Dataset:
    """The same inputs with numbers to predict."""
    targets = torch.randn(len(dataset.train_inputs), outputs, generator=torch.Generator().manual_seed(1))
    return dataclasses.replace(
        dataset, task=Task.REGRESSION, train_targets=targets, validation_inputs=None, validation_targets=None,
        outputs=outputs, classes=None,
    )  # fmt: skip


def native(settings: Settings, dataset: Dataset, seeds: tuple[int, ...] = SEEDS) -> NativeState:
    rates = [RATES[SEEDS.index(seed)] for seed in seeds]
    return NativeState(settings.training, dataset, seeds, native_library(), rates=rates)


def placed(state: TrainingState, dataset: Dataset) -> PlacedData:
    return PlacedData(dataset, state.network, state.training.batch_size, CPU)


def train(state: TrainingState, data: PlacedData, seeds: tuple[int, ...], steps: int) -> None:
    """Train so many steps, over the ends of epochs."""
    last = state.step + steps
    while state.step < last:
        begun = state.step

        def may_continue(asked: list[int] = [begun]) -> bool:  # noqa: B006
            asked[0] += 1
            return asked[0] <= last

        if state.train_epoch(data, seeds, may_continue):
            state.epoch, state.step_in_epoch = state.epoch + 1, 0


def moments(state: TrainingState) -> tuple[list[Tensor], list[Tensor]]:
    assert isinstance(state.optimizer, Adam)
    return state.optimizer.moments


def copy_state(state: TrainingState, to: TrainingState) -> None:
    with torch.no_grad():
        for one, other in zip(state.parameters, to.parameters, strict=True):
            other.copy_(one)
    to.optimizer.load(state.optimizer.state())
    to.loss_sum.copy_(state.loss_sum)


SHAPES: dict[str, dict[str, Any]] = {
    "widths of no whole vectors": {"model_size": 3_000, "data": {"features": 13, "classes": 5}},
    "two classes": {"model_size": 9_000, "data": {"features": 20, "classes": 2}},
    "ten classes": {"model_size": 9_000, "data": {"features": 64, "classes": 10}},
    "many classes": {"model_size": 9_000, "data": {"features": 3, "classes": 37}},
    "two blocks": {"model_size": 300_000, "batch_size": 50},
    "batches of 5": {"batch_size": 5},
    "one sample": {"batch_size": 1},
    "batches of 70": {"batch_size": 70},
    "one batch": {"batch_size": 1_000_000},
}
OPTIONS: dict[str, dict[str, Any]] = {
    "adamw": {"optimizer": "adamw"},
    "betas": {"betas": (0.7, 0.9)},
    "smoothed labels": {"label_smoothing": 0.2},
    "class weights": {"data": {"class_weights": "balanced"}},
    "class weights and smoothed labels": {"label_smoothing": 0.2, "data": {"class_weights": "balanced"}},
    "warm-up and cosine": {"schedule": "cosine", "warmup_steps": 4, "epochs": 3},
    "one cycle": {"schedule": "one_cycle", "epochs": 3},
}


@pytest.mark.parametrize("given", [*SHAPES.values(), *OPTIONS.values()], ids=[*SHAPES, *OPTIONS])
def test_each_of_some_steps_is_the_eager_one_up_to_rounding(given: dict[str, Any], tmp_path: Path) -> None:
    settings = settings_of(**given)
    check_steps(settings, load_dataset(settings, tmp_path))


@pytest.mark.parametrize("outputs", [1, 3, 20])
def test_a_regression_is_the_eager_one_up_to_rounding(outputs: int, tmp_path: Path) -> None:
    settings = settings_of(optimizer="adamw")
    check_steps(settings, regression(load_dataset(settings, tmp_path), outputs))


def check_steps(settings: Settings, dataset: Dataset) -> None:
    """Eight steps of both from the same states, with other rates and decays for each model."""
    eager = GroupState(settings.training, dataset, SEEDS, CPU, rates=list(RATES))
    ours = native(settings, dataset)
    data = placed(eager, dataset)
    for _ in range(8):
        before = [item.detach().double() for item in eager.parameters]
        copy_state(eager, ours)
        for state in (eager, ours):
            train(state, data, SEEDS, 1)
        assert ours.loss_sum == pytest.approx(eager.loss_sum, rel=1e-5)
        both = zip(chain(*moments(ours)), chain(*moments(eager)), strict=True)
        for found, expected in both:
            assert (found - expected).abs().max() <= 2e-5 * expected.abs().max()
        for number, weights in enumerate(ours.parameters):
            check_update(ours, number, weights.detach().double(), before[number])
    assert ours.step == eager.step == 8
    assert ours.step_in_epoch == eager.step_in_epoch


def check_update(state: TrainingState, number: int, after: Tensor, before: Tensor) -> None:
    """The weights have moved as their moments say. Where gradients are rounding errors these are not the eager ones."""
    training, step = state.training, state.step
    average, square = (part[number].double() for part in moments(state))
    root = (square / (1 - training.betas[1] ** step)).sqrt() + EPSILON
    direction = average / (1 - training.betas[0] ** step) / root
    for model, rates in enumerate(RATES):
        rate = state.scheduled_rate(model)
        kept = 1 - rate * rates.weight_decay if training.optimizer == "adamw" else 1.0
        expected = before[model] * kept - rate * direction[model]
        error = (after[model] - expected).abs().max()
        assert error <= 1e-6 * before[model].abs().max() + 1e-5 * rate


def tensors_of(state: TrainingState, model: int) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in state.tensors(model).items()}


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert tensor.shape == other[name].shape, name
        assert tensor.numpy().tobytes() == other[name].numpy().tobytes(), name


@pytest.mark.parametrize("batch_size", [32, 5])
def test_a_model_has_the_same_bytes_alone_and_in_a_group(batch_size: int, tmp_path: Path) -> None:
    settings = settings_of(batch_size=batch_size)
    dataset = load_dataset(settings, tmp_path)
    group = native(settings, dataset)
    train(group, placed(group, dataset), SEEDS, 30)
    for number, seed in enumerate(SEEDS):
        alone = native(settings, dataset, (seed,))
        train(alone, placed(alone, dataset), (seed,), 30)
        assert_equal(tensors_of(alone, 0), tensors_of(group, number))


def test_threads_and_steps_per_call_change_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(schedule="cosine", warmup_steps=5, epochs=8)
    dataset = load_dataset(settings, tmp_path)
    usual = native(settings, dataset)
    train(usual, placed(usual, dataset), SEEDS, 30)
    assert usual._steps_per_call(placed(usual, dataset)) > 30
    torch.set_num_threads(2)
    monkeypatch.setattr(native_state, "_CALL_SECONDS", 0.0)
    other = native(settings, dataset)
    assert other._steps_per_call(placed(other, dataset)) == 1
    train(other, placed(other, dataset), SEEDS, 30)
    for number in range(len(SEEDS)):
        assert_equal(tensors_of(other, number), tensors_of(usual, number))


def test_models_that_leave_change_no_byte_of_the_others(tmp_path: Path) -> None:
    settings = settings_of()
    dataset = load_dataset(settings, tmp_path)
    whole, smaller = native(settings, dataset), native(settings, dataset)
    for state in (whole, smaller):
        train(state, placed(state, dataset), SEEDS, 7)
    smaller.remove(1)
    train(whole, placed(whole, dataset), SEEDS, 7)
    train(smaller, placed(smaller, dataset), (SEEDS[0], SEEDS[2]), 7)
    for number, before in ((0, 0), (1, 2)):
        assert_equal(tensors_of(smaller, number), tensors_of(whole, before))


def test_a_rate_that_is_set_counts_from_the_next_step(tmp_path: Path) -> None:
    settings = settings_of()
    dataset = load_dataset(settings, tmp_path)
    state = native(settings, dataset)
    before = [item.detach().clone() for item in state.parameters]
    state.set_learning_rate(0, 0.0)
    train(state, placed(state, dataset), SEEDS, 3)
    assert all(torch.equal(item[0], old[0]) for item, old in zip(state.parameters, before, strict=True))
    assert not torch.equal(state.parameters[0][1], before[0][1])


def test_averaged_weights_follow_every_step(tmp_path: Path) -> None:
    settings = settings_of(weights_average=0.9)
    dataset = load_dataset(settings, tmp_path)
    state = native(settings, dataset)
    data, averages = placed(state, dataset), []
    for step in range(6):
        train(state, data, SEEDS, 1)
        now = [item.detach().clone() for item in state.parameters]
        averages = now if step == 0 else [torch.lerp(old, new, 0.1) for old, new in zip(averages, now, strict=True)]
        assert all(
            torch.allclose(*pair, atol=1e-7) for pair in zip(averages, state.average.state().values(), strict=True)
        )
    other = native(settings, dataset)
    train(other, placed(other, dataset), SEEDS, 6)
    for number in range(len(SEEDS)):
        assert_equal(tensors_of(other, number), tensors_of(state, number))
        for name, weight in state.final_weights(number).items():
            assert name.startswith("feature") or not torch.equal(weight, state.weights(number)[name])


def test_its_tensors_are_those_of_an_eager_model(tmp_path: Path) -> None:
    settings = settings_of()
    dataset = load_dataset(settings, tmp_path)
    ours, eager = native(settings, dataset, (7,)), SingleState(settings.training, dataset, 7, CPU)
    assert_equal(tensors_of(ours, 0), tensors_of(eager, 0))
    for state in (ours, eager):
        train(state, placed(state, dataset), (7,), 1)
    found, expected = tensors_of(ours, 0), tensors_of(eager, 0)
    assert {name: item.shape for name, item in found.items()} == {name: item.shape for name, item in expected.items()}


def test_a_model_whose_weights_are_not_numbers_has_such_a_loss(tmp_path: Path) -> None:
    settings = settings_of()
    dataset = load_dataset(settings, tmp_path)
    state = native(settings, dataset)
    with torch.no_grad():
        state.parameters[4][1].fill_(float("nan"))
        state.parameters[-2][2].fill_(float("inf"))
    train(state, placed(state, dataset), SEEDS, 2)
    assert state.loss_sum.isfinite().tolist() == [True, False, False]
    assert [state.weights_are_finite(number) for number in range(3)] == [True, False, False]


def test_classes_beyond_the_outputs_are_refused(tmp_path: Path) -> None:
    settings = settings_of()
    dataset = load_dataset(settings, tmp_path)
    dataset = dataclasses.replace(dataset, train_targets=dataset.train_targets + 1)
    state = native(settings, dataset)
    with pytest.raises(ValueError, match="classes from 0 to 3"):
        train(state, placed(state, dataset), SEEDS, 1)
