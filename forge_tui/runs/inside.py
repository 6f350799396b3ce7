"""Keeps file access inside the run directory: no symbolic link below it is followed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from forge_tui.errors import RunDirectoryError

IS_LINK = "is a symbolic link, and files of a run are never outside its directory; restore the original, or remove it"


def refuse_links(path: Path, root: Path) -> None:
    """Raise `RunDirectoryError` if `path`, or a directory between it and `root`, is a symbolic link.

    `root` is the run directory, whose own path may have links. Missing parts are accepted.
    """
    part = path
    while part != root:
        if os.path.islink(part):
            raise RunDirectoryError(f"{part} {IS_LINK}")
        part = part.parent


def open_inside(path: Path, root: Path, flags: int, mode: int = 0o600) -> int:
    """A descriptor of `path` below `root`, closed in children. Raises `RunDirectoryError` for links, and `OSError`."""
    refuse_links(path, root)
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode)


def is_file(path: Path) -> bool:
    """Whether there is a regular file, not a link. Raises `OSError` if that cannot be checked."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def is_directory(path: Path) -> bool:
    """Whether there is a directory, not a link. Raises `OSError` if that cannot be checked."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
