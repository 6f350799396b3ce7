"""Text tables: .csv and .tsv files, also compressed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from forge_tui.errors import DataError
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
    return text_table(read_content(path), str(path), data)


def text_table(content: bytes, source: str, data: DataSettings, pieces: Sequence[bytes] = ()) -> Table:
    """The table of a text with its header, and of whole lines from further places; those that do not fit are left out.

    Raises `DataError` as `read_text_table`.
    """
    import polars

    content, encoding = to_utf8(content, source)
    if b"\r" in content[: 1 << 16] and b"\n" not in content:
        content = content.replace(b"\r", b"\n")  # of old Macs
    layout = find_layout(content, source, separator=data.separator, decimal=data.decimal, header=data.header)
    names = clean_names(layout.names, source)
    frames = [read_records(content[layout.begin :], layout.separator, len(names), source)]
    for piece in pieces:
        try:
            text = piece.decode(encoding, "replace").encode()
            frames.append(read_records(text, layout.separator, len(names), source))
        except DataError:  # it begins within quotes, perhaps
            continue
    written = TextFormat(encoding=encoding, separator=layout.separator, decimal=layout.decimal, header=layout.header)
    frame = frames[0] if len(frames) == 1 else polars.concat(frames)
    return Table(source=source, names=names, frame=frame, format=written)
