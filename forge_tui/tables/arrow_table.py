"""Arrow IPC files, which are also called Feather."""

from __future__ import annotations

import io
from pathlib import Path

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import named
from forge_tui.settings.schema import DataSettings
from forge_tui.tables.declared import require_memory
from forge_tui.tables.table import Table, by_position, clean_names

_FEATHER_1 = b"FEA1"
_FILE = b"ARROW1"
_ADVICE = "free some, or take fewer rows"
# Bytes per value: a 32-bit float.
_BYTES = 4


def read_arrow_table(path: Path, data: DataSettings) -> Table:
    """Read an Arrow IPC file or stream. Raises `DataError` for one that is damaged or too large."""
    import polars

    source = str(path)
    require_memory(path.stat().st_size, f"{path} as a table", _ADVICE)
    with path.open("rb") as file:
        beginning = file.read(len(_FILE))
        file.seek(0)
        if beginning.startswith(_FEATHER_1):
            raise DataError(
                f'{named(path)} is a Feather file of version 1; convert it: python -c "import pandas; '
                f"pandas.read_feather('{path.name}').to_parquet('{path.stem}.parquet')\""
            )
        try:
            if beginning == _FILE:
                rows = int(polars.scan_ipc(path, glob=False).select(polars.len()).collect().item())
                columns = len(polars.read_ipc_schema(path))
                what = f"{path}: its table of {rows:,} rows and {columns:,} columns, unpacked,"
                require_memory(_BYTES * rows * columns, what, _ADVICE)
                frame = polars.read_ipc(file)
            else:
                frame = polars.read_ipc_stream(io.BytesIO(file.read()))
        except (polars.exceptions.PolarsError, polars.exceptions.PanicException, ValueError, OSError) as error:
            if isinstance(error, DataError):
                raise
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise DataError(f"{named(path)} is no readable Arrow file: {reason}; write it again") from None
    return Table(source=source, names=clean_names(frame.columns, source), frame=by_position(frame))
