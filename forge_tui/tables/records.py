"""The records of a text table as columns of text, each with as many fields as the header."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import numpy as np

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import named
from forge_tui.tables.layout import BLANKS

if TYPE_CHECKING:
    import polars

_PIECE_BYTES = 16 << 20
_QUOTE, _LINE_FEED = ord('"'), ord("\n")


def read_records(
    content: bytes, separator: str, columns: int, source: str, begin: int = 0, numbers: Collection[int] = ()
) -> polars.DataFrame:
    """The columns `0`, `1`, … of text; blank lines are no records. `content` is UTF-8 without a header.

    `begin`: the number of rows above it. `numbers`: columns that are float64 where all their values are finite numbers
    with a decimal point; else all are text. Raises `DataError` with the row (1 is the first) that has another number of
    values.
    """
    import polars

    schema: dict[str, type[polars.DataType]] = {str(position): polars.String for position in range(columns)}
    if numbers and (found := _with_numbers(content, separator, schema, numbers)) is not None:
        return found
    content = content.rstrip(b"\r\n")
    if not content:
        return polars.DataFrame(schema=schema)
    # polars fills up records that are too short without a word, and makes records of blank lines.
    if is_regular(content, separator, columns):
        try:
            return polars.read_csv(io.BytesIO(content), has_header=False, separator=separator, schema=schema)
        except (polars.exceptions.PolarsError, polars.exceptions.PanicException):
            pass  # what it takes for malformed may be well-formed, and else the row is named
    if separator == "\t" and _is_regular_without_quotes(content, columns):
        file = io.BytesIO(content)
        return polars.read_csv(file, has_header=False, separator=separator, schema=schema, quote_char=None)
    return _read_slowly(content, separator, columns, source, begin)


def _with_numbers(
    content: bytes, separator: str, schema: dict[str, type[polars.DataType]], numbers: Collection[int]
) -> polars.DataFrame | None:
    """Regular records with these columns as float64; None for others, and if one of these is no finite number."""
    import polars

    if b'"' in content and not is_regular(content, separator, len(schema)):
        return None
    typed = schema | {str(position): polars.Float64 for position in numbers}
    try:
        found = polars.read_csv(io.BytesIO(content), has_header=False, separator=separator, schema=typed)
    except (polars.exceptions.PolarsError, polars.exceptions.PanicException):
        return None
    # A record that is too short lacks its last value, and a blank line all of them.
    counted = [str(position) for position in {*numbers, len(schema) - 1}]
    if any(found.select(counted).null_count().row(0)):
        return None
    values = found.select(str(position) for position in numbers)
    return found if values.select(polars.all_horizontal(polars.all().is_finite().all())).item() else None


def _is_regular_without_quotes(content: bytes, columns: int) -> bool:
    """Whether quotes are nothing but characters in lines of tabs, where the quotes of one field are not closed."""
    is_quoted = content.count(b'"') > 0 and (content.startswith(b'"') or b'\t"' in content or b'\n"' in content)
    if not is_quoted or any(line.count(b"\t") != columns - 1 for line in content.split(b"\n")):
        return False
    try:
        for record in csv.reader(io.StringIO(content.decode(), newline=""), delimiter="\t", strict=True):
            if len(record) != columns:
                return True
    except csv.Error:
        return True
    return False


def is_regular(content: bytes, separator: str, columns: int) -> bool:
    """Whether each line has `columns` fields, and quotes stand around whole fields only.

    0.4 s per 100 MB. What is not regular may still be well-formed.
    """
    whole = np.frombuffer(content, np.uint8)
    mark = ord(separator) if ord(separator) < 128 else None
    if mark is None:
        return False
    fields, quoted = 0, 0
    before = _LINE_FEED
    for start in range(0, len(whole), _PIECE_BYTES):
        piece = whole[start : start + _PIECE_BYTES]
        ends = piece == _LINE_FEED
        special = ends | (piece == mark)
        quotes = piece == _QUOTE
        quoted_here = bool(quotes.any()) or bool(quoted)
        if quoted_here:
            inside = (np.cumsum(quotes, dtype=np.uint8) + quoted) & 1
            opening = np.flatnonzero(quotes & (inside == 1))
            previous = np.where(opening > 0, piece[opening - 1], before)
            if not np.isin(previous, (mark, _LINE_FEED, _QUOTE)).all():
                return False
            special &= inside == 0
            quoted = int(inside[-1])
        before = int(piece[-1])
        places = np.flatnonzero(special)
        # Each `columns`-th of them ends a line, and nothing else does.
        last = piece[places[columns - 1 - fields :: columns]]
        if not (last == _LINE_FEED).all() or len(last) != np.count_nonzero(special & ends if quoted_here else ends):
            return False
        fields = (fields + len(places)) % columns
    return quoted == 0 and fields == columns - 1


def _read_slowly(content: bytes, separator: str, columns: int, source: str, begin: int) -> polars.DataFrame:
    import polars

    found: list[list[str]] = [[] for _ in range(columns)]
    for record in _records(content.decode(), separator, columns, source, begin):
        for column, value in zip(found, record, strict=True):
            column.append(value)
    values = {str(position): polars.Series(values, dtype=polars.String) for position, values in enumerate(found)}
    return polars.DataFrame(values)


def _records(text: str, separator: str, columns: int, source: str, begin: int) -> Iterator[list[str]]:
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=separator not in BLANKS, strict=True)
    number = begin
    while True:
        try:
            record = next(reader, None)
        except csv.Error as error:
            raise DataError(
                f"{named(source)} is no well-formed CSV file: row {number + 1}: {error}; give every row one value per "
                "column, and close every quote"
            ) from None
        if record is None:
            return
        is_blank = not record or (len(record) == 1 and not record[0].strip())
        if is_blank and columns > 1:
            continue
        number += 1
        if len(record) > columns and not any(record[columns:]):
            record = record[:columns]  # separators at the end of lines
        if len(record) != columns:
            if record and record[0].startswith("#"):
                number -= 1
                continue
            line = "" if begin else f" (line {reader.line_num} below the header)"
            raise DataError(
                f"{named(source)} is no well-formed CSV file: row {number}{line} "
                f"has {len(record)} values and not {columns}; give every row one value per column"
            )
        yield record
