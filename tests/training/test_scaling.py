"""How features are scaled: against scikit-learn, in memory and from disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

from forge_tui.errors import DataError
from forge_tui.settings.schema import DataSettings, Settings, TrainingConfig
from forge_tui.training.data import Dataset, load_dataset, npy_file
from forge_tui.training.data.dataset import fit_scale

SCALERS: dict[str, Any] = {"standard": StandardScaler, "minmax": MinMaxScaler, "robust": RobustScaler}
TABLE = np.random.default_rng(3).gamma(0.5, 40.0, (301, 4)).astype(np.float32) - 7


def load(where: Path, kind: str, **data: Any) -> Dataset:
    """The table as a .npz or .npy file, with a target of numbers."""
    target = np.linspace(0.5, 90.25, len(TABLE))
    if kind == "npz":
        np.savez(where / "t.npz", features=TABLE, targets=target)
    else:
        np.save(where / "t.npy", np.column_stack((TABLE, target)).astype(np.float32))
    return load_dataset(Settings(training=TrainingConfig(dataset=f"t.{kind}"), data=DataSettings(**data)), where)


@pytest.mark.parametrize("kind", ["npz", "npy"])
@pytest.mark.parametrize("scaling", SCALERS)
def test_features_become_what_scikit_learn_makes_of_them(tmp_path: Path, kind: str, scaling: str) -> None:
    found = load(tmp_path, kind, scaling=scaling)
    assert found.normalisation is not None
    assert isinstance(found.train_inputs, torch.Tensor)
    scaled = (found.train_inputs - found.normalisation.feature_mean) / found.normalisation.feature_scale
    expected = SCALERS[scaling]().fit_transform(found.train_inputs.numpy().astype(np.float64))
    np.testing.assert_allclose(scaled.numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scaling", SCALERS)
def test_the_target_is_always_scaled_by_mean_and_deviation(tmp_path: Path, scaling: str) -> None:
    found = load(tmp_path, "npz", scaling=scaling)
    assert found.normalisation is not None
    mean, deviation = fit_scale(found.train_targets)
    assert torch.equal(found.normalisation.target_mean, mean)
    assert torch.equal(found.normalisation.target_scale, deviation)
    assert deviation.item() == pytest.approx(found.train_targets.std(correction=0).item())


def test_what_stays_on_disk_is_scaled_alike_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = load(tmp_path, "npy", scaling="minmax")
    monkeypatch.setattr(npy_file, "_KEPT_BYTES", 100)
    stored = load(tmp_path, "npy", scaling="minmax")
    assert not isinstance(stored.train_inputs, torch.Tensor)
    assert stored.normalisation is not None
    assert kept.normalisation is not None
    assert stored.normalisation.to_record() == kept.normalisation.to_record()
    with pytest.raises(DataError, match=r"t\.npy: --scaling robust sorts each column, .* standard or minmax$"):
        load(tmp_path, "npy", scaling="robust")
    assert load(tmp_path, "npy", scaling="robust", normalise=False).normalisation is None


@pytest.mark.parametrize("scaling", SCALERS)
def test_a_constant_column_is_divided_by_one(scaling: Any) -> None:
    values = torch.full((50, 1), 0.1)
    shift, scale = fit_scale(values, scaling)
    assert scale.tolist() == [1.0]
    assert shift.item() == pytest.approx(0.1)


def test_a_column_without_an_interquartile_range_is_divided_by_its_deviation() -> None:
    """Mostly zeros, and a large value now and then: divided by 1 it would drown all others."""
    values = torch.zeros(100, 1)
    values[:10] = 1_000.0
    shift, scale = fit_scale(values, "robust")
    assert (shift.item(), scale.item()) == (0.0, pytest.approx(300.0))
