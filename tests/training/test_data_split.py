"""How samples are divided between training and validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from forge_tui.errors import DataError, SettingsError
from forge_tui.settings.schema import DataSettings, RunSettings, Settings, TrainingConfig
from forge_tui.training.data import Dataset, load_dataset
from forge_tui.training.data.split import split_at_random, split_by_group, split_in_order, split_stratified


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("sizes", [[50, 30, 20], [97, 2, 1], [1, 1, 1], [500]])
def test_each_class_has_its_share_and_a_row_in_training(sizes: list[int], fraction: float) -> None:
    classes = torch.cat([torch.full((size,), number) for number, size in enumerate(sizes)])
    classes = classes[torch.randperm(len(classes), generator=torch.Generator().manual_seed(1))]
    train, validation = split_stratified(classes, fraction, seed=0)
    assert sorted([*train.tolist(), *validation.tolist()]) == list(range(len(classes)))
    assert train.tolist() == sorted(train.tolist())
    assert validation.tolist() == sorted(validation.tolist())
    held = torch.bincount(classes[validation], minlength=len(sizes)).tolist()
    room = sum(size - 1 for size in sizes)
    assert sum(held) == min(round(fraction * len(classes)), room)
    for size, count in zip(sizes, held, strict=True):
        assert count <= size - 1
        if size > 20 and fraction <= 0.5:
            assert abs(count - size * fraction) <= 1


def test_a_stratified_split_follows_from_the_seed() -> None:
    classes = torch.arange(100) % 3
    first, again, other = (split_stratified(classes, 0.2, seed)[1].tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_one_class_is_split_as_at_random() -> None:
    stratified, random = split_stratified(torch.zeros(50, dtype=torch.int64), 0.2, 3), split_at_random(50, 0.2, 3)
    assert stratified[1].tolist() == random[1].tolist()


def test_the_last_rows_and_whole_groups() -> None:
    assert split_in_order(10, 0.3)[1].tolist() == [7, 8, 9]
    groups = np.repeat(np.arange(20), 5)
    train, validation = split_by_group(groups, 0.2, seed=0)
    assert len(validation) == 20
    assert not set(groups[train]) & set(groups[validation])
    with pytest.raises(DataError, match="at least 2 groups"):
        split_by_group(np.zeros(5, dtype=np.int64), 0.2, seed=0)


def load(where: Path, text: str, **data: Any) -> Dataset:
    (where / "t.csv").write_text(text, encoding="utf-8")
    settings = Settings(
        training=TrainingConfig(dataset="t.csv"), data=DataSettings(target="y", **data), run=RunSettings(seed=2)
    )
    return load_dataset(settings, where)


def table(rows: int = 40) -> str:
    lines = [f"{n}.5,g{n % 8},{'validation' if n % 4 == 0 else 'train'},{n % 2}" for n in range(rows)]
    return "\n".join(["a,group,part,y", *lines])


def test_a_column_tells_the_split(tmp_path: Path) -> None:
    found = load(tmp_path, table(), validation="part")
    assert found.split["method"] == "column part"
    assert found.validation_inputs[:, 0].tolist() == [n + 0.5 for n in range(40) if n % 4 == 0]
    assert found.features == ("a", "group")
    as_numbers = load(tmp_path, table().replace("validation", "1").replace("train", "0"), validation="part")
    assert torch.equal(as_numbers.validation_inputs, found.validation_inputs)


def test_another_file_is_for_validation(tmp_path: Path) -> None:
    (tmp_path / "held.tsv").write_text("y\ta\n0\t7.5\n1\t8.5\n\t9.5\n", encoding="utf-8")
    text = "a,y\n" + "".join(f"{n},{n % 2}\n" for n in range(20))
    found = load(tmp_path, text, validation="held.tsv")
    assert (found.train_samples, found.validation_inputs.tolist()) == (20, [[7.5], [8.5]])
    assert found.normalisation.feature_mean.tolist() == [9.5]
    assert found.table.rows_left_out == 1
    before = found.fingerprint
    (tmp_path / "held.tsv").write_text("y\ta\n0\t7.5\n1\t8.25\n", encoding="utf-8")
    assert not load(tmp_path, text, validation="held.tsv").fingerprint.is_of_same_data(before)
    with pytest.raises(DataError, match=r"t\.csv has no such column, and there is no such file; .* 'a', 'y'"):
        load(tmp_path, text, validation="absent.csv")


def test_groups_stay_together(tmp_path: Path) -> None:
    found = load(tmp_path, table(), group="group", ignore=("part",), validation_fraction=0.25)
    assert (found.features, found.split["method"], found.validation_samples) == (("a",), "whole groups", 10)
    groups = [{int(a) % 8 for a in part[:, 0].tolist()} for part in (found.train_inputs, found.validation_inputs)]
    assert not groups[0] & groups[1]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"split": "group"}, "name the column of the groups with data.group"),
        ({"split": "random", "group": "group"}, "data.split = random, and data.group names groups"),
        ({"validation": "part", "split": "random"}, "data.validation tells the split"),
        ({"validation": "group"}, r"column 'group' \(data.validation\) has 'g0' in row 1; each row needs"),
        ({"split": "stratified", "task": "regression"}, "the target is not one of classes"),
    ],
)
def test_a_split_that_does_not_fit_is_told(tmp_path: Path, data: dict[str, Any], message: str) -> None:
    with pytest.raises((DataError, SettingsError), match=message):
        load(tmp_path, table(), **data)


def test_what_is_learned_comes_from_training_rows_only(tmp_path: Path) -> None:
    text = "a,c,y\n" + "".join(f"{n % 7},{'xyz'[n % 2]},{n % 2}\n" for n in range(30)) + "1000,z,0\n,z,1\n"
    found = load(tmp_path, text, split="ordered", validation_fraction=2 / 32)
    assert found.encoder is not None
    assert found.encoder.outputs == ("a", "c=x", "c=y")
    assert found.validation_inputs.tolist() == [[1000, 0.5, 0.5], [3, 0.5, 0.5]]
    assert found.normalisation is not None
    assert found.normalisation.feature_mean.tolist() == pytest.approx([85 / 30, 0, 0])
    assert found.normalisation.feature_scale[1:].tolist() == [1.0, 1.0]


def test_rows_without_a_target_do_not_count(tmp_path: Path) -> None:
    found = load(tmp_path, "a,y\n" + "".join(f"{n},{'' if n % 5 == 0 else n % 2}\n" for n in range(50)))
    assert found.train_samples + found.validation_samples == 40
    assert found.table is not None
    assert (found.table.rows_left_out, found.fingerprint.rows) == (10, 40)


def test_large_numbers_are_learned_from(tmp_path: Path) -> None:
    """UNIX times as feature and as target: each is another number after scaling."""
    text = "t,y\n" + "".join(f"{1_764_000_000 + n},{1_764_000_000.5 + 2 * n}\n" for n in range(60))
    found = load(tmp_path, text, validation_fraction=0.0)
    scale = found.normalisation
    features = (found.train_inputs - scale.feature_mean) / scale.feature_scale
    targets = (found.train_targets - scale.target_mean) / scale.target_scale
    for scaled in (features, targets):
        assert len(scaled.unique()) == 60
        assert (scaled.mean().item(), scaled.std(correction=0).item()) == pytest.approx((0, 1), abs=1e-4)


def test_numbers_that_become_the_same_are_reported(tmp_path: Path) -> None:
    text = "a,y\n" + "".join(f"{n * 1e-9},{n % 2}\n" for n in range(59)) + "1e12,1\n"
    found = load(tmp_path, text, split="ordered", validation_fraction=0.0)
    assert found.table is not None
    assert len(found.table.warnings) == 1
    assert "of 60 different numbers in column 'a' 2 are left as 32-bit floats" in found.table.warnings[0]
    assert load(tmp_path, text, split="ordered", validation_fraction=0.0, normalise=False).table.warnings == ()
