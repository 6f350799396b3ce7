"""Datasets and DataLoaders of torch as what a dataset function gives: what is read of them, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    random_split,
)
from trained import record_of, run

from forge_tui import load_model
from forge_tui.errors import DataError
from forge_tui.settings.schema import DataSettings, Settings
from forge_tui.training.data.dataset import Task
from forge_tui.training.data.own_data import own_dataset

X = torch.arange(60, dtype=torch.float32).view(20, 3).square()
Y = torch.arange(20) % 4
PAIRS = TensorDataset(X, Y)


class Stream(IterableDataset[tuple[Tensor, int]]):
    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        return iter(zip(X, Y.tolist(), strict=True))


class StreamWithLength(Stream):
    def __len__(self) -> int:
        return 20


class Arrays(Dataset[tuple[Any, int]]):
    def __len__(self) -> int:
        return 20

    def __getitem__(self, number: int) -> tuple[Any, int]:
        return X[number].numpy(), int(Y[number])


def assert_same(found: Any, expected: Any) -> None:
    for name in ("train_inputs", "train_targets", "validation_inputs", "validation_targets"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=0.0, atol=0.0)
    assert (found.task, found.outputs, found.classes) == (expected.task, expected.outputs, expected.classes)


@pytest.mark.parametrize(
    "given",
    [
        StreamWithLength(),
        DataLoader(PAIRS),
        DataLoader(PAIRS, batch_size=5),
        DataLoader(PAIRS, batch_size=8, shuffle=True, drop_last=True),
        DataLoader(PAIRS, batch_size=None),
        DataLoader(PAIRS, batch_size=7, num_workers=2),
        DataLoader(PAIRS, batch_size=4, sampler=SequentialSampler(PAIRS)),
        DataLoader(PAIRS, batch_sampler=BatchSampler(RandomSampler(PAIRS), 4, drop_last=False)),
        DataLoader(PAIRS, batch_size=4, collate_fn=default_collate),
        DataLoader(Arrays(), batch_size=4),
        DataLoader(Stream(), batch_size=6),
        DataLoader(StreamWithLength(), batch_size=None),
        DataLoader(list(zip(X, Y.tolist(), strict=True)), batch_size=4),  # type: ignore[arg-type]
        DataLoader(ConcatDataset([Subset(PAIRS, range(12)), Subset(PAIRS, range(12, 20))]), batch_size=9),
    ],
    ids=[
        "iterable with a length", "of one", "of five", "shuffled", "without batches", "with workers", "in order",
        "batch sampler", "default collate_fn", "arrays", "of an iterable", "iterable without batches", "of a list",
        "of parts",
    ],
)  # fmt: skip
def test_the_samples_are_those_of_its_dataset_in_order(given: Any) -> None:
    assert_same(own_dataset(given, Settings()), own_dataset((X, Y), Settings()))


def test_a_part_that_a_sampler_selects() -> None:
    chosen = [3, 17, 5, 8, 11, 2, 14, 9, 0, 19]
    loader = DataLoader(PAIRS, batch_size=4, sampler=SubsetRandomSampler(chosen))
    found = own_dataset(loader, Settings(data=DataSettings(validation_fraction=0.0, normalise=False)))
    assert found.train_inputs.tolist() == X[chosen].tolist()


@pytest.mark.parametrize("kind", [tuple, list])
@pytest.mark.parametrize(
    ("train", "held"),
    [
        (DataLoader(Subset(PAIRS, range(14)), batch_size=4, shuffle=True), DataLoader(Subset(PAIRS, range(14, 20)))),
        (Subset(PAIRS, range(14)), Subset(PAIRS, range(14, 20))),
        (
            DataLoader(PAIRS, batch_size=4, sampler=SubsetRandomSampler(range(14))),
            DataLoader(PAIRS, batch_size=4, sampler=SubsetRandomSampler(range(14, 20))),
        ),
        (DataLoader(Subset(PAIRS, range(14))), Subset(PAIRS, range(14, 20))),
    ],
    ids=["loaders", "datasets", "samplers of one dataset", "one of each"],
)
def test_two_of_them_are_training_and_validation(train: Any, held: Any, kind: Any) -> None:
    found = own_dataset(kind((train, held)), Settings())
    assert_same(found, own_dataset((X[:14], Y[:14], X[14:], Y[14:]), Settings()))
    assert found.split["method"] == "given by the dataset"


def test_what_random_split_gives() -> None:
    train, held = random_split(PAIRS, [15, 5], torch.Generator().manual_seed(1))
    found = own_dataset(random_split(PAIRS, [15, 5], torch.Generator().manual_seed(1)), Settings())
    assert_same(found, own_dataset((X[train.indices], Y[train.indices], X[held.indices], Y[held.indices]), Settings()))


def padded(batch: list[Any]) -> Any:
    return default_collate(batch)


class Backwards(Sampler[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(19, -1, -1))

    def __len__(self) -> int:
        return 20


class OwnBatches(Sampler[list[int]]):
    def __iter__(self) -> Iterator[list[int]]:
        return iter([[1, 2], [3]])


LOADER = DataLoader(PAIRS, batch_size=4)
ONE_OR_TWO = "; of Datasets and DataLoaders give one, or two, for training and validation"
COLLATE = "gives a DataLoader with a collate_fn of its own ({name}), which makes the batches; batches are made by the"
SAMPLER = "gives a DataLoader whose sampler ({name}) decides which samples are seen, and how often; give the samples"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (DataLoader(PAIRS, batch_size=4, collate_fn=padded), COLLATE.format(name="padded")),
        (DataLoader(PAIRS, collate_fn=lambda batch: batch), COLLATE.format(name="<lambda>")),
        (
            DataLoader(PAIRS, sampler=WeightedRandomSampler([0.1] * 20, 20)),
            SAMPLER.format(name="WeightedRandomSampler"),
        ),
        (DataLoader(PAIRS, sampler=WeightedRandomSampler([0.1] * 20, 20)), "--class-weights balanced"),
        (DataLoader(PAIRS, sampler=RandomSampler(PAIRS, replacement=True)), SAMPLER.format(name="RandomSampler")),
        (DataLoader(PAIRS, sampler=RandomSampler(PAIRS, num_samples=7)), SAMPLER.format(name="RandomSampler")),
        (DataLoader(PAIRS, sampler=SequentialSampler(range(7))), SAMPLER.format(name="SequentialSampler")),
        (DataLoader(PAIRS, sampler=Backwards()), SAMPLER.format(name="Backwards")),
        (DataLoader(PAIRS, batch_sampler=OwnBatches()), SAMPLER.format(name="OwnBatches")),
        (
            DataLoader(PAIRS, batch_size=None, sampler=BatchSampler(RandomSampler(PAIRS), 4, drop_last=False)),  # type: ignore[arg-type]
            SAMPLER.format(name="BatchSampler"),
        ),
        (
            DataLoader(PAIRS, batch_sampler=BatchSampler(WeightedRandomSampler([1.0] * 20, 20), 4, drop_last=False)),
            SAMPLER.format(name="WeightedRandomSampler"),
        ),
        ([LOADER, LOADER, LOADER], "gives a list with a DataLoader in it" + ONE_OR_TWO),
        ([LOADER], "gives a list with a DataLoader in it"),
        ((X, LOADER), "gives a tuple with a DataLoader in it"),
        ((PAIRS, PAIRS, PAIRS, PAIRS), "gives a tuple with a TensorDataset in it"),
        ({"inputs": LOADER, "targets": Y}, "gives a DataLoader as 'inputs'" + ONE_OR_TWO),
        ({"train": LOADER, "val": LOADER}, "gives a DataLoader as 'train'" + ONE_OR_TWO),
        (DataLoader(X, batch_size=4), "sample 1 is an array of shape (3,); each must be (input, target)"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_what_would_be_read_wrongly_is_refused_by_name(given: Any, words: str) -> None:
    with pytest.raises(DataError) as caught:
        own_dataset(given, Settings())
    assert words in str(caught.value)


# --- a metric of a regression


CODE = """
import torch
from torch import nn

seen = []


def dataset():
    inputs = torch.randn(60, 3, generator=torch.Generator().manual_seed(1))
    return inputs, 1000.0 + 50.0 * inputs[:, :2]


def model(inputs):
    return nn.Linear(inputs.features, inputs.outputs)


def metric(outputs, targets):
    seen.append((outputs.clone(), targets.clone()))
    return (outputs - targets).abs().mean()
"""


@pytest.mark.parametrize("grouped", [False, True], ids=["alone", "group"])
@pytest.mark.parametrize("own_model", [True, False], ids=["custom", "built-in"])
def test_a_metric_of_a_regression_gets_the_units_of_the_data(
    make_job: Any, tmp_path: Path, grouped: bool, own_model: bool
) -> None:
    path = tmp_path / "regression_code.py"
    path.write_text(CODE, encoding="utf-8")
    named = {"dataset": f"{path}:dataset", "metric": f"{path}:metric", "epochs": 2}
    if own_model:
        named["model_type"] = f"{path}:model"
    jobs = [make_job("run", named, model=f"cognate_m_{n}", index=n, seed=n) for n in (1, 2)]
    for group in [jobs] if grouped else [[job] for job in jobs]:
        run(group)

    (module,) = [one for one in sys.modules.values() if getattr(one, "__file__", None) == str(path)]
    dataset = own_dataset(module.dataset(), Settings())
    assert dataset.task is Task.REGRESSION
    assert len(module.seen) == 4
    for job in jobs:
        stem = Path(job.directory) / job.model
        outputs = load_model(stem, trust_code=True)(dataset.validation_inputs)
        told = record_of(job)["validation"]["metric"]
        assert told == pytest.approx(float((outputs - dataset.validation_targets).abs().mean()), rel=1e-4)
    for outputs, targets in module.seen:
        assert torch.equal(targets, dataset.validation_targets)  # to the bit
        assert abs(float(outputs.mean()) - 1000.0) < 100.0
    np.testing.assert_array_less(500.0, torch.cat([outputs for outputs, _ in module.seen]).numpy())
