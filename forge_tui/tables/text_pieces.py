"""Text tables that are read piece by piece, so that they may be larger than the memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import named
from forge_tui.settings.schema import DataSettings
from forge_tui.tables.character_sets import is_wide, to_utf8
from forge_tui.tables.compression import opened
from forge_tui.tables.layout import find_layout
from forge_tui.tables.records import read_records
from forge_tui.tables.table import Table, TextFormat, clean_names
from forge_tui.tables.text_table import read_text_table

_PIECE_BYTES = 16 << 20
_LONGEST_RECORD = 64 << 20
_QUOTE, _LINE_FEED = ord('"'), ord("\n")


def text_pieces(path: Path, data: DataSettings, numbers: Collection[str] = ()) -> Iterator[Table]:
    """The rows of a text table in their order, some at a time; its layout is found from its beginning.

    The columns called `numbers` are float64 where all values of all of them are finite numbers; other columns are text.

    As a whole are read files of one piece, in UTF-16 or UTF-32, with the line ends of old Macs, or compressed by
    Zstandard. Raises `DataError` with the row, `OSError`.
    """
    with opened(path) as file:
        beginning = b"" if file is None else file.read(_PIECE_BYTES)
        if file is not None and len(beginning) == _PIECE_BYTES and b"\n" in beginning and not is_wide(beginning):
            yield from _pieces(file, beginning, str(path), data, numbers)
            return
    yield read_text_table(path, data)


def _pieces(
    file: IO[bytes], beginning: bytes, source: str, data: DataSettings, numbers: Collection[str]
) -> Iterator[Table]:
    lines = _Lines(file, beginning, source)
    text = lines.read()
    layout = find_layout(text, source, separator=data.separator, decimal=data.decimal, header=data.header)
    names = clean_names(layout.names, source)
    written = TextFormat(
        encoding=lines.encoding, separator=layout.separator, decimal=layout.decimal, header=layout.header
    )
    as_numbers = [place for place, name in enumerate(names) if name in numbers and layout.decimal == "."]
    text, row = text[layout.begin :], 0
    while True:
        end = len(text) if lines.is_at_end else _end_of_records(text)
        if end:
            frame = read_records(text[:end], layout.separator, len(names), source, row, as_numbers)
            if as_numbers and not frame.dtypes[as_numbers[0]].is_float():
                as_numbers = []  # reading every piece twice is slower
            yield Table(source=source, names=names, frame=frame, format=written, begin=row)
            row += frame.height
        elif len(text) > _LONGEST_RECORD:
            raise DataError(f"{named(source)} is no well-formed CSV file: row {row + 1} has a quote that is not closed")
        if lines.is_at_end:
            return
        text = text[end:] + lines.read()


class _Lines:
    """Whole lines of a file as UTF-8. `is_at_end`: nothing is left of it."""

    def __init__(self, file: IO[bytes], beginning: bytes, source: str) -> None:
        self._file, self._left, self._block, self._source = file, b"", beginning, source
        self.encoding = "utf-8"
        self._is_plain = True
        self.is_at_end = False

    def read(self) -> bytes:
        """Some more lines. Raises `DataError` for what is no text, and for text in two encodings."""
        parts: list[bytes | memoryview] = [self._left]
        block = self._block
        while not (end := block.rfind(b"\n") + 1) and block:
            parts.append(block)
            block = self._file.read(_PIECE_BYTES)
        parts.append(memoryview(block)[:end])
        self._left, self._block = block[end:], self._file.read(_PIECE_BYTES)
        if not self._block:
            parts.append(self._left)
            self._left = b""
            self.is_at_end = True
        return self._decoded(b"".join(parts))

    def _decoded(self, lines: bytes) -> bytes:
        text, encoding = to_utf8(lines, self._source)
        if text.isascii():
            return text
        if not self._is_plain and encoding != self.encoding:
            raise DataError(
                f"{named(self._source)} is {self.encoding} at its beginning, and {encoding} further down; save it as "
                "UTF-8"
            )
        self._is_plain, self.encoding = False, encoding
        return text


def _end_of_records(text: bytes) -> int:
    """Where the last line ends that ends outside quotes; 0 if none does."""
    if b'"' not in text:
        return text.rfind(b"\n") + 1
    whole = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(whole == _LINE_FEED)
    quotes = np.flatnonzero(whole == _QUOTE)
    outside = ends[np.searchsorted(quotes, ends) % 2 == 0]
    return int(outside[-1]) + 1 if len(outside) else 0
