"""Parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import named
from forge_tui.settings.schema import DataSettings
from forge_tui.tables.declared import require_memory
from forge_tui.tables.parquet_directory import parts_of
from forge_tui.tables.parquet_footer import Declared, odd_columns, read_declared
from forge_tui.tables.table import Table, by_position, clean_names, listed

if TYPE_CHECKING:
    import polars

# Bytes per value: a 32-bit float.
_BYTES = 4


def read_parquet_table(path: Path, data: DataSettings) -> Table:
    """Read a Parquet file, or all those of a directory; directories called `KEY=VALUE` are columns, too.

    Raises `DataError` naming what is damaged, too large, or of a type that is not known.
    """
    source = str(path)
    frame = _directory(path) if path.is_dir() else _file(path)
    return Table(source=source, names=clean_names(frame.columns, source), frame=by_position(frame))


def _directory(path: Path) -> polars.DataFrame:
    import polars

    frames = []
    for part in parts_of(path):
        frame = _file(part)
        keys = [name.split("=", 1) for name in part.relative_to(path).parts[:-1] if "=" in name]
        frames.append(frame.with_columns(polars.lit(unquote(value)).alias(key) for key, value in keys))
        if frames[-1].columns != frames[0].columns:
            raise DataError(
                f"{named(part)} has the columns {listed(frames[-1].columns)}, and the first part has "
                f"{listed(frames[0].columns)}; all parts need the same"
            )
    try:
        return polars.concat(frames, how="vertical_relaxed")
    except polars.exceptions.PolarsError as error:
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"{named(path)}: its parts have columns of different types: {reason}") from None


def _file(path: Path) -> polars.DataFrame:
    import polars  # here: its import costs 60 ms, and its threads would not survive the fork of a worker

    with path.open("rb") as file:  # by name polars reports an unreadable file as damaged
        try:
            names = list(polars.read_parquet_schema(file))
            _check_size(path, read_declared(file), len(names))
            file.seek(0)
            return polars.read_parquet(file)
        except (polars.exceptions.PolarsError, polars.exceptions.PanicException, ValueError) as error:
            if isinstance(error, DataError):
                raise
            _refuse_odd_columns(path, file)
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise DataError(f"{named(path)} is no readable Parquet file: {reason}; write it again") from None


def _refuse_odd_columns(path: Path, file: IO[bytes]) -> None:
    """Raise `DataError` for columns that are of a type that cannot be read."""
    try:
        odd = odd_columns(file)
    except ValueError:
        return
    if odd:
        what = "; ".join(f"column {name!r} holds {kind}" for name, kind in odd)
        raise DataError(f"{named(path)}: {named(what)}, which cannot be read; write them as text or float64")


def _check_size(path: Path, declared: Declared, columns: int) -> None:
    """Raise `DataError` if the table takes more memory than available: repeated values take no space in the file."""
    require_memory(
        max(declared.uncompressed, _BYTES * declared.rows * columns),
        f"{path}: its table of {declared.rows:,} rows and {columns:,} columns, unpacked,",
        "free some, take fewer rows, or save it as .npy, which stays on disk",
    )
