"""Files beside a checkpoint of a training function that belong to it, such as a framework's own checkpoint."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from forge_tui.errors import RunDirectoryError, TrialError
from forge_tui.runs.inside import is_directory, open_inside
from forge_tui.runs.names import is_inside
from forge_tui.safe_io.printing import escaped
from forge_tui.safe_io.whole_files import directory_error, sync_directory
from forge_tui.training.tensor_file import DamagedFile

Files = Path | str | Iterable[Path | str]
"""One file or directory, or several."""


def attach(files: Files, directory: Path) -> dict[str, str]:
    """Make files of `directory` durable; returns their SHA-256 by relative path, with `/` between its parts.

    Of directories among `files`, all files are meant. Raises `TrialError` for anything that is not in `directory`, and
    `RunDirectoryError`.
    """
    found: dict[str, str] = {}
    for given in [files] if isinstance(files, (str, Path)) else files:
        if not isinstance(given, (str, Path)):
            raise TrialError(f"trial.checkpoint: files are paths, and one is a {type(given).__qualname__}")
        path = directory / given
        try:
            relative = path.relative_to(directory)
        except ValueError:
            raise TrialError(_outside(path, directory)) from None
        if not is_inside(relative.as_posix()):
            raise TrialError(_outside(path, directory))
        for file in _files_of(path):
            found[file.relative_to(directory).as_posix()] = _digest(file, directory, sync=True)
        _sync_up(path, directory)
    return dict(sorted(found.items()))


def verify(record: Mapping[str, str], directory: Path) -> None:
    """Raise `DamagedFile` unless all files of a checkpoint are there with the content that they had."""
    for name, sha256 in record.items():
        if not is_inside(name):
            raise DamagedFile(f"a checkpoint names the file {escaped(name)}, which is not in {directory}")
        try:
            is_same = _digest(directory / name, directory, sync=False) == sha256
        except RunDirectoryError as error:
            raise DamagedFile(str(error)) from None
        if not is_same:
            raise DamagedFile(f"{directory / name} is damaged: its content does not match its SHA-256")


def _outside(path: Path, directory: Path) -> str:
    return (
        f"trial.checkpoint: {escaped(str(path))} is not in trial.directory, {directory}; only files there can be kept"
    )


def _files_of(path: Path) -> Iterator[Path]:
    """The file at `path`, or all files of the directory there. Raises `TrialError` if there is neither."""
    if not is_directory(path):
        if not os.path.lexists(path):
            raise TrialError(f"trial.checkpoint: there is no file {escaped(str(path))}")
        yield path
        return
    for place, _, names in os.walk(path):
        for name in names:
            yield Path(place, name)


def _digest(path: Path, directory: Path, *, sync: bool) -> str:
    """The SHA-256 of a regular file, not a link. Raises `RunDirectoryError`."""
    try:
        with os.fdopen(open_inside(path, directory, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise RunDirectoryError(f"{path} is no file but a pipe, a socket or a device")
            found = hashlib.file_digest(file, "sha256").hexdigest()
            if sync:
                os.fsync(file.fileno())
            return found
    except OSError as error:
        raise directory_error(error, "read", path) from error


def _sync_up(path: Path, directory: Path) -> None:
    """Make the entries of `path` and of the directories up to `directory` durable. Raises `RunDirectoryError`."""
    inner = [Path(place) for place, _, _ in os.walk(path)]
    outer = [parent for parent in path.parents if parent == directory or directory in parent.parents]
    for place in (*inner, *outer):
        try:
            sync_directory(place)
        except OSError as error:
            raise directory_error(error, "write", place) from error


def files_of(record: Mapping[str, Any]) -> Mapping[str, str]:
    """The files of a checkpoint by its record. Raises `DamagedFile` for what is never written."""
    found = record.get("files", {})
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise DamagedFile("its list of files is none that forge-tui writes")
    return found
