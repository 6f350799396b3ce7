"""Typed files: Parquet, Arrow, JSON lines, Excel."""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable
from pathlib import Path

import polars
import pytest
from made_tables import kinds, studied

from forge_tui.errors import DataError
from forge_tui.settings.schema import DataSettings
from forge_tui.tables.parquet_directory import is_partitioned, parts_of
from forge_tui.tables.read import read_table

N = 24
FRAME = polars.DataFrame(
    {
        "a": [0.5 * number for number in range(N)],
        "b": ["x", "y", None, "x"] * (N // 4),
        "when": [datetime.date(2024, 1, 1 + number) for number in range(N)],
        "target": ["u", "v"] * (N // 2),
    }
)
KINDS = {"a": "number", "b": "category", "when": "date"}


def write_stream(frame: polars.DataFrame, path: Path) -> None:
    frame.write_ipc_stream(path)


def write_lines(frame: polars.DataFrame, path: Path) -> None:
    frame.write_ndjson(path)


WRITERS: dict[str, tuple[str, Callable[[polars.DataFrame, Path], object]]] = {
    "parquet": ("t.parquet", lambda frame, path: frame.write_parquet(path)),
    "arrow": ("t.arrow", lambda frame, path: frame.write_ipc(path)),
    "feather": ("t.feather", lambda frame, path: frame.write_ipc(path, compression="lz4")),
    "stream": ("t.arrow", write_stream),
    "jsonl": ("t.jsonl", write_lines),
    "ndjson": ("t.ndjson", write_lines),
}


@pytest.mark.parametrize(("name", "write"), WRITERS.values(), ids=WRITERS.keys())
def test_typed_files_are_tables(tmp_path: Path, name: str, write: Callable[[polars.DataFrame, Path], object]) -> None:
    write(FRAME, tmp_path / name)
    found = studied(read_table(tmp_path / name, DataSettings()))
    assert kinds(found) == KINDS
    assert found.target.classes == ("u", "v")
    assert found.columns[1].values.null_count() == N // 4


@pytest.mark.parametrize(("name", "write"), WRITERS.values(), ids=WRITERS.keys())
def test_damaged_files_are_told_in_words(
    tmp_path: Path, name: str, write: Callable[[polars.DataFrame, Path], object]
) -> None:
    path = tmp_path / name
    write(FRAME, path)
    whole, dice = path.read_bytes(), random.Random(1)
    for content in (whole[: len(whole) // 2], b"", b"no such thing", *(_flipped(whole, dice) for _ in range(40))):
        path.write_bytes(content)
        told = ""
        try:
            read_table(path, DataSettings())
        except DataError as error:
            told = str(error)
        assert not told or name in told


def _flipped(content: bytes, dice: random.Random) -> bytes:
    changed = bytearray(content)
    changed[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def test_a_feather_file_of_version_1_is_told_how_to_convert(tmp_path: Path) -> None:
    (tmp_path / "old.feather").write_bytes(b"FEA1" + b"\0" * 60)
    with pytest.raises(DataError, match=r"version 1; convert it: python -c .*read_feather\('old\.feather'\)"):
        read_table(tmp_path / "old.feather", DataSettings())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}\n{"a": 2\n', "line 2 is no JSON"),
        ('{"a": 1}\n[1, 2]\n', r"line 2 is no object"),
        ("", "is empty; it needs an object"),
    ],
)
def test_what_is_no_json_line_is_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / "t.jsonl", DataSettings())


def test_json_keys_of_later_lines_count(tmp_path: Path) -> None:
    lines = [f'{{"a": {n}, "target": {n % 2}}}' for n in range(300)] + ['{"a": 0.5, "b": "late", "target": 1}']
    (tmp_path / "t.jsonl").write_text("\n".join(lines), encoding="utf-8")
    table = read_table(tmp_path / "t.jsonl", DataSettings())
    assert set(table.names) == {"a", "b", "target"}
    assert table.column(table.names.index("a"))[-1] == 0.5


def test_a_directory_of_parts(tmp_path: Path) -> None:
    directory = tmp_path / "parts"
    for key, rows in (("kind=x", slice(0, 10)), ("kind=y%20z", slice(10, N))):
        (directory / key).mkdir(parents=True)
        FRAME[rows].write_parquet(directory / key / "part-0.parquet")
    (directory / "_SUCCESS").write_bytes(b"")
    assert is_partitioned(directory)
    table = read_table(directory, DataSettings())
    assert table.names == (*FRAME.columns, "kind")
    assert table.column(0).to_list() == FRAME["a"].to_list()
    assert table.column(4).to_list() == ["x"] * 10 + ["y z"] * (N - 10)


def test_parts_need_the_same_columns(tmp_path: Path) -> None:
    FRAME.write_parquet(tmp_path / "a.parquet")
    FRAME.drop("b").write_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet has the columns 'a', 'when', 'target', and the first part"):
        read_table(tmp_path, DataSettings())


def test_other_directories_are_no_tables(tmp_path: Path) -> None:
    FRAME.write_parquet(tmp_path / "a.parquet")
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    assert not is_partitioned(tmp_path)
    assert parts_of(tmp_path) == []
    assert not is_partitioned(tmp_path / "absent")


def test_an_excel_workbook(tmp_path: Path) -> None:
    pytest.importorskip("fastexcel")
    pytest.importorskip("xlsxwriter")
    FRAME.write_excel(tmp_path / "t.xlsx")
    assert kinds(studied(read_table(tmp_path / "t.xlsx", DataSettings()))) == KINDS


def test_an_excel_workbook_needs_a_package_or_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "t.xlsx").write_bytes(b"no workbook")
    with pytest.raises(DataError, match=r"pip install 'forge-tui\[excel\]'|no readable Excel workbook"):
        read_table(tmp_path / "t.xlsx", DataSettings())
