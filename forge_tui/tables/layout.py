"""Finds the layout of a text table from its beginning: separator, decimal mark, header, lines above it."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import named
from forge_tui.tables.missing import WORDS

# In the order of preference where several fit: a comma is also a decimal mark, and a part of texts.
_SEPARATORS = ("\t", ";", "|", ",")
BLANKS = ("\t", " ")
"""Separators after which a space is a part of the value, or a separator itself."""
_SAMPLE_BYTES = 1 << 18
_SAMPLE_ROWS = 500
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)*|[.,]\d+)([eE][+-]?\d+)?")
_WITH_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_WITH_POINT = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?")
_BY_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """`names` are those of the header, or x1, x2, …; `begin` is the byte where the first row of data begins."""

    separator: str
    decimal: str
    header: bool
    names: tuple[str, ...]
    begin: int


def find_layout(
    content: bytes,
    source: str,
    *,
    separator: str = "auto",
    decimal: str = "auto",
    header: Literal["auto"] | bool = "auto",
) -> Layout:
    """The layout of a UTF-8 text; what is not `auto` is as given. Raises `DataError` for a text without a row."""
    lines = _Lines(content)
    told, comments = _skip_preamble(lines)
    begin = lines.place
    sample = lines.rest()
    if not sample.strip():
        raise DataError(f"{named(source)} is empty; it needs a header with column names, and rows of data")
    if separator == "auto":
        separator = told or _separator(sample)
    try:
        rows = _rows(sample, separator, source)
    except csv.Error as error:
        raise DataError(f"{named(source)}: the header cannot be read: {error}") from None
    if decimal == "auto":
        decimal = _decimal(rows, separator)
    first, below = rows[0], rows[1:]
    has_header = header if header != "auto" else not _is_data(first, below)
    if has_header:
        names = _names(first, below)
        begin = begin + _length_of_first(sample, separator)
    else:
        names = tuple(f"x{number}" for number in range(1, len(first) + 1))
        above = next(csv.reader([comments[-1].lstrip("# ")], delimiter=separator), []) if comments else []
        if header == "auto" and len(above) == len(first) > 1:  # as numpy.savetxt writes a header
            names, has_header = tuple(above), True
    return Layout(separator=separator, decimal=decimal, header=has_header, names=names, begin=begin)


class _Lines:
    """The lines of a text's beginning; `place` is the byte where the next one begins."""

    def __init__(self, content: bytes) -> None:
        self._sample = content[:_SAMPLE_BYTES]
        if len(content) > _SAMPLE_BYTES:
            self._sample = self._sample[: self._sample.rfind(b"\n") + 1] or self._sample
        self.place = 0

    def peek(self) -> bytes:
        end = self._sample.find(b"\n", self.place)
        return self._sample[self.place : end + 1] if end >= 0 else self._sample[self.place :]

    def skip(self) -> None:
        self.place += len(self.peek())

    def rest(self) -> str:
        return self._sample[self.place :].decode("utf-8", "ignore")


def _skip_preamble(lines: _Lines) -> tuple[str | None, list[str]]:
    """Skip blank lines, comments and `sep=`: the separator that it tells, and the comments."""
    told, comments = None, []
    while line := lines.peek():
        text = line.decode("utf-8", "replace").strip("\r\n")
        if len(text) == 5 and text.lower().startswith("sep="):
            told = text[4]
        elif text.startswith("#"):
            comments.append(text)
        elif text.strip():
            break
        lines.skip()
    return told, comments


def _separator(sample: str) -> str:
    """The separator by which most lines have equally many fields, and more than one."""
    best, chosen = 0.0, ","
    for separator in (*_SEPARATORS, " "):
        if separator == " " and best > 0.0:
            break  # a part of the values
        try:
            counts = [len(row) for row in _rows(sample, separator)]
        except csv.Error:
            continue
        most, rows = Counter(counts).most_common(1)[0]
        share = rows / len(counts)
        if most > 1 and share > best and counts[0] > 1 and (separator != " " or share == 1.0):
            best, chosen = share, separator
    return chosen


def _rows(sample: str, separator: str, source: str = "") -> list[list[str]]:
    """The first rows that are not blank."""
    found: list[list[str]] = []
    for row in csv.reader(
        sample.splitlines(keepends=True), delimiter=separator, skipinitialspace=separator not in BLANKS
    ):
        if any(value.strip() for value in row) or len(row) > 1:
            found.append([value.strip() for value in row])
        if len(found) == _SAMPLE_ROWS:
            break
    return found or [[""]]


def _length_of_first(sample: str, separator: str) -> int:
    """The bytes of the first record, which may hold line breaks in quotes."""
    lines = sample.splitlines(keepends=True)
    taken: list[str] = []

    def counted() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line

    next(csv.reader(counted(), delimiter=separator, skipinitialspace=separator not in BLANKS))
    return sum(len(line.encode()) for line in taken)


def _decimal(rows: Sequence[Sequence[str]], separator: str) -> str:
    commas = [value for row in rows for value in row if _WITH_COMMA.fullmatch(value)]
    if not commas or any(_WITH_POINT.fullmatch(value) for row in rows for value in row):
        return "."
    # `1,234` may be both; where commas separate nothing else it is written by a country of decimal commas.
    return "," if separator == ";" or not all(_BY_THOUSANDS.fullmatch(value) for value in commas) else "."


def _is_data(first: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Whether the first row is data: a number over each column of numbers, and a known text over each other."""
    numbers = 0
    for position, value in enumerate(first):
        column = [row[position] for row in below if len(row) > position and row[position].lower() not in WORDS]
        if not column:
            if value.lower() not in WORDS and not _NUMBER.fullmatch(value):
                return False
        elif all(_NUMBER.fullmatch(other) for other in column):
            if value.lower() not in WORDS or not value:
                if not _NUMBER.fullmatch(value):
                    return False
                numbers += 1
        elif value not in column:
            return False
    return numbers > 0


def _names(first: Sequence[str], below: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The names of the header; where every row has one value more than it, the first column has none (R)."""
    longer = len(first) + 1
    if below and all(len(row) == longer for row in below) and any(row[-1] for row in below):
        return ("", *first)
    return tuple(first)
