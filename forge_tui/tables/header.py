"""The names of a text table's columns, from its beginning only."""

from __future__ import annotations

from pathlib import Path

from forge_tui.settings.schema import DataSettings
from forge_tui.tables.character_sets import to_utf8
from forge_tui.tables.layout import find_layout
from forge_tui.tables.table import clean_names

# A header of 10,000 columns has about 200 kB; a file without line ends is not read to its end.
_MOST_BYTES = 1 << 22


def column_names(path: Path, data: DataSettings | None = None) -> tuple[str, ...]:
    """The names of the columns; none if the file is compressed in a way that only the whole of it is read.

    `data` says how it is written (None: that is found). Raises `DataError` for what is no table of text, `OSError`.
    """
    suffix = path.suffix.lower()
    if suffix in (".gz", ".bz2", ".xz"):
        from forge_tui.tables.compression import read_beginning

        content = read_beginning(path, _MOST_BYTES)
    elif suffix == ".zst":
        return ()
    else:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES)
    if len(content) == _MOST_BYTES:
        content = content[: content.rfind(b"\n") + 1] or content
    text, _ = to_utf8(content, str(path))
    data = data or DataSettings()
    layout = find_layout(text, str(path), separator=data.separator, decimal=data.decimal, header=data.header)
    return clean_names(layout.names, str(path))
