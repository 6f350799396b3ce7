"""Parquet files: every column but the target is a feature, as in CSV files."""

from __future__ import annotations

from pathlib import Path

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import named
from forge_tui.settings.schema import Settings
from forge_tui.training.data.dataset import Dataset
from forge_tui.training.data.declared import require_memory
from forge_tui.training.data.parquet_footer import Declared, read_declared
from forge_tui.training.data.table import table_dataset, target_column

# Bytes per value: a 32-bit float.
_BYTES = 4


def parquet_dataset(path: Path, settings: Settings) -> Dataset:
    """Read a Parquet file: see `table_dataset`. Text, categories, dates and times as the target are classes.

    Raises `DataError` with file, column and row (1 is the first).
    """
    import polars  # here: its import costs 60 ms, and its threads would not survive the fork of a worker

    with path.open("rb") as file:  # by name polars reports an unreadable file as damaged
        try:
            # The columns first: a wrong target is reported before a large file is read.
            names = list(polars.read_parquet_schema(file))
            target = target_column(path, names, settings.data.target)
            _check_size(path, read_declared(file), len(names))
            file.seek(0)
            frame = polars.read_parquet(file)
        except (polars.exceptions.PolarsError, polars.exceptions.PanicException, ValueError) as error:
            if isinstance(error, DataError):
                raise
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise DataError(f"{named(path)} is no readable Parquet file: {reason}; write it again") from None
    return table_dataset(path, frame, names, target, settings)


def _check_size(path: Path, declared: Declared, columns: int) -> None:
    """Raise `DataError` if the table takes more memory than available: repeated values take no space in the file."""
    require_memory(
        max(declared.uncompressed, _BYTES * declared.rows * columns),
        f"{path}: its table of {declared.rows:,} rows and {columns:,} columns, unpacked,",
        "free some, take fewer rows, or save it as .npy, which stays on disk",
    )
