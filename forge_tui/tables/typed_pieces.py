"""Parquet and Arrow files that are read piece by piece, and of them only the columns that are wanted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from forge_tui.errors import ForgeError
from forge_tui.settings.schema import DataSettings
from forge_tui.tables.arrow_table import read_arrow_table
from forge_tui.tables.parquet_directory import parts_of
from forge_tui.tables.parquet_footer import read_declared
from forge_tui.tables.parquet_table import read_parquet_table
from forge_tui.tables.table import Table, by_position, clean_name, clean_names

if TYPE_CHECKING:
    import polars

# Values of a piece: 32 MiB in float64. A larger row group is cut, and then its beginning is unpacked again.
_CELLS = 1 << 22
_FILE = b"ARROW1"


def parquet_pieces(path: Path, data: DataSettings, wanted: Collection[str]) -> Iterator[Table]:
    """The rows of a Parquet file, or of all those of a directory, with the columns of those names that it has.

    Raises `DataError` as `read_parquet_table`, `OSError`.
    """
    begin = 0
    for part in parts_of(path) if path.is_dir() else [path]:
        keys = [name.split("=", 1) for name in part.relative_to(path).parts[:-1] if "=" in name]
        added = {key: unquote(value) for key, value in keys if key in wanted}
        for table in _parquet_file(part, data, wanted):
            yield replace(_with(table, added), source=str(path), begin=begin)
            begin += table.rows


def arrow_pieces(path: Path, data: DataSettings, wanted: Collection[str]) -> Iterator[Table]:
    """As `parquet_pieces`, of an Arrow IPC file; a stream of them is read as a whole."""
    import polars

    with path.open("rb") as file:
        is_file = file.read(len(_FILE)) == _FILE
    if not is_file:
        yield read_arrow_table(path, data)
        return

    def spans() -> tuple[list[str], list[int]]:
        names = list(polars.read_ipc_schema(path))
        rows = int(polars.scan_ipc(path, glob=False).select(polars.len()).collect().item())
        return names, [rows]

    scan: Callable[[], polars.LazyFrame] = lambda: polars.scan_ipc(path, glob=False)  # noqa: E731
    yield from _in_slices(path, wanted, spans, scan, lambda: read_arrow_table(path, data))


def _parquet_file(path: Path, data: DataSettings, wanted: Collection[str]) -> Iterator[Table]:
    import polars

    def spans() -> tuple[list[str], list[int]]:
        with path.open("rb") as file:
            declared = read_declared(file)
            file.seek(0)
            return list(polars.read_parquet_schema(file)), list(declared.groups)

    scan: Callable[[], polars.LazyFrame] = lambda: polars.scan_parquet(path, glob=False)  # noqa: E731
    yield from _in_slices(path, wanted, spans, scan, lambda: read_parquet_table(path, data))


def _in_slices(
    path: Path,
    wanted: Collection[str],
    spans: Callable[[], tuple[list[str], list[int]]],
    scan: Callable[[], polars.LazyFrame],
    whole: Callable[[], Table],
) -> Iterator[Table]:
    """`spans` gives the columns and the rows of each part that is unpacked at once; `whole` says what is wrong."""
    import polars

    failures = (polars.exceptions.PolarsError, polars.exceptions.PanicException, ValueError)
    begin = 0
    try:
        names, groups = spans()
        clean_names(names, str(path))
        chosen = [name for name in names if clean_name(name) in wanted]
        clean = clean_names(chosen, str(path))
        most = max(1, _CELLS // max(1, len(chosen)))
        for start, length in _slices(groups, most) if chosen else [(0, 0)]:
            frame = scan().select(chosen).slice(start, length).collect()
            yield Table(source=str(path), names=clean, frame=by_position(frame), begin=begin)
            begin += frame.height
    except failures as error:
        if isinstance(error, ForgeError) or begin:
            raise
        yield whole()


def _slices(groups: list[int], most: int) -> Iterator[tuple[int, int]]:
    """Begin and length of slices that unite small groups and cut those of more than `most` rows; one at least."""
    begin = length = 0
    for group in groups:
        if length and length + group > most:
            yield begin, length
            begin, length = begin + length, 0
        length += group
        while length > most:
            yield begin, most
            begin, length = begin + most, length - most
    if length or not begin:
        yield begin, length


def _with(table: Table, added: dict[str, str]) -> Table:
    import polars

    if not added:
        return table
    width = len(table.names)
    columns = [polars.lit(value).alias(str(width + place)) for place, value in enumerate(added.values())]
    return replace(table, names=(*table.names, *added), frame=table.frame.with_columns(columns))
