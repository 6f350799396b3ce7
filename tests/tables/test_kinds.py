"""What columns are, and why."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import polars
import pytest
from made_tables import kinds, read_text, studied, table_of

from forge_tui.errors import DataError
from forge_tui.tables.kinds import Column

N = 40
Y = ["yes", "no"] * (N // 2)
WHOLE = list(range(N))
REAL = [0.5 * number + 0.25 for number in range(N)]


def column(values: list[Any] | polars.Series, name: str = "a", **data: Any) -> Column:
    """The column of a table that also has numbers, and a target of text."""
    found = studied(table_of({name: values, "b": REAL, "target": Y}), **data)
    return next(one for one in found.columns if one.name == name)


def texts(*values: str) -> list[str]:
    """These, again and again."""
    return [values[number % len(values)] for number in range(N)]


KINDS: dict[str, tuple[str, list[Any], str]] = {
    "numbers": ("a", REAL, "number"),
    "numbers in text": ("a", [str(value) for value in REAL], "number"),
    "with signs and exponents": ("a", texts("+1", "-2e3", ".5", "4."), "number"),
    "by thousands": ("a", [f"{1000 * number:,}" for number in WHOLE], "number"),
    "with a unit": ("a", [f"${value}" for value in REAL], "number"),
    "percent": ("a", [f"{value}%" for value in REAL], "number"),
    "in brackets": ("a", texts("(1.5)", "2.5", "(3)"), "number"),
    "missing words": ("a", texts("1.5", "NA", "n/a", "?", "-", "2.5", "NaN", "null", ""), "number"),
    "one word among numbers": ("a", ["unknown", *map(str, REAL[1:])], "number"),
    "text": ("a", texts("red", "green", "blue"), "category"),
    "leading zeros": ("a", texts("007", "07", "12"), "category"),
    "zeros before a point": ("a", texts("0.5", "0.25", "0"), "number"),
    "yes and no": ("a", texts("Yes", "no", "YES"), "boolean"),
    "y and n": ("a", texts("Y", "N", ""), "boolean"),
    "true and false": ("a", texts("TRUE", "False"), "boolean"),
    "booleans": ("a", [True, False] * (N // 2), "boolean"),
    "zeros and ones": ("a", texts("0", "1"), "number"),
    "dates": ("a", [f"2024-01-{day % 28 + 1:02}" for day in WHOLE], "date"),
    "dates of America": ("a", texts("12/31/2024", "1/2/2024"), "date"),
    "dates of Europe": ("a", texts("31.12.2024", "1.2.2024"), "date"),
    "short years": ("a", texts("31-Dec-24", "01-Feb-25"), "date"),
    "days with names of months": ("a", texts("Jan-1-1995", "Feb-1-1995"), "date"),
    "months": ("a", texts("1949-02", "1949-12"), "date"),
    "months by name": ("a", texts("Jan 2000", "Feb 2000"), "date"),
    "seasons": ("a", texts("2008-09", "2010-11"), "category"),
    "times with a zone": ("a", texts("2024-01-01T10:00:00Z", "2024-01-02T10:00:00Z"), "date"),
    "times": ("a", texts("10:30", "23:59"), "date"),
    "versions": ("a", texts("1.2.3", "1.10.0"), "category"),
    "typed dates": ("a", [datetime.date(2024, 1, day % 28 + 1) for day in WHOLE], "date"),
    "durations": ("a", [datetime.timedelta(minutes=one) for one in WHOLE], "number"),
    "names": ("a", [f"person {number}" for number in WHOLE], "left_out"),
    "constant": ("a", [3.5] * N, "left_out"),
    "constant text": ("a", ["x"] * N, "left_out"),
    "empty": ("a", [None] * N, "left_out"),
    "only missing words": ("a", texts("NA", "?"), "left_out"),
    "one value, or missing": ("a", texts("x", ""), "category"),
    "bytes": ("a", [b"x", b"y"] * (N // 2), "left_out"),
    "row numbers without a name": ("", WHOLE, "left_out"),
    "row numbers in another order": ("Unnamed: 0", WHOLE[::-1], "left_out"),
    "row numbers of R": ("rownames", [str(one) for one in WHOLE], "left_out"),
    "row numbers that are floats": ("index", [float(one) for one in WHOLE], "left_out"),
    "years that count up": ("year", [1980 + one for one in WHOLE], "number"),
    "an index with the same number twice": ("index", [1, *WHOLE[1:]], "number"),
    "an index of text": ("index", texts("a", "b"), "category"),
    "an identifier that is called otherwise": ("id", WHOLE, "number"),
}


@pytest.mark.parametrize(("name", "values", "kind"), KINDS.values(), ids=KINDS.keys())
def test_kind_of_a_column(name: str, values: list[Any], kind: str) -> None:
    found = column(values, name)
    assert found.kind == kind
    assert found.reason


def test_categories_of_types_are_categories() -> None:
    for dtype in (polars.Categorical, polars.Enum(["1", "2"])):
        assert column(polars.Series(texts("1", "2"), dtype=dtype)).kind == "category"


def test_reasons_name_values_and_rows() -> None:
    words = column([*map(str, REAL[:9]), "unknown", *map(str, REAL[10:])]).reason
    assert words == "numbers but for 1 of 40 values, which count as missing (row 10: 'unknown')"
    assert column([f"person {number}" for number in WHOLE]).reason == "identifier: 40 different texts in 40 rows"
    assert column([3.5] * N).reason == "constant: every value is 3.5"
    assert column([f"${one}" for one in REAL]).reason == "numbers (written with $)"
    infinite = column([float("inf"), -float("inf"), *REAL[2:]])
    assert (infinite.reason, infinite.infinite) == ("numbers; 2 infinite, which count as missing", 2)


def test_settings_decide_kinds() -> None:
    assert column([number % 5 for number in WHOLE], categories=("a",)).kind == "category"
    assert column(texts("0", "1"), categories=("?",)).kind == "category"
    assert column(texts("01", "02"), numbers=("a",)).values.to_list()[:2] == [1.0, 2.0]
    assert column(texts("x", "-999"), missing=("-999",)).values.null_count() == N // 2
    assert column([1.5, -999.0] * (N // 2), missing=("-999",)).values.null_count() == N // 2
    assert column(REAL, ignore=("a*",)).reason == "as data.ignore says"
    assert column(REAL, only=("b",)).reason == "not in data.only"
    dates = column(texts("2024-01-01", "2024-01-02"), dates=("a",))
    assert (dates.kind, dates.reason) == ("date", "as data.dates says")


@pytest.mark.parametrize(
    ("values", "settings", "message"),
    [
        (texts("1", "x"), {"numbers": ("a",)}, r"column 'a' has 'x' in row 2, which is no number \(20 such in all\)"),
        (texts("1", "x"), {"dates": ("a",)}, r"column 'a' has no date or time in one known form .* first value is '1'"),
        (REAL, {"ignore": ("c*",)}, r"no column 'c\*' \(data\.ignore\); there are 'a', 'b', 'target'"),
        (REAL, {"numbers": ("a",), "categories": ("a",)}, "'a' is in two lists of .data.: category and number"),
        (REAL, {"group": "g"}, r"no column 'g' \(data\.group\)"),
        (REAL, {"group": "target"}, "column 'target' is the target, and cannot be data.group too"),
        ([[1], [2]] * (N // 2), {}, "column 'a' holds lists"),
        ([{"u": 1}] * N, {}, "column 'a' holds structs"),
    ],
)
def test_what_cannot_be_is_told(values: list[Any], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        column(values, **settings)


def test_nested_columns_may_be_ignored() -> None:
    assert column([[1], [2]] * (N // 2), ignore=("a",)).kind == "left_out"


def test_names_are_compared_without_spaces_around_them(tmp_path: Path) -> None:
    table = read_text(tmp_path, "a , b,y \n1,2,u\n2,3,v\n")
    assert kinds(studied(table, target=" y", ignore=("b ",))) == {"a": "number", "b": "left_out"}
