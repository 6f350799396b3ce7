"""Arithmetic modulo a prime: its pairs and results, its split, and models that learn it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from forge_tui.errors import SettingsError
from forge_tui.protocol.events import EpochFinished
from forge_tui.settings.schema import DataSettings, RunSettings, Settings, TrainingConfig, from_plain
from forge_tui.training.data import Dataset, Task, load_dataset
from forge_tui.training.export import load_model
from forge_tui.worker.inspection import Probe

RESULTS: dict[str, Any] = {
    "*": lambda x, y: x * y,
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "/": lambda x, y: next(z for z in range(7) if z * y % 7 == x),
    "x^2+y^2": lambda x, y: x * x + y * y,
}


def load(seed: int = 0, **data: Any) -> Dataset:
    settings = Settings(
        training=TrainingConfig(dataset="modular"), data=DataSettings(**data), run=RunSettings(seed=seed)
    )
    return load_dataset(settings, Path("/"))


@pytest.mark.parametrize("operation", RESULTS)
def test_all_pairs_with_their_results(operation: str) -> None:
    found = load(prime=7, operation=operation, train_fraction=1.0)
    first = 1 if operation in ("*", "/") else 0
    pairs = [(x, y) for x in range(7) for y in range(first, 7)]
    assert found.train_inputs.tolist() == [[x, 7, y, 8] for x, y in pairs]
    assert found.train_targets.tolist() == [RESULTS[operation](x, y) % 7 for x, y in pairs]
    assert (found.task, found.outputs, found.classes) == (Task.CLASSIFICATION, 7, tuple(range(7)))
    assert found.vocabulary == ("0", "1", "2", "3", "4", "5", "6", operation, "=")
    assert found.inputs.last_only
    assert (found.validation_inputs, found.validation_targets, found.validation_samples) == (None, None, 0)


def test_by_default_half_of_the_pairs_of_the_paper_are_trained_on() -> None:
    found = load()
    assert (found.train_samples, found.validation_samples, found.outputs) == (97 * 96 // 2, 97 * 96 // 2, 97)
    assert found.split["train_fraction"] == 0.5


def test_the_split_is_a_permutation_fixed_by_the_seed() -> None:
    data = {"prime": 11, "train_fraction": 0.3}
    first, again, other = load(**data), load(**data), load(seed=1, **data)
    assert (first.train_samples, first.validation_samples) == (33, 77)
    assert torch.equal(first.train_inputs, again.train_inputs)
    assert not torch.equal(first.train_inputs, other.train_inputs)
    both = torch.cat((first.train_inputs, first.validation_inputs))
    assert sorted(both[:, [0, 2]].tolist()) == [[x, y] for x in range(11) for y in range(1, 11)]
    assert first.train_samples == load(validation_fraction=0.9, normalise=False, **data).train_samples


@pytest.mark.parametrize("operation", ["*", "-"])
def test_the_smallest_prime_and_the_smallest_part(operation: str) -> None:
    found = load(prime=2, operation=operation, train_fraction=0.001)
    assert (found.train_samples, found.outputs) == (1, 2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"prime": 96}, "prime = 96: must be a prime number"),
        ({"prime": 961}, "prime = 961: must be a prime number"),  # 31 times 31
        ({"prime": 1}, "prime = 1: must be at least 2"),
        ({"prime": -7}, "prime = -7: must be at least 2"),
        ({"prime": 1009}, "prime = 1009: must be at most 1000"),
        ({"prime": 97.0}, "prime = 97.0: must be a whole number"),
        ({"operation": "**"}, r"operation = \"\*\*\": must be '\*', '\+', '-', '/' or 'x\^2\+y\^2'"),
        ({"train_fraction": 0.0}, "train_fraction = 0.0: must be greater than 0"),
        ({"train_fraction": 1.5}, "train_fraction = 1.5: must be at most 1"),
    ],
)
def test_what_may_not_stand_is_told(data: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        DataSettings(**data)


def accuracy(model: torch.nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> float:
    with torch.inference_mode():
        return (model(inputs).argmax(dim=1) == targets).double().mean().item()


@pytest.mark.parametrize("architecture", ["planner", "reasoner", "memory"])
def test_it_is_learned_and_the_model_comes_back(make_job: Any, train: Any, architecture: str) -> None:
    job = make_job(
        training={
            "model_type": architecture, "model_size": 10_000, "dataset": "modular", "epochs": 200,
            "learning_rate": 0.003, "batch_size": 16,
        },
        data={"prime": 7, "operation": "+", "train_fraction": 0.8},
    )  # fmt: skip
    events = train(job)[1]
    last = [event for event in events if isinstance(event, EpochFinished)][-1]
    stem = Path(job.directory) / job.model
    told, model = json.loads(stem.with_suffix(".json").read_bytes()), load_model(stem)
    dataset = load_dataset(from_plain(job.settings), Path("/"))
    assert accuracy(model, dataset.train_inputs, dataset.train_targets) >= 0.95
    assert accuracy(model, dataset.validation_inputs, dataset.validation_targets) == last.metrics.get(
        "validation_accuracy"
    )
    assert last.metrics.get("validation_perplexity") is None
    assert (told["task"], told["target"], told["features"]) == ("classification", "result", [])
    assert (told["classes"], told["vocabulary"][-2:]) == (list(range(7)), ["+", "="])


def test_the_probe_counts_its_classes(make_job: Any) -> None:
    found = Probe(make_job(training={"dataset": "modular"}, data={"prime": 5})).inspect()
    assert (found.task, found.classes, found.features) == ("classification", 5, None)
    assert (found.train_samples, found.validation_samples) == (10, 10)
