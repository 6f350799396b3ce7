"""A part of a table that is too large to be looked at as a whole: seconds, whatever its size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from forge_tui.settings.schema import DataSettings
from forge_tui.tables.compression import read_beginning
from forge_tui.tables.endings import COMPRESSIONS, TEXT, ending_of
from forge_tui.tables.parquet_directory import parts_of
from forge_tui.tables.read import read_table
from forge_tui.tables.table import Table, by_position, clean_names
from forge_tui.tables.text_table import text_table

_WHOLE_BYTES = 48 << 20
_BEGINNING_BYTES, _PIECE_BYTES, _PIECES = 2 << 20, 128 << 10, 32
_CELLS, _SLICES = 1_000_000, 8


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A table, and in words which part of the file it is (None: all of it)."""

    table: Table
    part: str | None


def read_sample(path: Path, data: DataSettings) -> Sample:
    """The table of a file, or of a large one some of its rows. Raises as `read_table`."""
    ending = ".parquet" if path.is_dir() else ending_of(path)
    if ending in (".parquet", ".arrow", ".feather"):
        return _of_slices(path, data, ending)
    compressed = path.suffix.lower() in COMPRESSIONS
    size = path.stat().st_size
    if size <= (_WHOLE_BYTES // 8 if compressed else _WHOLE_BYTES):
        return Sample(read_table(path, data), None)
    if compressed and ending in TEXT:
        content = _whole_lines(read_beginning(path, _WHOLE_BYTES // 2))
        return Sample(text_table(content, str(path), data), "the first rows only, of a compressed file")
    if ending not in TEXT:
        return Sample(read_table(path, data), None)
    with path.open("rb") as file:
        beginning = _whole_lines(file.read(_BEGINNING_BYTES))
        pieces = []
        step = (size - _BEGINNING_BYTES - _PIECE_BYTES) // _PIECES
        for number in range(_PIECES):
            file.seek(_BEGINNING_BYTES + number * step)
            piece = file.read(_PIECE_BYTES)
            pieces.append(piece[piece.find(b"\n") + 1 : piece.rfind(b"\n") + 1])
    table = text_table(beginning, str(path), data, pieces)
    return Sample(table, f"{table.rows:,} rows from {_PIECES + 1} places of it")


def _whole_lines(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1] or content


def _of_slices(path: Path, data: DataSettings, ending: str) -> Sample:
    """Rows from several places of a typed file; all of them if they are few."""
    import polars

    first = parts_of(path)[0] if path.is_dir() else path
    try:
        scan = polars.scan_parquet(first, glob=False) if ending == ".parquet" else polars.scan_ipc(first)
        rows = int(scan.select(polars.len()).collect().item())
        columns = len(scan.collect_schema())
        wanted = max(1, _CELLS // max(1, columns))
        if path.is_dir() or rows <= wanted:
            if path.is_dir() and (rows > wanted or len(parts_of(path)) > 1):
                frame = scan.slice(0, wanted).collect()
                return Sample(_typed(path, frame), f"the first {frame.height:,} rows of its first part")
            return Sample(read_table(path, data), None)
        length = max(1, wanted // _SLICES)
        step = (rows - length) // (_SLICES - 1)
        frame = polars.concat([scan.slice(number * step, length).collect() for number in range(_SLICES)])
    except (polars.exceptions.PolarsError, polars.exceptions.PanicException, OSError):
        return Sample(read_table(path, data), None)  # says what is wrong
    return Sample(_typed(path, frame), f"{frame.height:,} of {rows:,} rows, from {_SLICES} places of it")


def _typed(path: Path, frame: object) -> Table:
    import polars

    assert isinstance(frame, polars.DataFrame)
    return Table(source=str(path), names=clean_names(frame.columns, str(path)), frame=by_position(frame))
