"""Weights of classes: what they are, and where there can be none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from forge_tui.errors import SettingsError
from forge_tui.settings.schema import DataSettings, Settings, TrainingConfig
from forge_tui.training.data import Dataset, load_dataset


def load(where: Path, targets: list[Any], **data: Any) -> Dataset:
    path = where / "table.npz"
    np.savez(path, features=np.arange(len(targets), dtype=float)[:, None], targets=np.array(targets))
    given = DataSettings(**{"class_weights": "balanced", **data})
    return load_dataset(Settings(training=TrainingConfig(dataset=path.name), data=given), where)


def test_they_are_scikit_learns_over_the_training_part(tmp_path: Path) -> None:
    found = load(tmp_path, ["a"] * 70 + ["b"] * 20 + ["c"] * 10, validation_fraction=0.3)
    rows = found.train_targets.numpy()
    expected = compute_class_weight("balanced", classes=np.arange(3), y=rows)
    assert found.class_weights is not None
    assert found.class_weights.tolist() == pytest.approx(expected.tolist(), rel=1e-6)
    assert found.class_weights[found.train_targets].mean().item() == pytest.approx(1.0)


def test_a_class_that_is_only_validated_weighs_nothing(tmp_path: Path) -> None:
    """One sample of `b`, in the validation part for one of these seeds."""
    for fraction in (0.3, 0.5, 0.7):
        found = load(tmp_path, ["a"] * 4 + ["b"] + ["c"] * 5, validation_fraction=fraction, split="random")
        assert found.class_weights is not None
        if 1 not in found.train_targets:
            assert found.class_weights[1] == 0.0
            assert found.class_weights[found.train_targets].mean().item() == pytest.approx(1.0)
            return
    pytest.fail("the sample was trained on each time")


def test_without_the_option_there_are_none(tmp_path: Path) -> None:
    assert load(tmp_path, [0, 1, 1], class_weights="none").class_weights is None


def test_targets_that_are_no_classes_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"class_weights = balanced: the target is numbers, not one of classes"):
        load(tmp_path, [0.5, 1.25, 3.5])
    (tmp_path / "t.txt").write_text("some text", encoding="utf-8")
    settings = Settings(training=TrainingConfig(dataset="t.txt"), data=DataSettings(class_weights="balanced"))
    with pytest.raises(SettingsError, match="the target is text, not one of classes; take --class-weights none"):
        load_dataset(settings, tmp_path)
