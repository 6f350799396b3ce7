"""Text tables as people and programs write them."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from made_tables import read_text

from forge_tui.errors import DataError
from forge_tui.tables.records import is_regular

ROWS = [("0.5", "red", "1"), ("1.5", "blue", "0"), ("-2.5", "red", "1")]
TEXT = "a,b,y\n0.5,red,1\n1.5,blue,0\n-2.5,red,1\n"
SAME = {
    "plain": TEXT,
    "no line break at the end": TEXT[:-1],
    "CR LF": TEXT.replace("\n", "\r\n"),
    "CR": TEXT.replace("\n", "\r"),
    "mark": "\ufeff" + TEXT,
    "UTF-16": TEXT.encode("utf-16"),
    "UTF-16 without a mark": TEXT.encode("utf-16-be"),
    "UTF-32": TEXT.encode("utf-32"),
    "semicolons": TEXT.replace(",", ";"),
    "tabs": TEXT.replace(",", "\t"),
    "bars": TEXT.replace(",", "|"),
    "single spaces": TEXT.replace(",", " "),
    "sep line": "sep=;\n" + TEXT.replace(",", ";"),
    "comments": "# made by hand\n# in 2020\n" + TEXT,
    "header in a comment": "# " + TEXT,
    "blank lines": TEXT.replace("\n", "\n\n"),
    "lines of spaces": TEXT.replace("\n", "\n   \n"),
    "blank line first": "\n\n" + TEXT,
    "spaces after commas": TEXT.replace(",", ", "),
    "spaces around names": TEXT.replace("a,b,y", " a , b ,y "),
    "quotes": "\n".join(",".join(f'"{value}"' for value in line.split(",")) for line in TEXT.split("\n")[:-1]),
    "quotes after spaces": TEXT.replace("red", ' "red"'),
    "separators at the end": TEXT.replace("\n", ",\n").replace("y,", "y", 1),
    "comment between": TEXT.replace("1.5,blue", "# a remark\n1.5,blue"),
}


@pytest.mark.parametrize("text", SAME.values(), ids=SAME.keys())
def test_the_same_table_however_it_is_written(tmp_path: Path, text: str | bytes) -> None:
    table = read_text(tmp_path, text)
    assert table.names == ("a", "b", "y")
    assert [tuple(value.strip() for value in row) for row in table.frame.rows()] == ROWS


@pytest.mark.parametrize(
    ("ending", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), ("", gzip.compress)]
)
def test_a_packed_table(tmp_path: Path, ending: str, pack: object) -> None:
    table = read_text(tmp_path, pack(TEXT.encode()), f"t.csv{ending}")  # type: ignore[operator]
    assert (table.names, table.frame.rows()) == (("a", "b", "y"), ROWS)


@pytest.mark.skipif(shutil.which("zstd") is None, reason="zstd is not there")
def test_a_table_packed_with_zstandard(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(TEXT.replace("red", '"r\n\ned"') + "\n", encoding="utf-8")
    subprocess.run(["zstd", "-q", tmp_path / "a.csv"], check=True)
    table = read_text(tmp_path, (tmp_path / "a.csv.zst").read_bytes(), "t.csv.zst")
    assert table.frame.rows()[0] == ("0.5", "r\n\ned", "1")


def test_a_packed_table_that_is_cut_off(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.csv\.gz cannot be unpacked \(gz: "):
        read_text(tmp_path, gzip.compress(TEXT.encode())[:-12], "t.csv.gz")


@pytest.mark.parametrize(
    ("text", "encoding", "name"),
    [("ä;ß\n1;2\n".encode("latin-1"), "windows-1252", "ä"), ("€,b\n1,2\n".encode("cp1252"), "windows-1252", "€"),
     ("ä,b\n1,2\n".encode(), "utf-8", "ä")],
)  # fmt: skip
def test_the_encoding_is_found_and_told(tmp_path: Path, text: bytes, encoding: str, name: str) -> None:
    table = read_text(tmp_path, text)
    assert table.format is not None
    assert (table.format.encoding, table.names[0]) == (encoding, name)


@pytest.mark.parametrize(
    ("text", "separator", "decimal"),
    [
        ("a;b\n1,5;2,25\n", ";", ","), ("a;b\n1,500;2,250\n", ";", ","), ("a;b\n1.5;2\n", ";", "."),
        ("a\tb\n1,5\t2\n", "\t", ","), ("a\tb\n1,500\t2\n", "\t", "."), ('a,b\n"1,5","2,25"\n', ",", ","),
        ('a,b\n"1,500","2,250,000"\n', ",", "."), ("a,b\n1.5,x;y\n2.5,z;w\n", ",", "."), ("a\n1.5\n2.5\n", ",", "."),
    ],
)  # fmt: skip
def test_separator_and_decimal_mark_are_found(tmp_path: Path, text: str, separator: str, decimal: str) -> None:
    found = read_text(tmp_path, text).format
    assert found is not None
    assert (found.separator, found.decimal) == (separator, decimal)


@pytest.mark.parametrize(
    ("text", "names", "rows"),
    [
        ("1,2,x\n3,4,y\n5,6,x\n", ("x1", "x2", "x3"), 3),  # a text that comes again is data
        ("1,2,z\n3,4,y\n5,6,x\n", ("1", "2", "z"), 2),
        ("2019,2020\n1,2\n", ("x1", "x2"), 2),
        ("name,2019\nann,1\nbob,2\n", ("name", "2019"), 2),
        ("a,b\nx,y\nz,w\n", ("a", "b"), 2),
        (",a\n1,2\n2,3\n", ("", "a"), 2),
        ("?,2\n1,3\n", ("x1", "x2"), 2),
        ('"a" "b"\n"1" 0.5\n'.replace(" ", ","), ("a", "b"), 1),
        ("a,b\n1,0.5,x\n2,0.5,y\n", ("", "a", "b"), 2),  # R's write.table
    ],
)
def test_a_header_is_found(tmp_path: Path, text: str, names: tuple[str, ...], rows: int) -> None:
    table = read_text(tmp_path, text)
    assert (table.names, table.rows) == (names, rows)


def test_quotes_that_are_not_closed_are_characters_between_tabs(tmp_path: Path) -> None:
    table = read_text(tmp_path, 'a\tb\n5" pipe\t1\n"so" he said\t2\n"x\t3\n')
    assert table.frame.rows() == [('5" pipe', "1"), ('"so" he said', "2"), ('"x', "3")]


def test_settings_decide_how_a_text_is_written(tmp_path: Path) -> None:
    table = read_text(tmp_path, "2019!2020\n1,5!2\n", header=True, separator="!", decimal=",")
    assert (table.names, table.frame.rows()) == (("2019", "2020"), [("1,5", "2")])
    assert read_text(tmp_path, "a,b\nx,y\n", header=False).rows == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3\n", r"row 2 .* has 1 values and not 2"),
        ("a,b\n1,2\n3,4,5\n1,2\n", r"row 2 .* has 3 values and not 2"),
        ('a,b\n1,2\n3,"4\n5,6\n', r"row 2: unexpected end of data"),
        ("a,b,a\n1,2,3\n", r"several columns are called 'a'"),
        ("a,b, a\n1,2,3\n", r"several columns are called 'a'"),
        ("", "is empty; it needs a header"),
        ("# only a comment\n", "is empty; it needs a header"),
    ],
)
def test_what_is_no_table_is_told_with_its_row(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_text(tmp_path, text)


def test_any_text_is_read_back(tmp_path: Path) -> None:
    """Against Python's csv module, with random quotes, separators, blanks and line breaks in texts."""
    dice = random.Random(4)
    for _ in range(150):
        separator = dice.choice(",;\t|")
        columns = dice.randint(2, 5)
        rows = [[_word(dice) for _ in range(columns)] for _ in range(dice.randint(1, 12))]
        file = io.StringIO(newline="")
        writer = csv.writer(file, delimiter=separator, lineterminator=dice.choice(("\n", "\r\n")))
        writer.writerows([[f"c{number}" for number in range(columns)], *rows])
        table = read_text(tmp_path, file.getvalue(), separator=separator, header=True)
        found = [tuple(value or "" for value in row) for row in table.frame.rows()]
        assert found == [tuple(row) for row in rows], file.getvalue()


def _word(dice: random.Random) -> str:
    inner = "".join(dice.choice('ab1 ",;\t|\n') for _ in range(dice.randint(0, 5)))
    return f"w{inner}w" if dice.random() < 0.8 else "x"


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (b"1,2\n3,4\n", True), (b'1,"2\n,5"\n3,4\n', True), (b"1,2\n\n3,4\n", False), (b"1,2\n3\n", False),
        (b'1,5" x\n3,4" y\n', False), (b'1,"a""b"\n3,4\n', True), (b'1,"2\n3,4\n', False), (b"1,2\n3,4,\n", False),
    ],
)  # fmt: skip
def test_regular_texts_are_known(text: bytes, is_one: bool) -> None:
    assert is_regular(text.rstrip(b"\n"), ",", 2) is is_one
