"""CSV files: every column but the target is a feature."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import named
from forge_tui.settings.schema import Settings
from forge_tui.training.data.dataset import Dataset
from forge_tui.training.data.declared import require_memory, require_plain
from forge_tui.training.data.table import listed, table_dataset, target_column

if TYPE_CHECKING:
    import polars

_OTHER_SEPARATORS = (";", "\t", "|")


def csv_dataset(path: Path, settings: Settings) -> Dataset:
    """Read a CSV file with a header: see `table_dataset`. Text targets are classes.

    Raises `DataError` with file, column and row (1 is the first below the header).
    """
    require_plain(path)
    require_memory(path.stat().st_size, f"{path} as a table", "free some, or save it as .npy, which stays on disk")
    names = _header(path)
    target = target_column(path, names, settings.data.target)
    return table_dataset(path, _read(path, names), names, target, settings)


def _header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            names = next(csv.reader(file), [])
    except UnicodeDecodeError as error:
        raise DataError(f"{named(path)} is no UTF-8 text ({error.reason}); save it as UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{named(path)}: the header cannot be read: {error}") from None
    if any("\0" in name for name in names):
        raise DataError(f"{named(path)} is no UTF-8 text (it has zero bytes, as UTF-16 has); save it as UTF-8")
    if not any(name.strip() for name in names):
        empty = "begins with an empty line" if path.read_bytes().strip() else "is empty"
        raise DataError(f"{named(path)} {empty}; it needs a header with column names, and rows of data")
    for separator in _OTHER_SEPARATORS:
        if len(names) == 1 and separator in names[0]:
            raise DataError(f"{named(path)}: its header has {separator!r} where commas belong; save it with commas")
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(f"{named(path)}: several columns are called {listed(repeated)}; give every column its own name")
    return names


def _read(path: Path, names: list[str]) -> polars.DataFrame:
    import polars  # here: its import costs 60 ms, and its threads would not survive the fork of a worker

    try:
        frame = polars.read_csv(path, infer_schema_length=None, glob=False)
    except polars.exceptions.NoDataError:
        raise DataError(f"{named(path)} is empty; it needs a header with column names, and rows of data") from None
    except polars.exceptions.PolarsError as error:
        reason = str(error).strip().splitlines()[0]
        if "utf-8" in reason:
            raise DataError(f"{named(path)} is no UTF-8 text ({reason}); save it as UTF-8") from None
        raise DataError(
            f"{named(path)} is no well-formed CSV file: {reason}; give every row one value per column"
        ) from None
    if frame.columns != names:
        raise DataError(
            f"{named(path)}: its header ends in no line break that is known ({listed(frame.columns)} is read of it); "
            "save it with lines that end in LF or CR LF"
        )
    return frame
