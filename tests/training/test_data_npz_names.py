"""Arrays of a .npz archive are found by the names that people give them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forge_tui.errors import DataError
from forge_tui.settings.schema import DataSettings, Settings, TrainingConfig
from forge_tui.training.data import Dataset, load_dataset

FEATURES = np.random.default_rng(0).normal(size=(40, 3))
TARGETS = np.arange(40) % 2


def load(path: Path, arrays: dict[str, np.ndarray], **data: Any) -> Dataset:
    np.savez(path / "data.npz", **arrays)
    return load_dataset(Settings(training=TrainingConfig(dataset="data.npz"), data=DataSettings(**data)), path)


@pytest.mark.parametrize(
    "names",
    [("features", "targets"), ("X", "y"), ("x", "y"), ("data", "target"), ("images", "labels"), ("arr_0", "arr_1")],
)
def test_the_usual_names(tmp_path: Path, names: tuple[str, str]) -> None:
    found = load(tmp_path, dict(zip(names, (FEATURES, TARGETS), strict=True)), validation_fraction=0.0)
    assert (found.target, found.classes) == (names[1], (0, 1))
    np.testing.assert_array_equal(found.train_inputs.numpy(), FEATURES.astype(np.float32))


@pytest.mark.parametrize("word", ["val", "valid", "test"])
def test_a_split_in_the_names_is_kept(tmp_path: Path, word: str) -> None:
    parts = {"x_train": FEATURES[:30], "y_train": TARGETS[:30], f"x_{word}": FEATURES[30:], f"y_{word}": TARGETS[30:]}
    found = load(tmp_path, parts)
    assert (found.train_samples, found.validation_samples) == (30, 10)
    assert found.split["method"] == "given by the file"
    np.testing.assert_array_equal(found.validation_inputs.numpy(), FEATURES[30:].astype(np.float32))
    np.testing.assert_array_equal(found.validation_targets.numpy(), TARGETS[30:])
    np.testing.assert_allclose(found.normalisation.feature_mean, FEATURES[:30].mean(axis=0), rtol=1e-5)


def test_validation_comes_before_test(tmp_path: Path) -> None:
    parts = {}
    for word, rows in (("test", slice(0, 5)), ("train", slice(5, 30)), ("val", slice(30, 40))):
        parts |= {f"{word}_images": FEATURES[rows].reshape(-1, 3, 1), f"{word}_labels": TARGETS[rows, None]}
    found = load(tmp_path, parts)
    assert (found.train_samples, found.validation_samples, found.features) == (25, 10, ("x1", "x2", "x3"))


def test_arrays_that_the_settings_name(tmp_path: Path) -> None:
    arrays = {"pixels": FEATURES, "digit": TARGETS, "y": TARGETS * 0.25}
    found = load(tmp_path, arrays, features_array="pixels", target="digit", validation_fraction=0.0)
    assert (found.target, found.classes) == ("digit", (0, 1))
    assert load(tmp_path, arrays, features_array="pixels").target == "y"


@pytest.mark.parametrize(
    ("arrays", "settings", "message"),
    [
        (
            {"pixels": FEATURES, "y": TARGETS},
            {},
            r"no array 'features' .*data\.features_array: there are 'pixels'",
        ),
        ({"X": FEATURES, "digit": TARGETS}, {}, r"no array 'targets' .*--target: there are 'X', 'digit'"),
        ({"X": FEATURES, "y": TARGETS}, {"features_array": "x"}, r"no array 'x' \(data\.features_array\)"),
        ({"X": FEATURES, "y": TARGETS}, {"target": "z"}, r"no array 'z' \(--target\); there are 'X', 'y'"),
        ({"features": FEATURES, "y": TARGETS}, {"target": "features"}, "--target features names the features"),
        (
            {"x_train": FEATURES, "y_train": TARGETS, "x_test": FEATURES[:, :2], "y_test": TARGETS},
            {},
            r"different shapes \(\(3,\) and \(2,\)\); they must be alike",
        ),
    ],
)
def test_what_is_not_there_is_told(tmp_path: Path, arrays: Any, settings: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(tmp_path, arrays, **settings)
