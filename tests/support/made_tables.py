"""Tables from text and from columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars

from forge_tui.settings.schema import DataSettings
from forge_tui.tables.read import read_table
from forge_tui.tables.study import Study, study
from forge_tui.tables.table import Table, by_position, clean_names


def table_of(columns: dict[str, Any]) -> Table:
    """A typed table."""
    frame = polars.DataFrame(columns)
    return Table(source="t", names=clean_names(frame.columns, "t"), frame=by_position(frame))


def read_text(where: Path, text: str | bytes, name: str = "t.csv", **data: Any) -> Table:
    """The table of a file with this text."""
    path = where / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(path, DataSettings(**data))


def studied(table: Table, **data: Any) -> Study:
    """What the table is found to be."""
    return study(table, DataSettings(**data))


def kinds(found: Study) -> dict[str, str]:
    """The kind of each column."""
    return {column.name: column.kind.value for column in found.columns}
