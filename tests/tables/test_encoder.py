"""How columns become numbers: learned from the training rows, stored, and applied to other tables."""

from __future__ import annotations

import datetime
import json
import math
from typing import Any

import numpy as np
import polars
import pytest
from made_tables import studied, table_of

from forge_tui.errors import DataError
from forge_tui.tables.column_encodings import exact_scale
from forge_tui.tables.encoder import VERSION, Encoder

Y = ["yes", "no", "yes", "no", "yes", "no"]


def fitted(columns: dict[str, Any], rows: list[int] | None = None, **data: Any) -> tuple[Encoder, np.ndarray]:
    """The encoder of the training `rows`, and all rows encoded."""
    found = studied(table_of({**columns, "target": Y}), **data)
    encoder = Encoder.fit(found.used, np.array(range(6) if rows is None else rows), found_missing(data))
    return encoder, encoder.encode_columns(found.used)


def found_missing(data: dict[str, Any]) -> tuple[str, ...]:
    return tuple(data.get("missing", ()))


def test_numbers_stay_as_they_are() -> None:
    encoder, values = fitted({"a": [1, 2, 3, 4, 5, 6], "b": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]})
    assert (encoder.features, encoder.outputs, encoder.is_indicator) == (("a", "b"), ("a", "b"), (False, False))
    np.testing.assert_array_equal(values[:, 0], [1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(values[:, 1], np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], dtype=np.float32))


def test_missing_numbers_become_the_median_of_training_with_an_indicator() -> None:
    encoder, values = fitted({"a": [1.0, None, 3.0, 8.0, 100.0, None]}, rows=[0, 1, 2, 3])
    assert encoder.outputs == ("a", "a is missing")
    assert values.tolist() == [[1, 0], [3, 1], [3, 0], [8, 0], [100, 0], [3, 1]]
    # What training never had missing has no indicator.
    encoder, values = fitted({"a": [1.0, 2.0, 3.0, 8.0, 100.0, None]}, rows=[0, 1, 2])
    assert (encoder.outputs, values[5].tolist()) == (("a",), [2.0])


def test_categories_have_a_number_each_and_unseen_ones_say_nothing() -> None:
    encoder, values = fitted({"a": ["x", "y", "x", None, "x", "new"]}, rows=[0, 1, 2, 3])
    assert encoder.outputs == ("a=x", "a=y", "a is missing")
    assert values[:4].tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert values[5].tolist() == [0.5, 0.25, 0.25]  # the shares of training


def test_rare_categories_share_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forge_tui.tables.column_encodings._MOST_LEVELS", 1)
    encoder, values = fitted({"a": ["x", "y", "x", "z", "x", "new"]}, rows=[0, 1, 2, 3, 4])
    assert encoder.outputs == ("a=x", "a is another")
    assert values.tolist() == [[1, 0], [0, 1], [1, 0], [0, 1], [1, 0], [0, 1]]


def test_booleans_are_zero_or_one() -> None:
    encoder, values = fitted({"a": ["yes", "no", "yes", "", "yes", "no"]}, rows=[0, 1, 2, 3])
    assert encoder.outputs == ("a", "a is missing")
    np.testing.assert_allclose(values[:4], [[1, 0], [0, 0], [1, 0], [2 / 3, 1]])


def test_dates_are_an_age_and_places_in_cycles() -> None:
    begin = datetime.datetime(2024, 1, 1, 6)  # a Monday
    days = [begin + datetime.timedelta(days=number * 40, hours=number) for number in range(6)]
    encoder, values = fitted({"a": days})
    names = [f"a {function} of the {period}" for period in ("year", "week", "day") for function in ("sin", "cos")]
    assert encoder.outputs == ("a in days", *names)
    np.testing.assert_allclose(np.diff(values[:, 0]), 40 + 1 / 24, rtol=1e-5)
    assert values[:, 0].mean() == pytest.approx(0, abs=1e-4)
    np.testing.assert_allclose(
        values[0, 3:5], [math.sin(2 * math.pi * 0.25 / 7), math.cos(2 * math.pi * 0.25 / 7)], atol=1e-6
    )
    np.testing.assert_allclose(values[0, 5:7], [1, 0], atol=1e-6)
    # Days alone have no hours, and two of one week no place in the year.
    week = [datetime.date(2024, 1, 1 + number) for number in range(6)]
    assert fitted({"a": week})[0].outputs == ("a in days", "a sin of the week", "a cos of the week")


def test_large_numbers_are_told_apart() -> None:
    seconds = [1_764_000_000 + number for number in range(1, 7)]
    encoder, values = fitted({"a": seconds})
    assert len(set(values[:, 0].tolist())) == 6
    np.testing.assert_array_equal(np.diff(values[:, 0]), 1)
    assert encoder.columns[0].offset == 1_764_000_003.5


@pytest.mark.parametrize(
    ("values", "is_kept"),
    [
        ([0.1, 0.2, 0.3], True), ([1, 2, 2**24], True), ([1980, 1981, 1982], True), ([1e-3, 1e6, 1e9], True),
        ([48.8566, 48.8567, 48.8566001], False), ([1e300, 2e300, 0], False), ([1e-40, 2e-40, 3e-40], False),
        ([5.5], True), ([], True),
    ],
)  # fmt: skip
def test_only_numbers_that_float32_confuses_are_shifted(values: list[float], is_kept: bool) -> None:
    offset, scale = exact_scale(np.array(values, dtype=np.float64))
    assert ((offset, scale) == (0.0, 1.0)) is is_kept
    single = ((np.array(values) - offset) / scale).astype(np.float32)
    assert np.isfinite(single).all()
    assert len(set(single.tolist())) == len(set(values))


def mixed() -> dict[str, Any]:
    return {
        "number": [1.5, None, 2.5, 3.5, 4.5, 5.5],
        "kind": ["x", "y", None, "x", "z", "x"],
        "ok": ["yes", "no", "yes", "no", "yes", "no"],
        "when": [f"2024-01-0{number}" for number in range(1, 7)],
        "words": ["1", "2", "3", "4", "5", "6"],
    }


def test_a_stored_encoder_gives_the_same_numbers() -> None:
    encoder, values = fitted(mixed(), missing=("unknown",))
    record = json.loads(json.dumps(encoder.to_record()))
    assert record["version"] == VERSION == 2
    again = Encoder.from_record(record)
    assert again == encoder
    np.testing.assert_array_equal(again.encode(table_of(mixed())), values)


def test_another_table_is_matched_by_name_whatever_its_types() -> None:
    encoder, values = fitted(mixed())
    columns = mixed()
    others = {
        "extra": [9] * 6,
        "words": [1, 2, 3, 4, 5, 6],
        "when": [datetime.date(2024, 1, number) for number in range(1, 7)],
        "ok": [True, False, True, False, True, False],
        "kind": polars.Series(columns["kind"], dtype=polars.Categorical),
        "number": ["1.5", "NA", "2.5", "3.5", "4.5", "5.5"],
    }
    np.testing.assert_array_equal(encoder.encode(table_of(others)), values)


def test_batches_are_encoded_as_the_whole_is() -> None:
    encoder, values = fitted(mixed())
    parts = []
    for rows in (slice(0, 2), slice(2, 6)):
        parts.append(encoder.encode(table_of({name: column[rows] for name, column in mixed().items()})))
    np.testing.assert_array_equal(np.concatenate(parts), values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"number": None}, r"t has no column 'number'; the model was trained with 'number', 'kind', 'ok'"),
        ({"number": ["1", "x", "2", "3", "4", "5"]}, "'number' has 'x' in row 2, and it was a number in training"),
        ({"ok": ["yes", "perhaps", "no", "no", "no", "no"]}, "'ok' has 'perhaps' in row 2, and it was true or false"),
        ({"when": ["2024-01-01", *["1.1.2024"] * 5]}, "'when' has '1.1.2024' in row 2, and it was a date or time"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_with_its_row(change: dict[str, Any], message: str) -> None:
    encoder, _ = fitted(mixed())
    columns = {name: value for name, value in {**mixed(), **change}.items() if value is not None}
    with pytest.raises(DataError, match=message):
        encoder.encode(table_of(columns))


@pytest.mark.parametrize(
    "damage",
    [
        {"version": 3},
        {"columns": [{"kind": "number"}]},
        {"columns": [{"kind": "tree", "name": "a"}]},
        {"columns": None},
    ],
)
def test_a_damaged_record_is_refused(damage: dict[str, Any]) -> None:
    encoder, _ = fitted(mixed())
    with pytest.raises(ValueError, match=r"version 3|no record of an encoder|not a valid Kind"):
        Encoder.from_record({**encoder.to_record(), **damage})
