from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from forge_tui.errors import DataError
from forge_tui.settings.schema import DataSettings, RunSettings, Settings, TrainingConfig
from forge_tui.training.data import Dataset, Task, load_dataset
from forge_tui.training.data.synthetic import synthetic_dataset
from forge_tui.training.order import Batches, epoch_order


def load(path: Path, **data: Any) -> Dataset:
    settings = Settings(training=TrainingConfig(dataset=str(path)), data=DataSettings(**data), run=RunSettings())
    return load_dataset(settings, Path("/"))


def test_npz_classes_and_images_are_flattened(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, features=np.arange(24).reshape(4, 2, 3), targets=np.array(["b", "a", "b", "c"]))
    found = load(path, validation_fraction=0.0)
    assert found.train_inputs[1].tolist() == [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]
    assert (found.task, found.classes, found.train_targets.tolist()) == (
        Task.CLASSIFICATION,
        ("a", "b", "c"),
        [1, 0, 1, 2],
    )


def test_npz_several_regression_targets_and_target_by_name(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    wanted = np.arange(8.0).reshape(4, 2) + 0.5
    np.savez(path, features=np.ones((4, 3)), other=np.zeros(4, dtype=int), wanted=wanted)
    found = load(path, target="wanted", validation_fraction=0.0)
    assert (found.task, found.outputs, found.target) == (Task.REGRESSION, 2, "wanted")
    assert found.train_targets.tolist() == wanted.tolist()
    assert load(path, target="other").classes == (0,)


BAD_ARRAYS: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "no features": ({"z": np.ones(3)}, r"no array 'features' .*data\.features_array: there are 'z'"),
    "no targets": ({"features": np.ones((3, 1))}, r"no array 'targets' .*--target: there are 'features'"),
    "lengths": ({"features": np.ones((3, 1)), "targets": np.ones(2)}, r"has 3 rows and 'targets' 2"),
    "no samples": ({"features": np.ones((0, 2)), "targets": np.ones(0)}, "has no samples"),
    "no columns": ({"features": np.ones((2, 0)), "targets": np.ones(2)}, "has no columns"),
    "scalar": ({"features": np.float64(1.0), "targets": np.ones(1)}, "one row per sample"),
    "nan": ({"features": np.array([[1.0, 2.0], [3.0, np.nan]]), "targets": np.ones(2)}, "has nan in row 2, column 2"),
    "nan target": ({"features": np.ones((2, 1)), "targets": np.array([1.0, np.nan])}, "'targets' has nan in row 2"),
    "complex": ({"features": np.ones((2, 1), dtype=complex), "targets": np.ones(2)}, "holds complex128"),
    "text": ({"features": np.array([["a"], ["b"]]), "targets": np.ones(2)}, "features are real numbers"),
    "classes in a table": (
        {"features": np.ones((2, 1)), "targets": np.array([["a", "b"], ["a", "b"]])},
        r"classes need the shape \(2,\)",
    ),
    "objects": (
        {"features": np.array([[1], [None]], dtype=object), "targets": np.ones(2)},
        "Python objects, which are never unpickled",
    ),
}


@pytest.mark.parametrize(("arrays", "message"), BAD_ARRAYS.values(), ids=BAD_ARRAYS.keys())
def test_malformed_npz_is_told_in_words(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=message):
        load(path)


def test_damaged_npz_and_pickles_are_told_in_words(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, features=np.ones((9, 9)), targets=np.ones(9))
    whole = path.read_bytes()
    for content in (b"", b"PK\x03\x04", whole[: len(whole) // 2], pickle.dumps({"features": 1})):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"d\.npz is no (readable )?\.npz archive"):
            load(path)
    flipped = bytearray(whole)
    flipped[whole.index(b"NUMPY") + 200] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(DataError, match=r"d\.npz is no readable \.npz archive"):
        load(path)


def test_text_becomes_windows_shifted_by_one_character(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("abc" * 100, encoding="utf-8")  # 300 characters: 4 windows of 64
    found = load(path, validation_fraction=0.25)
    assert (found.task, found.vocabulary, found.outputs) == (Task.NEXT_TOKEN, ("a", "b", "c"), 3)
    assert (found.train_inputs.shape, found.validation_samples) == ((3, 64), 1)
    assert found.train_inputs[1, :3].tolist() == [1, 2, 0]
    assert torch.equal(found.train_targets[:, :-1], found.train_inputs[:, 1:])
    assert found.train_targets[0, -1] == found.train_inputs[1, 0]


def test_short_and_unreadable_texts(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("zé", encoding="utf-8")
    found = load(path)
    assert (found.train_inputs.tolist(), found.train_targets.tolist(), found.vocabulary) == ([[0]], [[1]], ("z", "é"))
    for content, message in ((b"", "holds 0 characters"), (b"a", "holds 1 characters"), (b"ab\xff", r"\(byte 3: ")):
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            load(path)


def test_synthetic_is_fixed_by_the_seed_and_has_all_classes() -> None:
    data = DataSettings()
    first, again, other = (synthetic_dataset(Settings(data=data, run=RunSettings(seed=seed))) for seed in (0, 0, 1))
    assert (first.train_samples, first.validation_samples, first.inputs.features, first.outputs) == (900, 100, 64, 10)
    assert torch.equal(first.train_inputs, again.train_inputs)
    assert torch.equal(first.train_targets, again.train_targets)
    assert not torch.equal(first.train_inputs, other.train_inputs)
    assert sorted(first.train_targets.unique().tolist()) == list(range(10))
    assert first.train_targets.bincount().max() < 300


@pytest.mark.parametrize(("samples", "features", "classes"), [(2, 1, 2), (3, 2, 50), (9_000, 3, 2)])
def test_synthetic_of_any_shape(samples: int, features: int, classes: int) -> None:
    found = synthetic_dataset(Settings(data=DataSettings(samples=samples, features=features, classes=classes)))
    assert found.train_samples + found.validation_samples == samples
    assert found.train_inputs.isfinite().all()


def test_each_epoch_is_another_permutation_and_the_short_batch_is_used() -> None:
    inputs = torch.arange(10.0).unsqueeze(1)
    batches = Batches(inputs, torch.arange(10), 4)
    assert batches.steps == 3
    dealt = [targets.tolist() for _, targets in batches.epoch(7, 1)]
    assert [len(batch) for batch in dealt] == [4, 4, 2]
    assert sorted(number for batch in dealt for number in batch) == list(range(10))
    assert [targets.tolist() for _, targets in batches.epoch(7, 1, skip=1)] == dealt[1:]
    assert [targets.tolist() for _, targets in batches.epoch(7, 2)] != dealt
    assert not torch.equal(epoch_order(50, 0, 2), epoch_order(50, 1, 1))


def test_batches_too_large_to_gather_at_once_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = Batches(torch.randn(10, 3), torch.arange(10), 4)
    at_once = list(batches.epoch(0, 1, skip=1))
    monkeypatch.setattr("forge_tui.training.order._GATHER_BYTES", 0)
    one_by_one = list(batches.epoch(0, 1, skip=1))
    for (inputs, targets), (others, other_targets) in zip(at_once, one_by_one, strict=True):
        assert torch.equal(inputs, others)
        assert torch.equal(targets, other_targets)
