"""Reads a table from a file, by the ending of its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from forge_tui.settings.schema import DataSettings
from forge_tui.tables.arrow_table import read_arrow_table
from forge_tui.tables.endings import TABLES, ending_of
from forge_tui.tables.excel_table import read_excel_table
from forge_tui.tables.json_table import read_json_table
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


def read_table(path: Path, data: DataSettings) -> Table:
    """The table of a file with an ending of `endings.TABLES`, or of a directory of Parquet files.

    Raises `DataError` with the place in it, `OSError`.
    """
    return _READERS[".parquet" if path.is_dir() else ending_of(path)](path, data)
