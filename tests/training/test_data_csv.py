from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from forge_tui.errors import DataError
from forge_tui.settings.schema import DataSettings, RunSettings, Settings, TrainingConfig
from forge_tui.training.data import Dataset, Task, load_dataset


def load(path: Path, seed: int = 0, **data: Any) -> Dataset:
    settings = Settings(
        training=TrainingConfig(dataset=path.name), data=DataSettings(**data), run=RunSettings(seed=seed)
    )
    return load_dataset(settings, path.parent)


@pytest.fixture
def csv(tmp_path: Path) -> Any:
    def write(text: str | bytes) -> Path:
        path = tmp_path / "table.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def rows(*targets: object) -> str:
    return "a,b,target\n" + "".join(f"{number},{number * 0.5},{target}\n" for number, target in enumerate(targets))


@pytest.mark.parametrize("name", ["table[1].csv", "all *.csv", "what?.csv"])
def test_name_of_a_file_is_no_pattern(csv: Any, name: str) -> None:
    path = csv(rows("dog", "cat", "dog", "eel"))
    assert load(path.rename(path.with_name(name)), validation_fraction=0.0).classes == ("cat", "dog", "eel")


def test_columns_text_classes_and_raw_values(csv: Any) -> None:
    found = load(csv(rows("dog", "cat", "dog", "eel")), validation_fraction=0.0)
    assert (found.task, found.classes, found.outputs) == (Task.CLASSIFICATION, ("cat", "dog", "eel"), 3)
    assert (found.features, found.target) == (("a", "b"), "target")
    assert found.train_inputs.tolist() == [[0.0, 0.0], [1.0, 0.5], [2.0, 1.0], [3.0, 1.5]]
    assert found.train_targets.tolist() == [1, 0, 1, 2]
    assert found.validation_inputs is None
    assert found.normalisation is not None
    torch.testing.assert_close(found.normalisation.feature_mean, torch.tensor([1.5, 0.75]))
    torch.testing.assert_close(found.normalisation.feature_scale, torch.tensor([1.25**0.5, 1.25**0.5 / 2]))


def test_target_named_by_a_flag_and_boolean_features(csv: Any) -> None:
    found = load(csv("x,kind,on\n1,3,true\n2,7,false\n"), target="kind", validation_fraction=0.0)
    assert (found.features, found.classes) == (("x", "on"), (3, 7))
    assert found.train_inputs.tolist() == [[1.0, 1.0], [2.0, 0.0]]


@pytest.mark.parametrize(
    ("targets", "task", "outputs"),
    [
        ([0, 1, 1, 0], Task.CLASSIFICATION, 2),
        (["1.0", "2.0", "1.0"], Task.CLASSIFICATION, 2),
        (["true", "false", "true"], Task.CLASSIFICATION, 2),
        (["0.5", "2.0", "1.0"], Task.REGRESSION, 1),
        (range(20), Task.CLASSIFICATION, 20),
        (range(21), Task.REGRESSION, 1),
        (list(range(30)) * 10, Task.CLASSIFICATION, 30),
        ([value + 1 for value in range(30)] * 10, Task.REGRESSION, 1),
    ],
)
def test_task_follows_from_the_target(csv: Any, targets: Any, task: Task, outputs: int) -> None:
    found = load(csv(rows(*targets)), validation_fraction=0.0)
    assert (found.task, found.outputs) == (task, outputs)


def test_regression_targets_stay_raw_and_are_scaled_by_the_model(csv: Any) -> None:
    found = load(csv(rows(100000.5, 300000.5)), validation_fraction=0.0)
    assert found.train_targets.tolist() == [[100000.5], [300000.5]]
    assert found.normalisation is not None
    assert found.normalisation.target_mean.tolist() == [200000.5]
    assert found.normalisation.target_scale.tolist() == [100000.0]
    assert load(csv(rows(0.5, 1.0)), normalise=False).normalisation is None


def test_split_is_a_permutation_fixed_by_the_seed(csv: Any) -> None:
    path = csv(rows(*range(100)))
    first, again, other = load(path), load(path), load(path, seed=1)
    assert (first.train_samples, first.validation_samples) == (90, 10)
    assert torch.equal(first.validation_inputs, again.validation_inputs)
    assert not torch.equal(first.validation_inputs, other.validation_inputs)
    both = torch.cat((first.train_inputs, first.validation_inputs))[:, 0].sort().values
    assert both.tolist() == list(range(100))


def test_scales_come_from_the_training_part_only(csv: Any) -> None:
    found = load(csv(rows(*range(50))), validation_fraction=0.5)
    assert found.normalisation is not None
    torch.testing.assert_close(found.normalisation.feature_mean, found.train_inputs.mean(dim=0))


def test_a_column_that_is_constant_in_training_is_not_scaled_up(csv: Any) -> None:
    found = load(csv("a,target\n" + "0.1,x\n0.1,y\n" * 30 + "0.2,x\n"), split="ordered", validation_fraction=0.02)
    assert found.normalisation is not None
    assert found.normalisation.feature_scale.tolist() == [1.0]


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_few_samples_leave_something_to_train_on(csv: Any, samples: int) -> None:
    text = rows(*range(samples)) if samples > 1 else rows(0, "")
    if samples == 1:
        with pytest.raises(DataError, match="column 'target' has the value 0 in every row"):
            load(csv(text))
        return
    found = load(csv(text), validation_fraction=0.9, split="random")
    assert found.train_samples == max(1, samples - round(0.9 * samples))
    assert found.train_samples + found.validation_samples == samples


MALFORMED = {
    "empty": (b"", r"table\.csv is empty; it needs a header"),
    "blank": (b"\n\n", r"table\.csv is empty; it needs a header"),
    "header only": (b"a,target\n", r"table\.csv has no samples"),
    "no target": (b"a,b\n1,2\n", r"no column 'target': say with --target .* there are 'a', 'b'"),
    "only the target": (b"target\n1\n2\n", r"'target' is its only column"),
    "no target anywhere": (b"a,target\n1,\n2,?\n", r"column 'target' has no value in any row"),
    "one target": (b"a,target\n1,0\n2,0\n", r"column 'target' has the value 0 in every row, so there is nothing to"),
    "a date as the target": (
        b"a,target\n1,2024-01-01\n2,2024-01-02\n",
        r"holds dates or times \('2024-01-01'",
    ),
    "constant features": (
        b"a,b,target\n1,,0\n1,,1\n",
        r"to learn from \('a': constant: every value is 1; 'b': ",
    ),
    "too large a target": (b"a,target\n1.5,0.5\n1,1e300\n", r"column 'target': row 2 is beyond"),
    "repeated name": (b"a,a,target\n1,2,3\n", r"several columns are called 'a'"),
    "ragged": (b"a,target\n1,0\n2,1,5,6\n", r"no well-formed CSV file: row 2 .* has 4 values and not 2"),
    "too short": (b"a,b,target\n1,2,0\n2,1\n", r"no well-formed CSV file: row 2 .* has 2 values and not 3"),
    "binary": (bytes(range(256)), r"table\.csv is no text \("),
}


@pytest.mark.parametrize(("content", "message"), MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_files_are_told_in_words(csv: Any, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(csv(content))


def test_an_unknown_target_names_the_columns(csv: Any) -> None:
    with pytest.raises(DataError, match=r"no column 'price' \(--target\); there are 'a', 'b', 'target'"):
        load(csv(rows(1, 2)), target="price")


def test_byte_order_mark_and_quotes(csv: Any) -> None:
    found = load(csv('\ufeff"first, one",target\n"1",x\n"2",y\n'), validation_fraction=0.0)
    assert found.features == ("first, one",)
    assert found.train_inputs.tolist() == [[1.0], [2.0]]


def test_paths_that_are_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.csv: there is no such file; check the path"):
        load(tmp_path / "absent.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match="is a directory"):
        load(tmp_path / "folder.csv")
    with pytest.raises(
        DataError, match=r"unknown kind of dataset; give `synthetic`, `modular` or a file that ends in \.csv"
    ):
        load(tmp_path / "table.md")
    with pytest.raises(DataError, match=r"old\.sav is an SPSS file; convert it: python -c .*read_spss.*\.to_parquet"):
        load(tmp_path / "old.sav")
