"""Files of a run lie in its directory: no symbolic link below it is followed, by whoever it was put there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from forge_tui.errors import RunDirectoryError

IS_LINK = "is a symbolic link, and no file of a run lies outside its directory; put back what was there, or remove it"


def refuse_links(path: Path, root: Path) -> None:
    """Raise `RunDirectoryError` where `path`, or a directory between it and `root`, is a symbolic link.

    `root` is the run directory, which may be reached through links. A part that is not there is none.
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
    """Whether there is a file, and no link. Raises `OSError` where that may not be looked at."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def is_directory(path: Path) -> bool:
    """Whether there is a directory, and no link. Raises `OSError` where that may not be looked at."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
