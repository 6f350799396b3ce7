"""Parquet files: the same table gives the same data as a CSV file, and what is wrong is told in words."""

from __future__ import annotations

import datetime
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest
import torch

from forge_tui.errors import DataError
from forge_tui.settings.schema import DataSettings, Settings, TrainingConfig
from forge_tui.training.data import Dataset, Task, load_dataset


def load(path: Path, **data: Any) -> Dataset:
    return load_dataset(Settings(training=TrainingConfig(dataset=path.name), data=DataSettings(**data)), path.parent)


@pytest.fixture
def parquet(tmp_path: Path) -> Any:
    def write(columns: dict[str, Any]) -> Path:
        path = tmp_path / "table[1].parquet"
        polars.DataFrame(columns).write_parquet(path)
        return path

    return write


@pytest.mark.parametrize("target", ["kind", "price", "good"])
def test_the_same_table_gives_the_same_data_as_a_csv_file(parquet: Any, target: str) -> None:
    columns = {
        "width": [0.1 * number for number in range(40)],
        "count": list(range(40)),
        "kind": ["tall", "small"] * 20,
        "good": [True, False, False, True] * 10,
        "price": [1.5 * number + 0.25 for number in range(40)],
    }
    columns = {name: values for name, values in columns.items() if name in ("width", "count", "good", target)}
    path = parquet(columns)
    polars.DataFrame(columns).write_csv(path.with_suffix(".csv"))
    one, other = load(path, target=target), load(path.with_suffix(".csv"), target=target)
    assert (one.task, one.features, one.target, one.classes, one.outputs, one.split) == (
        other.task, other.features, other.target, other.classes, other.outputs, other.split,
    )  # fmt: skip
    for name in ("train_inputs", "train_targets", "validation_inputs", "validation_targets"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    assert torch.equal(one.normalisation.feature_mean, other.normalisation.feature_mean)


@pytest.mark.parametrize("dtype", [polars.Int8, polars.UInt64, polars.Int128, polars.Float32, polars.Decimal(9, 2)])
def test_numbers_of_every_kind_are_features_and_targets(parquet: Any, dtype: Any) -> None:
    column = polars.Series([1, 2, 3, 4]).cast(dtype)
    found = load(parquet({"x": column, "target": column}), validation_fraction=0.0)
    assert found.train_inputs.tolist() == [[1.0], [2.0], [3.0], [4.0]]
    assert (found.task, found.classes) == (Task.CLASSIFICATION, (1, 2, 3, 4))
    assert {type(label) for label in found.classes} == {int}


def test_whole_numbers_beyond_64_bits_are_features_and_no_target(parquet: Any) -> None:
    large = polars.Series([2**70, -(2**70)], dtype=polars.Int128)
    found = load(parquet({"x": large, "target": [0, 1]}), validation_fraction=0.0)
    assert found.train_inputs.tolist() == [[2.0**70], [-(2.0**70)]]
    with pytest.raises(DataError, match="column 'target' has whole numbers of more than 64 bits; rescale the target"):
        load(parquet({"x": [0, 1], "target": large}))


def test_decimals_with_a_fraction_are_a_regression(parquet: Any) -> None:
    prices = polars.Series([Decimal("1.25"), Decimal("2.50")])
    found = load(parquet({"x": [1, 2], "target": prices}), validation_fraction=0.0)
    assert (found.task, found.train_targets.tolist()) == (Task.REGRESSION, [[1.25], [2.5]])


def test_categories_as_the_target_are_classes(parquet: Any) -> None:
    kinds = polars.Series(["b", "a", "b"], dtype=polars.Categorical)
    assert load(parquet({"x": [1, 2, 3], "target": kinds}), validation_fraction=0.0).classes == ("a", "b")


DAY = datetime.date(2024, 1, 1)
MALFORMED: dict[str, tuple[dict[str, Any], str]] = {
    "no columns": ({}, r"no column 'target': .* there are none"),
    "no rows": ({"a": [], "target": []}, "has no samples"),
    "no target": ({"a": [1], "b": [2]}, r"no column 'target': say with --target .* there are 'a', 'b'"),
    "only the target": ({"target": [1, 2]}, "'target' is its only column"),
    "no target anywhere": ({"a": [1, 2], "target": [None, float("nan")]}, "column 'target' has no value in any row"),
    "nothing in a column": (
        {"a": [None, None], "target": [0, 1]},
        r"learn from \('a': empty: every value is missing",
    ),
    "infinite target": ({"a": [1, 2], "target": [0.5, -np.inf]}, "column 'target' has the value 0.5 in every row"),
    "a date as the target": ({"a": [1, 2], "target": [DAY, DAY]}, "'target' holds dates or times .'2024-01-01' is the"),
    "lists": ({"a": [[1], [2]], "target": [0, 1]}, r"'a' holds lists, and a value of a table is a number, a text, "),
    "structs": ({"a": [{"u": 1}, {"u": 2}], "target": [0, 1]}, r"'a' holds structs, and a value of a table is a"),
    "lists as the target": ({"a": [1, 2], "target": [[1], [2]]}, r"'target' holds lists; a target is one"),
    "bytes as the target": ({"a": [1, 2], "target": [b"1", b"2"]}, "'target' holds binary values; a target is one"),
}


@pytest.mark.parametrize(("columns", "message"), MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_tables_are_told_in_words(parquet: Any, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(parquet(columns))


def test_an_unknown_target_names_the_columns(parquet: Any) -> None:
    with pytest.raises(DataError, match=r"no column 'price' \(--target\); there are 'a', 'target'"):
        load(parquet({"a": [1], "target": [2]}), target="price")


def test_damaged_files_are_told_in_words(parquet: Any) -> None:
    path = parquet({"a": list(range(50)), "target": list(range(50))})
    whole = path.read_bytes()
    for content in (b"", b"PAR1", b"a,target\n1,2\n" * 9, whole[: len(whole) // 2], whole[len(whole) // 2 :]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"table\[1\]\.parquet is no readable Parquet file: .*; write it again"):
            load(path)


def test_no_damage_gets_through_as_anything_but_words(parquet: Any) -> None:
    """Flipped bits may go unseen, as Parquet files need no checksums; what is seen is a `DataError`."""
    path = parquet({"a": [1.5 * number for number in range(40)], "target": ["x", "y"] * 20})
    whole, dice, told = path.read_bytes(), random.Random(1), 0
    for _ in range(100):
        damaged = bytearray(whole)
        damaged[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
        path.write_bytes(damaged)
        try:
            load(path)
        except DataError:
            told += 1
    assert told > 20
