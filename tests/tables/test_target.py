"""The task and the classes of a target, and what is no target."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import polars
import pytest
from made_tables import table_of

from forge_tui.errors import DataError
from forge_tui.tables.missing import words_with
from forge_tui.tables.target import Target, target_of


def target(values: Any, *missing: str, **how: Any) -> Target:
    return target_of(table_of({"y": values}), 0, words_with(missing), **how)


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["b", "a", "b"], ("a", "b")),
        (["no ", "no", "yes"], ("no", "yes")),
        (["007", "07", "7"], ("007", "07", "7")),
        (["1", "01", "001"], ("001", "01", "1")),
        (["true", "false"], (False, True)),
        ([True, False], (False, True)),
        (["1.0", "2.0"], (1, 2)),
        ([3.0, 7.0], (3, 7)),
        (list(range(20)), tuple(range(20))),
        (list(range(30)) * 10, tuple(range(30))),
        ([2**60, 2**60 + 1], (2**60, 2**60 + 1)),
        ([str(2**60), str(2**60 + 1)], (2**60, 2**60 + 1)),
        (polars.Series(["x", "y"], dtype=polars.Categorical), ("x", "y")),
    ],
)
def test_classes(values: Any, classes: tuple[Any, ...]) -> None:
    found = target(values)
    assert found.classes == classes
    assert {type(label) for label in found.classes} == {type(label) for label in classes}
    assert found.values.dtype == np.int64


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        ([0.5, 1.0], [0.5, 1.0]),
        (["$8", "$9.50"], [8.0, 9.5]),
        (["1,234.5", "2"], [1234.5, 2.0]),
        (["12.5%", "13%"], [12.5, 13.0]),
        (list(range(21)), [float(number) for number in range(21)]),
        (list(range(30)) * 9, [float(number) for number in range(30)] * 9),
        ([number + 1 for number in range(30)] * 10, [number + 1.0 for number in range(30)] * 10),
        ([datetime.timedelta(seconds=1.5), datetime.timedelta(days=1)], [1.5, 86400.0]),
    ],
)
def test_numbers(values: Any, numbers: list[float]) -> None:
    found = target(values)
    assert (found.classes, found.values.tolist()) == (None, numbers)


def test_one_rare_class_makes_numbers_of_many_whole_ones() -> None:
    assert target([*list(range(29)) * 10, 29]).classes is None


def test_the_task_may_be_said() -> None:
    assert target(list(range(30)), task="classification").classes == tuple(range(30))
    assert target([1, 2, 1], task="regression").values.tolist() == [1.0, 2.0, 1.0]
    assert target([f"name {n}" for n in range(30)], task="classification").classes is not None


@pytest.mark.parametrize("gone", [None, "", "NA", "nan", "?", "none", " - "])
def test_rows_without_a_target_are_left_out_and_counted(gone: str | None) -> None:
    found = target(["a", gone, "b", gone])
    assert (found.classes, found.left_out, found.has_value.tolist()) == (("a", "b"), 2, [True, False, True, False])
    numbers = target([*map(str, np.arange(30) * 0.5), gone])
    assert (numbers.classes, numbers.left_out) == (None, 1)


def test_infinite_targets_are_missing() -> None:
    assert target([0.5, float("inf"), 1.5]).left_out == 1
    assert target(["0.5", "Inf", "1.5"]).left_out == 1


def test_words_of_the_settings_are_missing() -> None:
    assert target([1.5, -999.0, 2.5], "-999").left_out == 1
    assert target(["1.5", "unknown", "2.5"], "Unknown").values.tolist() == [1.5, 2.5]


@pytest.mark.parametrize(
    ("values", "how", "message"),
    [
        (
            ["a", None],
            {"missing": "refuse"},
            r"'y' has no value in row 2 \(1 in all\), and data\.missing_target",
        ),
        (["a", "a"], {}, "'y' has the value a in every row"),
        ([1.5, 1.5, None], {}, "'y' has the value 1.5 in every row"),
        ([None, None], {}, "'y' has no value in any row"),
        ([f"n{n}" for n in range(20)], {}, "'y' has 20 different texts in 20 rows"),
        (["2024-01-01", "2024-01-02"], {}, r"holds dates or times \('2024-01-01' is the first\).*total_days"),
        ([datetime.date(2024, 1, 1)], {}, "holds dates or times"),
        ([*map(str, range(30)), "x"], {}, r"'y' has 'x' in row 31, which is no number, .* \(1 such in all\)"),
        (["1", "x"], {"task": "regression"}, "'y' has 'x' in row 2, which is no number"),
        ([True, False], {"task": "regression"}, "data.task = regression needs numbers"),
        ([[1], [2]], {}, "holds lists|holds List"),
        ([b"1", b"2"], {}, "holds binary values"),
    ],
)
def test_what_cannot_be_predicted_is_told(values: Any, how: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        target(values, **how)
