"""Text tables: .csv and .tsv files, also compressed."""

from __future__ import annotations

from pathlib import Path

from forge_tui.settings.schema import DataSettings
from forge_tui.tables.character_sets import to_utf8
from forge_tui.tables.compression import read_content
from forge_tui.tables.layout import find_layout
from forge_tui.tables.records import read_records
from forge_tui.tables.table import Table, TextFormat, clean_names


def read_text_table(path: Path, data: DataSettings) -> Table:
    """Read a table of text, as `data` says how it is written. Every value is text.

    Raises `DataError` with the file and the row (1 is the first of data), `OSError`.
    """
    source = str(path)
    content, encoding = to_utf8(read_content(path), source)
    if b"\r" in content[: 1 << 16] and b"\n" not in content:
        content = content.replace(b"\r", b"\n")  # of old Macs
    layout = find_layout(content, source, separator=data.separator, decimal=data.decimal, header=data.header)
    names = clean_names(layout.names, source)
    frame = read_records(content[layout.begin :], layout.separator, len(names), source)
    written = TextFormat(encoding=encoding, separator=layout.separator, decimal=layout.decimal, header=layout.header)
    return Table(source=source, names=names, frame=frame, format=written)
