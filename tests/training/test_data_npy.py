"""NPY files: tables that are kept in memory or stay on disk, with the same numbers and the same models."""

from __future__ import annotations

import pickle
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from forge_tui.errors import DataError
from forge_tui.settings.schema import DataSettings, Settings, TrainingConfig
from forge_tui.training.data import Dataset, Task, load_dataset, npy_file, stored
from forge_tui.training.data.dataset import fit_scale
from forge_tui.training.data.stored import StoredRows, StoredTable
from forge_tui.training.group_state import GroupState
from forge_tui.training.placed_data import PlacedData
from forge_tui.worker.memory_meter import _status


def load(path: Path, **data: Any) -> Dataset:
    return load_dataset(Settings(training=TrainingConfig(dataset=path.name), data=DataSettings(**data)), path.parent)


@pytest.fixture
def npy(tmp_path: Path) -> Any:
    def write(array: Any) -> Path:
        path = tmp_path / "table.npy"
        np.save(path, np.asarray(array))
        return path

    return write


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """All tables stay on disk, and are read in small pieces."""
    monkeypatch.setattr(npy_file, "_KEPT_BYTES", 0)
    monkeypatch.setattr(stored, "_PIECE_BYTES", 200)
    monkeypatch.setattr(stored, "_TOUCHED_BYTES", 64)


def table(rows: int = 90) -> np.ndarray:
    """Five random features and a class of three."""
    features = np.random.default_rng(1).normal(size=(rows, 5)) * [1.0, 10.0, 0.01, 1.0, 5.0] + [
        0.0,
        3.0,
        9.0,
        -1.0,
        0.0,
    ]
    return np.column_stack((features, np.argmax(features[:, :3] - features[:, :3].mean(axis=0), axis=1)))


def test_the_last_column_is_the_target_or_another_one(npy: Any) -> None:
    path = npy([[1.0, 2.0, 0.0], [3.0, 4.0, 1.0], [5.0, 6.0, 0.0]])
    found = load(path, validation_fraction=0.0)
    assert (found.task, found.features, found.target, found.classes) == (
        Task.CLASSIFICATION, ("x1", "x2"), "x3", (0, 1),
    )  # fmt: skip
    assert found.train_inputs.tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    assert found.train_targets.tolist() == [0, 1, 0]
    other = load(path, validation_fraction=0.0, target="x1")
    assert (other.features, other.target, other.train_inputs.tolist()) == (
        ("x2", "x3"), "x1", [[2.0, 0.0], [4.0, 1.0], [6.0, 0.0]],
    )  # fmt: skip


@pytest.mark.parametrize("regression", [False, True])
def test_the_same_numbers_as_from_an_npz_file(npy: Any, tmp_path: Path, regression: bool) -> None:
    numbers = table()
    if regression:
        numbers[:, 5] += 0.25 * numbers[:, 0]
    np.savez(tmp_path / "table.npz", features=numbers[:, :5], targets=numbers[:, 5])
    one, other = load(npy(numbers)), load(tmp_path / "table.npz")
    assert one.task is other.task is (Task.REGRESSION if regression else Task.CLASSIFICATION)
    assert (one.classes, one.outputs, one.split, one.features) == (
        other.classes, other.outputs, other.split, other.features,
    )  # fmt: skip
    for name in ("train_inputs", "train_targets", "validation_inputs", "validation_targets"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    for name in ("feature_mean", "feature_scale", "target_mean", "target_scale"):
        torch.testing.assert_close(getattr(one.normalisation, name), getattr(other.normalisation, name))


@pytest.mark.usefixtures("on_disk")
def test_what_stays_on_disk_is_read_as_it_is(npy: Any) -> None:
    numbers = table()
    found = load(npy(numbers))
    assert isinstance(found.train_inputs, StoredRows)
    assert (found.train_inputs.shape, found.train_samples, found.validation_samples) == ((81, 5), 81, 9)
    whole = found.train_inputs[:]
    both = torch.cat((whole, found.validation_inputs[:]))
    assert sorted(both.tolist()) == sorted(numbers[:, :5].astype(np.float32).tolist())
    places = torch.tensor([80, 3, 3, 0])
    assert torch.equal(found.train_inputs[places], whole[places])
    assert torch.equal(found.train_inputs[5:60], whole[5:60])
    mean, scale = fit_scale(whole)
    torch.testing.assert_close(found.normalisation.feature_mean, mean)
    torch.testing.assert_close(found.normalisation.feature_scale, scale)


@pytest.mark.usefixtures("on_disk")
def test_a_constant_column_is_not_scaled_up(npy: Any) -> None:
    found = load(npy([[0.1, row % 2] for row in range(400)]))
    assert found.normalisation.feature_scale.tolist() == [1.0]
    assert load(npy([[0.1, 0], [0.2, 1]]), normalise=False).normalisation is None


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", "u1", "<i8", "?"])
def test_numbers_of_every_kind(npy: Any, dtype: str) -> None:
    found = load(npy(np.array([[0, 1, 1], [1, 1, 0]], dtype=dtype)), validation_fraction=0.0)
    assert found.train_inputs.tolist() == [[0.0, 1.0], [1.0, 1.0]]
    assert (found.classes, found.train_targets.tolist()) == ((0, 1), [1, 0])


@pytest.mark.parametrize("architecture", ["planner", "reasoner", "memory"])
def test_a_model_is_the_same_whether_its_data_stay_on_disk(
    npy: Any, make_job: Any, train: Any, request: pytest.FixtureRequest, architecture: str
) -> None:
    npy(table())
    told = {"model_type": architecture, "dataset": "table.npy"}
    kept = make_job("kept", training=told)
    train(kept)
    request.getfixturevalue("on_disk")
    from_disk = make_job("from_disk", training=told)
    train(from_disk)
    one, other = ((Path(job.directory) / f"{job.model}.safetensors").read_bytes() for job in (kept, from_disk))
    assert one == other


def test_so_are_the_models_of_a_group(npy: Any, request: pytest.FixtureRequest) -> None:
    settings = Settings(training=TrainingConfig(model_size=2_000, dataset="table.npy"))
    path, seeds = npy(table()), (0, 7)

    def trained() -> tuple[list[Any], list[dict[str, torch.Tensor]]]:
        dataset = load_dataset(settings, path.parent)
        state = GroupState(settings.training, dataset, seeds, torch.device("cpu"))
        data = PlacedData(dataset, state.network, 32, torch.device("cpu"))
        for inputs, targets in state.batches(data, seeds):
            state.loss(data, inputs, targets).backward()
            state.update()
        return state.validate(data), [state.weights(number) for number in range(2)]

    measured, weights = trained()
    request.getfixturevalue("on_disk")
    measured_too, weights_too = trained()
    assert measured == measured_too
    for one, other in zip(weights, weights_too, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_what_was_read_is_not_held(tmp_path: Path) -> None:
    path, shape = tmp_path / "large.npy", (200_000, 100)
    np.lib.format.open_memmap(path, "w+", np.float64, shape)[:] = 1.0
    opened = np.load(path, mmap_mode="r")
    held = StoredTable(path, shape, opened.dtype, opened.offset)
    del opened
    before = _status("VmRSS")
    assert sum(float(piece[0, 0]) * len(piece) for _, piece in held.in_order()) == shape[0]
    assert held.read(np.arange(0, shape[0], 50), [3]).sum() == shape[0] // 50
    assert _status("VmRSS") - before < 40 << 20  # of 160 MB


MALFORMED: dict[str, tuple[Any, str]] = {
    "one dimension": (np.ones(4), r"has the shape \(4,\); give it a row a sample"),
    "three dimensions": (np.ones((2, 2, 2)), r"has the shape \(2, 2, 2\)"),
    "a number": (np.float64(1.0), r"has the shape \(\)"),
    "no rows": (np.ones((0, 3)), "has no samples"),
    "no columns": (np.ones((3, 0)), "has 0 columns; at least 2 are needed"),
    "one column": (np.ones((3, 1)), "has 1 columns; at least 2 are needed"),
    "nan": (np.array([[1.0, 2.0], [3.0, 4.0], [np.nan, 1.0]]), "column 'x1' has nan in row 3"),
    "infinite target": (np.array([[1.0, 2.0], [3.0, -np.inf]]), "column 'x2' has -inf in row 2"),
    "too large": (np.array([[1.0, 2.0], [1e300, 2.0]]), r"column 'x1' has 1e\+300 in row 2"),
    "text": (np.array([["a", "b"]]), "holds <U1; features and target are real numbers"),
    "complex": (np.ones((2, 2), dtype=complex), "holds complex128"),
    "records": (np.zeros((2, 2), dtype=[("a", "f4")]), r"holds \[\('a', '<f4'\)\]"),
    "objects": (np.array([[1, None]], dtype=object), "it holds Python objects, which are never unpickled"),
}


@pytest.mark.parametrize(("array", "message"), MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_tables_are_told_in_words(npy: Any, array: Any, message: str) -> None:
    with pytest.raises(DataError, match=rf"table\.npy\b.* {message}"):
        load(npy(array))


@pytest.mark.usefixtures("on_disk")
def test_a_number_that_is_none_is_found_in_any_piece(npy: Any) -> None:
    numbers = table()
    numbers[77, 2] = np.nan
    with pytest.raises(DataError, match="column 'x3' has nan in row 78"):
        load(npy(numbers))


def test_an_unknown_target_names_the_columns(npy: Any) -> None:
    with pytest.raises(DataError, match=r"no column '2' \(--target\); there are 'x1', 'x2', 'x3', 'x4', 'x5', 'x6'"):
        load(npy(table()), target="2")


def test_other_files_and_damaged_ones_are_told_in_words(npy: Any, tmp_path: Path) -> None:
    path = npy(table())
    whole = path.read_bytes()
    np.savez(tmp_path / "a.npz", features=table())
    for content in (b"", b"\x93NUM", b"1,2\n", pickle.dumps([1, 2]), (tmp_path / "a.npz").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"table\.npy is not a \.npy file; write it with numpy\.save"):
            load(path)
    for content in (whole[:7], whole[:40], whole[:-1], whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"table\.npy is no readable \.npy file: "):
            load(path)


def test_no_damage_to_the_header_gets_through_as_anything_but_words(npy: Any) -> None:
    path, dice, told = npy(table()), random.Random(1), 0
    whole = path.read_bytes()
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[dice.randrange(6, 128)] ^= 1 << dice.randrange(8)
        path.write_bytes(damaged)
        try:
            load(path)
        except DataError:
            told += 1
    assert told > 100
