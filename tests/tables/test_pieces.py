"""Tables in pieces: the same rows as in whole tables, in a bounded part of the file at a time."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
from collections.abc import Callable
from pathlib import Path

import polars
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_tui.errors import DataError
from forge_tui.settings.schema import DataSettings
from forge_tui.tables import text_pieces, typed_pieces
from forge_tui.tables.numbers import numbers_of
from forge_tui.tables.pieces import table_pieces
from forge_tui.tables.read import read_table
from forge_tui.tables.records import read_records
from forge_tui.tables.table import Table

DATA = DataSettings()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of some 60 bytes, or of 8 values."""
    monkeypatch.setattr(text_pieces, "_PIECE_BYTES", 64)
    monkeypatch.setattr(typed_pieces, "_CELLS", 8)


def pieces(path: Path, *wanted: str, most: int = 1000) -> list[Table]:
    return list(table_pieces(path, DATA, wanted or ("a", "b"), most))


def together(found: list[Table]) -> list[tuple[object, ...]]:
    begin = 0
    for piece in found:
        assert piece.begin == begin
        begin += piece.rows
    return [row for piece in found for row in piece.frame.rows()]


def whole(path: Path) -> list[tuple[object, ...]]:
    return read_table(path, DATA).frame.rows()


def quoted(rows: int) -> str:
    """Records with line breaks, separators and quotes in quotes, and blank lines between some."""
    random_numbers, lines = random.Random(3), ["a,b\n"]
    for number in range(rows):
        text = random_numbers.choice(("x", '"x, y"', '"two\nlines"', '"said ""no"""', '""', '"\n\n"'))
        lines.append(f"{number},{text}\n" + "\n" * (number % 7 == 3))
    return "".join(lines)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "100,end"])
def test_records_are_never_cut(tmp_path: Path, ends: str, last: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes((quoted(60) + last).replace("\n", ends).encode())
    found = pieces(path)
    assert len(found) > 3
    assert together(found) == whole(path)
    assert {piece.names for piece in found} == {("a", "b")}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
def test_a_compressed_text_is_unpacked_as_it_is_read(
    tmp_path: Path, ending: str, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"t.csv{ending}"
    path.write_bytes(pack(quoted(60).encode()))
    found = pieces(path)
    assert len(found) > 3
    assert together(found) == whole(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="cannot be unpacked"):
        pieces(path)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252", "utf-16", "utf-8"])
def test_any_encoding_gives_the_same_rows(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(("a;b\n" + "".join(f"{number};caf\u00e9\n" for number in range(40))).encode(encoding))
    found = pieces(path)
    assert together(found) == whole(path)
    assert (len(found) > 1) == (encoding != "utf-16")
    assert found[0].format is not None
    assert found[0].format.separator == ";"


@pytest.mark.usefixtures("small")
def test_two_encodings_in_one_text_are_told(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(("a,b\n" + "1,\u00e9\n" * 40).encode() + "1,\u00e9\n".encode("cp1252") * 40)
    with pytest.raises(DataError, match=r"is utf-8 at its beginning, and windows-1252 further down; save it as UTF-8"):
        pieces(path)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("row", "words"),
    [("1,2,3\n", r"row 51 has 3 values and not 2"), ('1,"x\n', r"row 51.*(unexpected end of data|quote)")],
)
def test_the_row_that_is_wrong_is_counted_from_the_top(tmp_path: Path, row: str, words: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "1,2\n" * 50 + row + "1,2\n" * 50, encoding="utf-8")
    with pytest.raises(DataError, match=words):
        pieces(path)


@pytest.mark.usefixtures("small")
def test_a_quote_that_is_never_closed_is_not_looked_for_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_pieces, "_LONGEST_RECORD", 500)
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "1,2\n" * 50 + '1,"x\n' + "1,2\n" * 5000, encoding="utf-8")
    with pytest.raises(DataError, match="row 51 has a quote that is not closed"):
        pieces(path)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("group", [1, 3, 50])
@pytest.mark.parametrize("most", [2, 1000])
def test_row_groups_are_united_and_cut(tmp_path: Path, group: int, most: int) -> None:
    path = tmp_path / "t.parquet"
    table = polars.DataFrame({"a": range(50), "other": ["x"] * 50, "b": [str(number) for number in range(50)]})
    table.write_parquet(path, row_group_size=group)
    found = pieces(path, most=most)
    assert together(found) == table.select("a", "b").rows()
    assert max(piece.rows for piece in found) == min(3 if group == 3 else 4, most)
    assert {piece.names for piece in found} == {("a", "b")}


@pytest.mark.usefixtures("small")
def test_parts_in_directories_have_their_keys(tmp_path: Path) -> None:
    for year in ("2019", "2020"):
        (tmp_path / "t" / f"b={year}").mkdir(parents=True)
        polars.DataFrame({"a": range(10)}).write_parquet(tmp_path / "t" / f"b={year}" / "part.parquet")
    found = pieces(tmp_path / "t")
    assert together(found) == [(number, year) for year in ("2019", "2020") for number in range(10)]
    assert together(found) == whole(tmp_path / "t")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("compression", ["uncompressed", "zstd"])
def test_an_arrow_file_is_read_in_slices(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "t.arrow"
    table = polars.DataFrame({"a": range(50), "b": ["x", None] * 25})
    table.write_ipc(path, compression=compression)
    found = pieces(path)
    assert together(found) == table.rows()
    assert max(piece.rows for piece in found) == 4


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow", "t.csv", "t.jsonl"])
def test_a_table_without_the_columns_or_without_rows_is_one_piece(tmp_path: Path, name: str) -> None:
    path, table = tmp_path / name, polars.DataFrame({"c": [1, 2]})
    write = {".parquet": table.write_parquet, ".arrow": table.write_ipc, ".csv": table.write_csv}
    write.get(path.suffix, table.write_ndjson)(path)
    (found,) = pieces(path)
    assert "a" not in found.names


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow"])
def test_what_is_no_such_file_is_told(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"ARROW1\0\0 no table" * 20)
    with pytest.raises(DataError, match="is no readable"):
        pieces(path)
    polars.DataFrame({"a": [1], " a": [2]}).write_parquet(tmp_path / "twice.parquet")
    with pytest.raises(DataError, match="several columns are called 'a'"):
        pieces(tmp_path / "twice.parquet")


NUMBERS = st.one_of(
    st.floats(width=64).map(repr),
    st.floats(width=32).map(repr),
    st.integers(-(2**70), 2**70).map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.text("0123456789.+-eE", max_size=6),
    st.sampled_from(
        ["", " 1", "1 ", "+5", "007", "1e400", "-1e-400", "inf", "nan", "NA", "1_0", "0x1p3", '"2.5"', "1,5", "12%"]
    ),
)


@given(st.lists(NUMBERS, min_size=1, max_size=8))
def test_numbers_read_as_such_are_those_of_the_text(written: list[str]) -> None:
    content = "".join(f"{text};x\n" for text in written).encode()
    try:
        as_text = read_records(content, ";", 2, "t.csv")
    except DataError:
        return
    found = read_records(content, ";", 2, "t.csv", numbers=(0,))
    if found.dtypes[0] == polars.Float64:
        assert found.to_series(0).to_list() == numbers_of(as_text.to_series(0)).to_list()
        assert found.to_series(1).equals(as_text.to_series(1))
    else:
        assert found.equals(as_text)


def test_numbers_are_numbers_as_far_as_all_of_them_are(tmp_path: Path) -> None:
    read = lambda rows: read_records(rows, ",", 3, "t.csv", numbers=(0, 2)).dtypes  # noqa: E731
    text, number = polars.String, polars.Float64
    assert read(b"1,2,3\n4,5,6\n") == [number, text, number]
    for other in (b"", b"NA", b"inf", b"$8"):
        assert read(b"1,2,3\n4,5," + other + b"\n") == [text] * 3


@pytest.mark.usefixtures("small")
def test_pieces_with_numbers_are_text_from_the_first_that_has_other_text(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "".join(f"{'NA' if row == 30 else row},x\n" for row in range(60)))
    found = list(table_pieces(path, DATA, ("a", "b"), 1000, ("a",)))
    kinds = [piece.frame.dtypes[0] for piece in found]
    assert kinds[0] == polars.Float64
    assert kinds == sorted(kinds, key=lambda kind: kind == polars.String)
    assert kinds[-1] == polars.String
    assert {kind for piece in found for kind in piece.frame.dtypes[1:]} == {polars.String}
    assert sum(piece.rows for piece in found) == 60


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"1,a\n\n2,b\n", [(1.0, "a"), (2.0, "b")]),
        (b'1,"a,b"\n2,"two\nlines"\n', [(1.0, "a,b"), (2.0, "two\nlines")]),
        (b"1,a\r\n2,b\r\n", [(1.0, "a"), (2.0, "b")]),
        (b"1,a\n2\n", "row 2 .*has 1 values and not 2"),
        (b"1,a\n2,b,3\n", "row 2 .*has 3 values and not 2"),
    ],
)
def test_records_with_numbers_are_those_of_text(content: bytes, expected: list[tuple[float, str]] | str) -> None:
    if isinstance(expected, str):
        with pytest.raises(DataError, match=expected):
            read_records(content, ",", 2, "t.csv", numbers=(0,))
        return
    found = read_records(content, ",", 2, "t.csv", numbers=(0,))
    assert [(float(number), text) for number, text in found.rows()] == expected
