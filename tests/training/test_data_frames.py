"""What a dataset function may give of pandas, polars, pyarrow, SciPy and NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars
import pytest
import scipy.sparse
import torch
from torch.utils.data import TensorDataset, random_split

from forge_tui.errors import DataError
from forge_tui.settings.schema import DataSettings, Settings
from forge_tui.training.data.dataset import Dataset, Task
from forge_tui.training.data.own_data import own_dataset

N = 20
NUMBERS = np.arange(N) * 0.5
TEXTS = ["red", "blue", "red", "green"] * (N // 4)
LABELS = ["no", "yes"] * (N // 2)
COLUMNS = {"number": NUMBERS.tolist(), "colour": TEXTS}
X = np.arange(3 * N, dtype=np.float32).reshape(N, 3)
Y = np.arange(N) % 2


def load(given: Any, **data: Any) -> Dataset:
    return own_dataset(given, Settings(data=DataSettings(validation_fraction=0.0, **data)))


def of_polars(columns: dict[str, Any]) -> Any:
    return polars.DataFrame(columns)


def lazily(columns: dict[str, Any]) -> Any:
    return polars.LazyFrame(columns)


def of_pandas(columns: dict[str, Any]) -> Any:
    return pytest.importorskip("pandas").DataFrame(columns)


def of_pyarrow(columns: dict[str, Any]) -> Any:
    return pytest.importorskip("pyarrow").table(columns)


def of_structs(columns: dict[str, Any]) -> Any:
    types = [(name, "U8" if isinstance(values[0], str) else "f8") for name, values in columns.items()]
    return np.array(list(zip(*columns.values(), strict=True)), dtype=types)


FRAMES: list[Callable[[dict[str, Any]], Any]] = [of_polars, lazily, of_pandas, of_pyarrow, of_structs]


@pytest.mark.parametrize("make", FRAMES, ids=lambda make: make.__name__)
def test_a_frame_is_a_table(make: Callable[[dict[str, Any]], Any]) -> None:
    found = load(make({**COLUMNS, "y": LABELS}), target="y")
    assert (found.task, found.classes, found.target) == (Task.CLASSIFICATION, ("no", "yes"), "y")
    assert found.features == ("number", "colour")
    assert found.encoder is not None
    assert found.encoder.outputs == ("number", "colour=blue", "colour=green", "colour=red")
    assert found.train_inputs[:4].tolist() == [[0, 0, 0, 1], [0.5, 1, 0, 0], [1, 0, 0, 1], [1.5, 0, 1, 0]]


@pytest.mark.parametrize("make", FRAMES, ids=lambda make: make.__name__)
def test_features_and_targets_apart(make: Callable[[dict[str, Any]], Any]) -> None:
    one = load((make(COLUMNS), np.array(LABELS)))
    assert (one.features, one.classes, one.target) == (("number", "colour"), ("no", "yes"), "target")
    assert one.train_targets.tolist() == [0, 1] * (N // 2)
    if make is not lazily:
        other = load({"inputs": make(COLUMNS), "targets": make({"label": LABELS})})
        assert torch.equal(other.train_inputs, one.train_inputs)
        assert torch.equal(other.train_targets, one.train_targets)


@pytest.mark.parametrize("make", [of_polars, of_pandas, of_pyarrow])
def test_a_split_that_is_given_is_kept(make: Callable[[dict[str, Any]], Any]) -> None:
    def rows(begin: int, end: int) -> tuple[Any, Any]:
        return make({name: values[begin:end] for name, values in COLUMNS.items()}), np.array(LABELS[begin:end])

    (train, labels), (held, others) = rows(0, 15), rows(15, N)
    for given in ((train, labels, held, others), (train, held, labels, others)):  # the latter as train_test_split does
        found = load(given)
        assert (found.train_samples, found.validation_samples) == (15, 5)
        assert found.validation_inputs[:, 0].tolist() == NUMBERS[15:].tolist()
        assert found.split["method"] == "given by the dataset"


def test_the_four_of_train_test_split() -> None:
    from sklearn.model_selection import train_test_split

    for share in (0.25, 0.5):
        found = load(tuple(train_test_split(X, Y, test_size=share, shuffle=False)))
        held = round(N * share)
        assert (found.train_samples, found.validation_samples) == (N - held, held)
        assert torch.equal(found.validation_inputs, torch.from_numpy(X[N - held :]))


def test_missing_values_in_frames() -> None:
    frame = polars.DataFrame({"a": [1.0, None, 3.0, 4.0] * 5, "y": ["u", "v", None, "u"] * 5})
    found = load(frame, target="y")
    assert (found.train_samples, found.encoder.outputs) == (15, ("a", "a is missing"))


def test_nullable_types_of_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "whole": pandas.array([1, None, 3, 4] * 5, dtype="Int64"),
            "real": pandas.array([1.5, 2.5, None, 4.5] * 5, dtype="Float64"),
            "ok": pandas.array([True, None, False, True] * 5, dtype="boolean"),
            "text": pandas.array(["a", None, "b", "a"] * 5, dtype="string"),
            "kind": pandas.Categorical(["a", "b", None, "a"] * 5),
            "when": pandas.date_range("2024-01-01", periods=N, tz="Europe/Berlin"),
            "took": pandas.to_timedelta(np.arange(N), unit="s"),
            "y": [0, 1] * 10,
        }
    )
    found = load(frame, target="y")
    assert {column.name: column.kind for column in found.table.columns} == {
        "whole": "number", "real": "number", "ok": "boolean", "text": "category", "kind": "category", "when": "date",
        "took": "number",
    }  # fmt: skip
    place = found.encoder.outputs.index("whole is missing")
    assert found.train_inputs[:4, place].tolist() == [0, 1, 0, 0]
    assert found.train_inputs[:3, found.encoder.outputs.index("took")].tolist() == [0, 1, 2]


def test_the_index_of_a_frame_is_no_column() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": NUMBERS, "y": LABELS}, index=np.arange(N)[::-1])
    assert load(frame, target="y").features == ("a",)


@pytest.mark.parametrize(
    "inputs",
    [
        X[::-1].copy()[::-1], np.asfortranarray(X), X.astype(">f4"), X.astype(np.float16).astype(np.float32),
        torch.from_numpy(X).bfloat16().float(), scipy.sparse.csr_matrix(X), scipy.sparse.coo_array(X),
        torch.from_numpy(X).to_sparse(), X.tolist(), X.astype(np.int32),
    ],
    ids=["flipped", "Fortran", "big-endian", "half", "tensor", "csr", "coo", "sparse tensor", "lists", "integers"],
)  # fmt: skip
def test_arrays_of_every_form(inputs: Any) -> None:
    found = load((inputs, Y))
    np.testing.assert_array_equal(found.train_inputs.numpy(), X)


def test_bfloat16() -> None:
    small = torch.arange(2 * N).reshape(N, 2).bfloat16()
    assert torch.equal(load((small, Y)).train_inputs, small.float())
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = small.float().numpy().astype(ml_dtypes.bfloat16)
    assert torch.equal(load((array, Y)).train_inputs, small.float())


@pytest.mark.parametrize(
    "targets",
    [
        np.array(LABELS), np.array(LABELS, dtype=object), np.array(LABELS, dtype="S3"),
        np.array(LABELS, dtype=np.dtypes.StringDType()), LABELS, polars.Series(LABELS),
        polars.Series(LABELS, dtype=polars.Categorical), np.array(LABELS)[:, None],
    ],
    ids=["text", "objects", "bytes", "StringDType", "list", "Series", "categories", "(N, 1)"],
)  # fmt: skip
def test_labels_of_every_form(targets: Any) -> None:
    found = load((X, targets))
    assert (found.task, found.classes) == (Task.CLASSIFICATION, ("no", "yes"))
    assert found.train_targets.tolist() == [0, 1] * (N // 2)


def test_whole_targets_in_a_column_are_classes() -> None:
    assert load((X, Y[:, None])).classes == (0, 1)
    assert load((torch.from_numpy(X), torch.from_numpy(Y)[:, None])).classes == (0, 1)
    assert load((X, Y[:, None] + 0.5)).task is Task.REGRESSION


def test_mixed_columns_of_objects_and_masks() -> None:
    mixed = np.array([[number, text] for number, text in zip(NUMBERS, TEXTS, strict=True)], dtype=object)
    found = load((mixed, Y))
    assert found.encoder.outputs == ("x1", "x2=blue", "x2=green", "x2=red")
    masked = np.ma.masked_array(X, mask=np.arange(3 * N).reshape(N, 3) % 7 == 0)
    assert load((masked, Y)).encoder.outputs == (
        "x1", "x1 is missing", "x2", "x2 is missing", "x3", "x3 is missing",
    )  # fmt: skip


def test_samples_that_are_flipped_or_of_another_byte_order() -> None:
    samples = [(row[::-1], int(label)) for row, label in zip(X, Y, strict=True)]
    np.testing.assert_array_equal(load(samples).train_inputs.numpy(), X[:, ::-1])
    swapped = [(row.astype(">f4"), b"yes" if label else b"no") for row, label in zip(X, Y, strict=True)]
    assert load(swapped).classes == ("no", "yes")


def test_pairs_of_datasets_and_random_split() -> None:
    whole = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    for given in (random_split(whole, [15, 5]), tuple(random_split(whole, [15, 5]))):
        found = load(given)
        assert (found.train_samples, found.validation_samples) == (15, 5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((polars.DataFrame(COLUMNS), Y[:5]), "20 inputs and 5 targets; each sample has one of both"),
        (polars.DataFrame(COLUMNS), "no column 'target': say with --target which one to predict"),
        ({"inputs": polars.DataFrame(COLUMNS), "targets": Y, "classes": ["a", "b"]}, "gives classes beside a table"),
        ([(X[0], 1), ({"a": 1}, 0)], r"input 2 is a dict, which is no number"),
        ([(np.array([1.0]), 1), (np.array([None]), 0)], "input 2 is an array of shape .1,., which is no number"),
        (
            (polars.DataFrame(COLUMNS), Y, polars.DataFrame({"number": NUMBERS}), Y),
            "training has the columns 'number', 'colour', 'target', validation 'number', 'target'",
        ),
    ],
)
def test_what_does_not_fit_is_told(given: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(given)


def test_another_value_is_other_content() -> None:
    first, again = (
        load(polars.DataFrame(COLUMNS | {"y": Y}), target="y"),
        load(polars.DataFrame(COLUMNS | {"y": Y}), target="y"),
    )
    other = load(polars.DataFrame(COLUMNS | {"y": [1, *Y[1:]]}), target="y")
    assert first.content_sha256 == again.content_sha256 != other.content_sha256
