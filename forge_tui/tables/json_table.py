"""JSON lines: an object per line, whose keys are the columns."""

from __future__ import annotations

import io
import json
from pathlib import Path

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import named
from forge_tui.settings.schema import DataSettings
from forge_tui.tables.character_sets import to_utf8
from forge_tui.tables.compression import read_content
from forge_tui.tables.table import Table, by_position, clean_names


def read_json_table(path: Path, data: DataSettings) -> Table:
    """Read JSON lines; a key that a line lacks is missing there. Raises `DataError` with the line."""
    import polars

    source = str(path)
    content, _ = to_utf8(read_content(path), source)
    if not content.strip():
        raise DataError(f"{named(source)} is empty; it needs an object of values per line")
    try:
        # All lines decide about the types, not only the first ones.
        frame = polars.read_ndjson(io.BytesIO(content), infer_schema_length=None)
    except (polars.exceptions.PolarsError, polars.exceptions.PanicException) as error:
        _refuse_line(content, source)
        reason = str(error).strip().partition("\n")[0]
        raise DataError(
            f"{named(source)} is no table of JSON lines: {reason}; give each key one type of values"
        ) from None
    if frame.height < sum(1 for line in content.splitlines() if line.strip()):
        _refuse_line(content, source)
    return Table(source=source, names=clean_names(frame.columns, source), frame=by_position(frame))


def _refuse_line(content: bytes, source: str) -> None:
    """Raise `DataError` for the first line that is no JSON object."""
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{named(source)}: line {number} is no JSON: {error}; write one object per line") from None
        if not isinstance(found, dict):
            raise DataError(
                f"{named(source)}: line {number} is no object (it begins with {line[:20]!r}); write one per line"
            )
