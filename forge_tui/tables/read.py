"""Reads a table from a file, by the ending of its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import named
from forge_tui.settings.schema import DataSettings
from forge_tui.tables.arrow_table import read_arrow_table
from forge_tui.tables.endings import TABLES, ending_of, how_to_convert
from forge_tui.tables.excel_table import read_excel_table
from forge_tui.tables.json_table import read_json_table
from forge_tui.tables.parquet_directory import is_partitioned
from forge_tui.tables.parquet_table import read_parquet_table
from forge_tui.tables.table import Table
from forge_tui.tables.text_table import read_text_table

_READERS: dict[str, Callable[[Path, DataSettings], Table]] = {
    ".csv": read_text_table,
    ".tsv": read_text_table,
    ".parquet": read_parquet_table,
    ".arrow": read_arrow_table,
    ".feather": read_arrow_table,
    ".jsonl": read_json_table,
    ".ndjson": read_json_table,
    ".xlsx": read_excel_table,
}
assert tuple(_READERS) == TABLES


def check_table_file(path: Path, endings: Sequence[str] = TABLES) -> None:
    """Raise `DataError` unless it is a file with one of the endings, or a directory of Parquet files."""
    if is_partitioned(path):
        return
    if not path.exists():
        raise DataError(f"{named(path)}: there is no such file; check the path")
    if not path.is_file():
        raise DataError(f"{named(path)} is no file; give a file that ends in {', '.join(endings)}")
    if ending_of(path) not in endings:
        advice = how_to_convert(path) or f"is no table; give a file that ends in {', '.join(endings)}"
        raise DataError(f"{named(path)} {advice}")


def read_table(path: Path, data: DataSettings) -> Table:
    """The table of a file with an ending of `endings.TABLES`, or of a directory of Parquet files.

    Raises `DataError` with the place in it, `OSError`.
    """
    return _READERS[".parquet" if path.is_dir() else ending_of(path)](path, data)
