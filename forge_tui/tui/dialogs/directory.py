"""The entries of a directory for a file picker."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

MOST_ENTRIES = 2_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: a directory, or a file of a wanted kind with its size in bytes."""

    name: str
    is_directory: bool
    size: int = 0


@dataclass(frozen=True, slots=True)
class Listing:
    """The entries of a directory, directories first. `left_out`: entries beyond `MOST_ENTRIES`."""

    path: Path
    entries: tuple[Entry, ...] = ()
    problem: str | None = None
    left_out: int = 0


def list_directory(path: Path, endings: Collection[str], hidden: bool = False) -> Listing:
    """The directories in `path` and its files that end in one of `endings`. Reads the disk, never raises."""
    found: list[Entry] = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith(".") and not hidden:
                    continue
                if (known := _entry(entry, endings)) is not None:
                    found.append(known)
    except OSError as error:
        return Listing(path, problem=f"cannot be read: {error.strerror or error}")
    found.sort(key=lambda one: (not one.is_directory, one.name.casefold(), one.name))
    return Listing(path, tuple(found[:MOST_ENTRIES]), None, max(0, len(found) - MOST_ENTRIES))


def _entry(entry: os.DirEntry[str], endings: Collection[str]) -> Entry | None:
    try:
        if entry.is_dir():
            return Entry(entry.name, True)
        if os.path.splitext(entry.name)[1].lower() in endings and entry.is_file():
            return Entry(entry.name, False, entry.stat().st_size)
    except OSError:
        return None  # a broken link, or deleted meanwhile
    return None


def shortest(path: Path, working_directory: Path) -> str:
    """The path for a setting: relative if it is below the working directory."""
    try:
        return str(path.relative_to(working_directory))
    except ValueError:
        return str(path)
