"""Reads a table of any size from a file, some rows at a time where its format allows that."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from forge_tui.settings.schema import DataSettings
from forge_tui.tables.endings import TEXT, ending_of
from forge_tui.tables.read import read_table
from forge_tui.tables.table import Table
from forge_tui.tables.text_pieces import text_pieces
from forge_tui.tables.typed_pieces import arrow_pieces, parquet_pieces


def table_pieces(
    path: Path, data: DataSettings, wanted: Collection[str], most: int, numbers: Collection[str] = ()
) -> Iterator[Table]:
    """The rows of a table in their order, at most `most` at a time; other columns than `wanted` may be left out.

    Of a file of text, Parquet or Arrow only a part is in memory at a time; JSON lines and Excel workbooks are read as
    a whole. `numbers`: columns whose text may become float64, which is faster. Raises `DataError` with the place in it,
    `OSError`.
    """
    ending = ".parquet" if path.is_dir() else ending_of(path)
    if ending in TEXT:
        pieces = text_pieces(path, data, numbers)
    elif ending == ".parquet":
        pieces = parquet_pieces(path, data, wanted)
    elif ending in (".arrow", ".feather"):
        pieces = arrow_pieces(path, data, wanted)
    else:
        pieces = iter((read_table(path, data),))
    for piece in pieces:
        for begin in range(0, max(1, piece.rows), most):
            yield replace(piece, frame=piece.frame.slice(begin, most), begin=piece.begin + begin)
