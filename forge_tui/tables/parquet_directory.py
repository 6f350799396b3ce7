"""Directories of Parquet files that are one table."""

from __future__ import annotations

from pathlib import Path

_ENDING = ".parquet"


def is_partitioned(path: Path) -> bool:
    """Whether it is a directory of Parquet files, and of directories called `KEY=VALUE` with such, and nothing else.

    Hidden entries, and those that begin with `_` (`_SUCCESS`, `_metadata`), do not count. Never raises.
    """
    try:
        return path.is_dir() and bool(parts_of(path))
    except OSError:
        return False


def parts_of(directory: Path) -> list[Path]:
    """The files of such a directory in the order of their names; none of any other directory. Raises `OSError`."""
    found: list[Path] = []
    for entry in sorted(directory.iterdir()):
        if entry.name.startswith((".", "_")):
            continue
        if "=" in entry.name and entry.is_dir():
            below = parts_of(entry)
        else:
            below = [entry] if entry.suffix.lower() == _ENDING and entry.is_file() else []
        if not below:
            return []
        found += below
    return found
