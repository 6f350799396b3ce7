"""`forge-tui data`: what is in a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest

from forge_tui.cli import main
from forge_tui.tables import sample

TABLES = Path(__file__).parents[1] / "fixtures" / "tables"


def shown(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["data", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def record(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    return json.loads(shown(capsys, *arguments, "--json"))


def test_a_line_per_column(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, TABLES / "missing_class_NA_u.csv", "--target", "y").splitlines()
    assert lines[0].endswith("missing_class_NA_u.csv: 60 rows, 3 columns.")
    assert lines[1].startswith("Target: 'y', 2 classes (no, yes): ")
    assert lines[1].endswith("; 7 rows without it left out. Split: stratified by class.")
    assert [line.split()[:4] for line in lines[2:]] == [
        ["COLUMN", "KIND", "MISSING", "DISTINCT"], ["a", "number", "0", "60"], ["b", "number", "0", "60"],
        ["y", "category", "7", "2"],
    ]  # fmt: skip


def test_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = record(capsys, TABLES / "dates.csv", "--target", "y")
    assert (found["rows"], found["sample"], found["target"], found["class_names"]) == (60, None, "y", ["no", "yes"])
    when, b, y = found["columns"]
    assert (when["kind"], when["range"]) == ("date", [1577836800.0, 1582934400.0])
    assert (sum(b["histogram"]), len(b["histogram"]), b["missing"]) == (60, 12, 0)
    assert y["top"] == [["no", 32], ["yes", 28]]


def test_a_table_without_a_target_is_shown_too(capsys: pytest.CaptureFixture[str]) -> None:
    found = record(capsys, TABLES / "pa_struct.parquet")
    assert (found["target"], found["problem"]) == (None, None)
    assert [column["kind"] for column in found["columns"]] == ["number", "left_out", "boolean"]


def test_why_a_target_cannot_be_predicted(capsys: pytest.CaptureFixture[str]) -> None:
    found = record(capsys, TABLES / "one_class.csv", "--target", "y")
    assert "column 'y' has the value yes in every row" in found["problem"]
    assert found["class_names"] is None


def test_settings_say_how_it_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    found = record(capsys, TABLES / "codes_30.csv", "--target", "y", "--task", "classification", "--ignore", "b")
    assert len(found["class_names"]) == 26
    assert found["columns"][1]["reason"] == "as data.ignore says"


def test_a_column_that_is_not_what_the_settings_say_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (TABLES / "dates.csv", "--numbers", "y")
    found = record(capsys, *arguments)["columns"]
    assert [column["refused"] for column in found] == [False, False, True]
    assert found[2]["reason"].startswith("has 'no' in row 1, which is no number")
    assert [line.split()[:2] for line in shown(capsys, *arguments).splitlines()[2:]] == [
        ["when", "date"], ["b", "number"], ["y", "refused"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "split"),
    [
        ((), "stratified by class"),
        (("--split", "ordered"), "last rows"),
        (("--group", "b"), "whole groups"),
        (("--validation", "b"), "column b"),
        (("--task", "regression", "--target", "b"), "random permutation"),
    ],
)
def test_how_it_would_be_split(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], split: str) -> None:
    assert record(capsys, TABLES / "dates.csv", "--target", "y", *arguments)["split"] == split


@pytest.mark.parametrize(
    ("name", "words"), [("absent.csv", "there is no such file"), ("a.sav", "is an SPSS file"), (".", "is no file")]
)
def test_what_is_no_table_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, words: str) -> None:
    (tmp_path / "a.sav").write_bytes(b"x")
    assert main(["data", str(tmp_path / name)]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["csv", "parquet", "csv.gz"])
def test_a_large_table_is_looked_at_by_a_sample(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    for name, size in (
        ("_WHOLE_BYTES", 80_000),
        ("_BEGINNING_BYTES", 8_000),
        ("_PIECE_BYTES", 1_000),
        ("_CELLS", 3_000),
    ):
        monkeypatch.setattr(sample, name, size)
    rows = 20_000
    frame = polars.DataFrame(
        {"a": np.arange(rows) * 0.5, "b": ["x", 'say ""y""'] * (rows // 2), "y": [0, 1] * (rows // 2)}
    )
    path = tmp_path / f"t.{kind}"
    if kind == "parquet":
        frame.write_parquet(path)
    elif kind == "csv":
        frame.write_csv(path)
    else:
        import gzip

        path.write_bytes(gzip.compress(frame.write_csv().encode()))
    found = record(capsys, path, "--target", "y")
    assert found["sample"]
    assert 500 < found["rows"] < rows / 2
    assert [column["kind"] for column in found["columns"]] == ["number", "category", "category"]
    if kind != "csv.gz":
        assert found["columns"][0]["range"][1] > 0.9 * rows / 2  # of all places of the file
