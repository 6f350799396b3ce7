"""Finds the run's files in a run directory, and deletes or moves them; foreign files stay.

No symbolic link is followed: each directory is opened by name relative to its parent.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from forge_tui.errors import RunDirectoryError
from forge_tui.runs.belongings import Belonging, is_database
from forge_tui.runs.inside import IS_LINK
from forge_tui.runs.names import CODE, DATABASE, LOGS, ROOMS, original_of
from forge_tui.safe_io.whole_files import directory_error

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(slots=True)
class Folder:
    """A directory: the run's entries (`files`, `folders`), and the names of all others (`foreign`)."""

    name: str
    is_own: bool
    files: list[str] = field(default_factory=list)
    folders: list[Folder] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether the directory and everything in it are the run's."""
        return self.is_own and not self.foreign and all(folder.is_whole for folder in self.folders)

    def others(self, prefix: str = "") -> Iterator[str]:
        """The paths of foreign entries, relative to this directory; a foreign directory counts as one."""
        yield from (prefix + name for name in sorted(self.foreign))
        for folder in self.folders:
            if folder.is_own or folder.foreign:
                yield from folder.others(f"{prefix}{folder.name}/")
            else:
                yield prefix + folder.name


def survey(directory: Path, place: Belonging) -> Folder:
    """The content of `directory`, classified by `place`. Raises `OSError`."""
    found = Folder(directory.name, place.is_own)
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                inner = place.inner(entry.name)
                if inner is not None:
                    found.folders.append(survey(directory / entry.name, inner))
                    continue
            elif entry.is_file(follow_symlinks=False) and place.owns(entry.name):
                found.files.append(entry.name)
                continue
            found.foreign.append(entry.name)
    # The database last: an interrupted deletion still needs its record of the run's files.
    found.files.sort(key=lambda name: (name == DATABASE, is_database(name)))
    return found


def delete_own(folder: Folder, directory: Path, keep: Callable[[str], bool] = lambda path: False) -> None:
    """Delete the run's entries in `directory`, not the directory itself; `keep`: files that stay, by relative path.

    A directory of the run with foreign entries stays. Raises `OSError`.
    """
    with _opened(directory) as descriptor:
        _delete(folder, descriptor, keep, "")


def _delete(folder: Folder, descriptor: int, keep: Callable[[str], bool], prefix: str) -> None:
    for inner in folder.folders:
        with _opened(inner.name, descriptor) as below:
            _delete(inner, below, keep, f"{prefix}{inner.name}/")
        if inner.is_whole and not keep(prefix + inner.name):
            _remove_if_empty(inner.name, descriptor)
    for name in folder.files:
        if not keep(prefix + name):
            _unlink(name, descriptor)


def move(folder: Folder, source: Path, target: Path) -> list[str]:
    """Move the run's entries in `source` to the directory `target`; returns the paths that are taken there and stay.

    A directory that is entirely the run's is renamed if its name is free. The database is last. Raises `OSError`.
    """
    with _opened(source) as origin, _opened(target) as destination:
        return _move(folder, origin, destination)


def _move(folder: Folder, source: int, target: int) -> list[str]:
    taken: list[str] = []
    for inner in folder.folders:
        if not _exists(inner.name, target):
            if inner.is_whole:
                os.rename(inner.name, inner.name, src_dir_fd=source, dst_dir_fd=target)
                continue
            os.mkdir(inner.name, 0o700, dir_fd=target)
        with _opened(inner.name, source) as origin, _opened(inner.name, target) as destination:
            taken += [f"{inner.name}/{name}" for name in _move(inner, origin, destination)]
            os.fsync(destination)
        if inner.is_whole:
            _remove_if_empty(inner.name, source)
    for name in folder.files:
        if _exists(name, target):
            taken.append(name)
        else:
            os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
    return taken


def refuse_links_in(directory: Path, place: Belonging) -> None:
    """Raise `RunDirectoryError` if a name of the run, in its directory or one level below, is a symbolic link."""
    for one in _links(directory, place):
        raise RunDirectoryError(f"{one} {IS_LINK}")


def _links(directory: Path, place: Belonging, *, deeper: bool = True) -> Iterator[Path]:
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_symlink():
                    if place.owns(entry.name) or place.inner(entry.name) is not None:
                        yield Path(entry.path)
                elif deeper and entry.is_dir() and entry.name in (*ROOMS, CODE):
                    inner = place.inner(entry.name)
                    if inner is not None:
                        yield from _links(directory / entry.name, inner, deeper=False)
    except OSError as error:
        raise directory_error(error, "look into", directory) from error


def tidy(directory: Path, place: Belonging) -> None:
    """Remove temporary files left by a kill in the run directory and its logs. Raises `RunDirectoryError`."""
    logs = place.inner(LOGS)
    rooms = ((directory, place), *([(directory / LOGS, logs)] if logs is not None else []))
    try:
        for room, inner in rooms:
            if not room.is_dir() or (room != directory and room.is_symlink()):
                continue
            with os.scandir(room) as entries:
                found = [one for one in entries if original_of(one.name) and one.is_file(follow_symlinks=False)]
            for entry in found:
                if inner.owns(entry.name):
                    os.unlink(entry.path)
    except OSError as error:
        raise directory_error(error, "tidy up in", directory) from error


@contextmanager
def _opened(name: Path | str, below: int | None = None) -> Iterator[int]:
    # Only the run directory itself may be reached through a link.
    descriptor = os.open(name, _OPEN if below is None else _OPEN | os.O_NOFOLLOW, dir_fd=below)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _exists(name: str, below: int) -> bool:
    try:
        os.stat(name, dir_fd=below, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _unlink(name: str, below: int) -> None:
    with contextlib.suppress(FileNotFoundError):  # already removed
        os.unlink(name, dir_fd=below)


def _remove_if_empty(name: str, below: int) -> None:
    """Remove a directory unless it is not empty."""
    try:
        os.rmdir(name, dir_fd=below)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
            raise
