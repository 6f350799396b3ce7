"""What a dataset function may give, and what is said of all else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import IterableDataset

from forge_tui.errors import DataError
from forge_tui.settings.schema import DataSettings, Settings
from forge_tui.training.data.dataset import Task
from forge_tui.training.data.own_data import own_dataset
from forge_tui.training.models.inputs import InputSpec

X = torch.arange(60, dtype=torch.float32).view(20, 3).square()
Y = torch.arange(20) % 4


class Pairs(TorchDataset[tuple[Tensor, int]]):
    def __len__(self) -> int:
        return 20

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        return X[number], int(Y[number])


class Stream(IterableDataset[tuple[Tensor, int]]):
    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        return iter(zip(X, Y.tolist(), strict=True))


@pytest.mark.parametrize(
    "given",
    [
        (X, Y),
        [X, Y],
        (X.numpy(), Y.numpy()),
        (X.double(), Y.to(torch.int32)),
        {"inputs": X, "targets": Y},
        Pairs(),
        Stream(),
        list(zip(X, Y.tolist(), strict=True)),
        zip(X.numpy(), Y.tolist(), strict=True),
        ((x.tolist(), y) for x, y in zip(X, Y.tolist(), strict=True)),
    ],
    ids=[
        "tensors",
        "list",
        "arrays",
        "other types",
        "dict",
        "Dataset",
        "IterableDataset",
        "samples",
        "zip",
        "generator",
    ],
)
def test_all_kinds_give_the_same_dataset(given: Any) -> None:
    found = own_dataset(given, Settings())
    expected = own_dataset((X, Y), Settings())
    assert (found.task, found.classes, found.outputs) == (Task.CLASSIFICATION, (0, 1, 2, 3), 4)
    assert found.inputs == InputSpec(features=3, outputs=4)
    assert (found.train_samples, found.validation_samples) == (18, 2)
    torch.testing.assert_close(found.train_inputs, expected.train_inputs, rtol=0.0, atol=0.0)
    torch.testing.assert_close(found.train_targets, expected.train_targets, rtol=0.0, atol=0.0)
    assert found.normalisation is not None
    rows = torch.cat((found.train_inputs, found.validation_inputs))  # type: ignore[arg-type, list-item]
    assert sorted(rows[:, 0].tolist()) == sorted(X[:, 0].tolist())


def test_images_keep_their_shape() -> None:
    images = torch.rand(10, 1, 4, 5)
    found = own_dataset((images, torch.arange(10) % 2), Settings())
    assert found.inputs == InputSpec(shape=(1, 4, 5), outputs=2)
    assert found.normalisation is not None
    assert found.normalisation.feature_mean.shape == (1, 4, 5)


def test_a_validation_part_that_is_given_is_kept() -> None:
    found = own_dataset((X[:15], Y[:15], X[15:], Y[15:]), Settings(data=DataSettings(normalise=False)))
    assert (found.train_samples, found.validation_samples) == (15, 5)
    torch.testing.assert_close(found.validation_inputs, X[15:])
    torch.testing.assert_close(found.train_targets, Y[:15])
    assert found.split["method"] == "given by the dataset"


def test_regression_tokens_and_named_classes() -> None:
    found = own_dataset((X, X[:, :2] / 7), Settings())
    assert (found.task, found.outputs) == (Task.REGRESSION, 2)
    found = own_dataset((torch.rand(8, 1, 4, 4), torch.rand(8, 1, 4, 4)), Settings())
    assert (found.task, tuple(found.train_targets.shape[1:])) == (Task.REGRESSION, (1, 4, 4))
    tokens = torch.randint(5, (12, 6))
    found = own_dataset({"inputs": tokens[:, :-1], "targets": tokens[:, 1:], "vocabulary": 5}, Settings())
    assert (found.task, found.inputs) == (Task.NEXT_TOKEN, InputSpec(vocabulary=5, outputs=5))
    found = own_dataset({"inputs": tokens, "targets": tokens[:, 0] % 2, "vocabulary": list("abcde")}, Settings())
    assert (found.task, found.inputs) == (Task.CLASSIFICATION, InputSpec(vocabulary=5, outputs=2, last_only=True))
    found = own_dataset({"inputs": X, "targets": Y, "classes": ["a", "b", "c", "d", "e"]}, Settings())
    assert (found.classes, found.outputs) == (("a", "b", "c", "d", "e"), 5)
    found = own_dataset((X, np.array(["no", "yes"] * 10)), Settings())
    assert found.classes == ("no", "yes")


class Ragged(Pairs):
    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        return X[number][: 3 - number % 2], 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "gives None; give (inputs, targets)"),
        (X, "gives an array of shape (20, 3); give (inputs, targets)"),
        (3, "gives a int; give (inputs, targets)"),
        ((X, Y[:5]), "20 inputs and 5 targets; each sample has one of both"),
        ((X, Y, X[:5], Y[:4]), "5 validation_inputs and 4 validation_targets"),
        ((X, Y, X[:5, :2], Y[:5]), "training samples have the shape (3,), validation samples (2,)"),
        ((X[:0], Y[:0]), "has no samples"),
        ([], "has no samples"),
        ((X, Y, X), "sample 1 is an array of shape (20, 3)"),
        ([(X[0], 1), (X[1],)], "sample 2 is a tuple; each must be (input, target)"),
        (Ragged(), "input 2 has the shape (2,), the first one (3,)"),
        ({"inputs": X, "targets": Y, "extra": 1}, "gives a part 'extra'"),
        ({"inputs": X}, "gives no targets"),
        ({"inputs": X, "targets": Y, "validation_inputs": X}, "without the other"),
        ((X[:, 0], Y), "inputs are float32 (20,)"),
        ((X.where(X != 9.0, torch.nan), Y), "inputs: sample 2 holds a value that is NaN"),
        ((X, X[:, 0].where(X[:, 0] != 9.0, torch.inf)), "target 2 is NaN or infinite"),
        ((np.array([["a"]] * 20), Y), "no column to learn from"),
        ((X, np.array([object()] * 20)), "targets: an array of shape (20,) of object"),
        ({"inputs": X, "targets": Y, "vocabulary": 5}, "tokens are whole numbers (N, T)"),
        ({"inputs": Y[:, None], "targets": Y, "vocabulary": 3}, "inputs hold tokens 0 to 3; allowed are 0 to 2"),
        ({"inputs": Y[:, None], "targets": Y[:, None].repeat(1, 2), "vocabulary": 9}, "next tokens are whole numbers"),
        ({"inputs": X, "targets": Y, "vocabulary": 0}, "vocabulary must be"),
        ({"inputs": X, "targets": Y, "classes": ["a"]}, "targets are their numbers (N,), 0 to 0"),
    ],
)  # fmt: skip
def test_what_is_no_dataset_is_told(given: Any, words: str) -> None:
    with pytest.raises(DataError) as caught:
        own_dataset(given, Settings())
    assert words in str(caught.value)
    assert str(caught.value).startswith("--dataset synthetic")
