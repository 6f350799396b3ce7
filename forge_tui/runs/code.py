"""The copy of a run's custom code: Python files below `RUN/code/`, each recorded with its SHA-256.

A recorded path is `LABEL/PATH`: the record's roots map each label to a directory, so that a copy belongs to the file
at `ROOT/PATH`. Code that is accepted later gets new labels, so that earlier models keep the code that they were
trained with. Nothing is imported here.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from forge_tui.errors import ChangedError, RunDirectoryError
from forge_tui.safe_io.printing import named
from forge_tui.safe_io.whole_files import directory_error, write_atomically

if TYPE_CHECKING:
    from forge_tui.protocol.run_info import RunInfo

SUFFIX = ".py"
_LARGEST_FILE = 1 << 26
_INSTALLED_PARTS = frozenset({"site-packages", "dist-packages"})
_FORGE_TUI = str(Path(__file__).resolve().parents[1])
_ACCEPT = "`forge-tui resume RUN --accept-changes` takes the code as it is now"


@dataclass(frozen=True, slots=True)
class CodeRecord:
    """Which files of custom code a run has.

    `files`: SHA-256 by path below `code/`. `roots`: the directory of each label; of several labels for one directory
    the last is current, the earlier ones are of replaced code. `modules`: the version of each installed module that
    settings name (empty if it has none); these are not copied.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    roots: Mapping[str, str] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)

    def original(self, path: str) -> str:
        """The original path of a recorded file when it was copied. Raises `KeyError` if its label has no root."""
        label, _, rest = path.partition("/")
        return os.path.join(self.roots[label], *rest.split("/"))

    def current(self) -> CodeRecord:
        """The record without code that accepted changes have replaced."""
        labels = {root: label for label, root in self.roots.items()}
        roots = {label: root for root, label in labels.items()}
        files = {path: known for path, known in self.files.items() if label_of(path) in roots}
        return CodeRecord(files, roots, self.modules)

    def originals(self) -> dict[str, str]:
        """The recorded paths of current files, by their original paths."""
        current = self.current()
        return {current.original(path): path for path in current.files}


def recorded_code(info: RunInfo) -> CodeRecord:
    """The code in a run's record. Raises `RunDirectoryError` for a damaged record or paths outside `code/`."""
    try:
        for path in info.code:
            if check_path(path) and label_of(path) not in info.code_roots:
                raise RunDirectoryError(
                    f"{named(info.path)}: the record of the run's code is damaged: {path!r} has no root"
                )
        return CodeRecord(_texts(info.code), _texts(info.code_roots), _texts(info.code_modules))
    except AttributeError:
        raise RunDirectoryError(
            f"{named(info.path)}: the record of the run's code is damaged; restore a copy"
        ) from None


def _texts(table: Mapping[str, str]) -> dict[str, str]:
    return {str(name): str(value) for name, value in table.items()}


def label_of(path: str) -> str:
    """The label of a recorded path."""
    return path.partition("/")[0]


def sha256(data: bytes) -> str:
    """The SHA-256 of a file's content, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def check_path(path: str) -> str:
    """The recorded path. Raises `RunDirectoryError` for one that does not name a Python file below `code/`."""
    parts = path.split("/") if isinstance(path, str) else []
    if len(parts) < 2 or not path.endswith(SUFFIX) or any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise RunDirectoryError(f"the run's record names {path!r} as code: it is damaged, or malicious")
    return path


def read_code_file(path: Path | str) -> bytes:
    """The content of a file of code. Raises `OSError`, also if it is not a regular file or far too large."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # opening a pipe could block for ever
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(_LARGEST_FILE + 1)
    if len(content) > _LARGEST_FILE:
        raise OSError(f"it has more than {_LARGEST_FILE >> 20} MiB")
    return content


def read_copies(directory: Path, files: Mapping[str, str]) -> dict[str, bytes]:
    """The content of the copies below `directory` (`RUN/code`), by recorded path.

    Raises `ChangedError` if one is missing or differs from the record, `RunDirectoryError` for a path outside the
    directory.
    """
    found = {}
    for path, recorded in files.items():
        copy = _inside(directory, path)
        try:
            found[path] = read_code_file(copy)
        except FileNotFoundError:
            raise ChangedError(f"{named(copy)} is missing: put it back as it was, or {_ACCEPT}") from None
        except OSError as error:
            raise ChangedError(
                f"{named(copy)} cannot be read: {error.strerror or error}; put it back, or {_ACCEPT}"
            ) from None
        if sha256(found[path]) != recorded:
            raise ChangedError(
                f"{named(copy)} is not what the run was started with (it was edited, or is damaged): put it back as it "
                f"was, or {_ACCEPT}"
            )
    return found


def write_copies(directory: Path, sources: Mapping[str, bytes]) -> None:
    """Write copies below `directory`, for this user alone. Raises `RunDirectoryError`."""
    for path, content in sources.items():
        copy = _inside(directory, path)
        for parent in [directory, *(directory / above for above in reversed(Path(path).parents[:-1]))]:
            try:
                parent.mkdir(mode=0o700, exist_ok=True)
            except OSError as error:
                raise directory_error(error, "create the directory", parent) from error
        write_atomically(copy, content)


def code_paths(files: Iterable[str]) -> list[str]:
    """The paths below the run directory for these recorded paths: files, then directories from the innermost."""
    copies = [f"code/{check_path(path)}" for path in files]
    above = {parent.as_posix() for copy in copies for parent in Path(copy).parents if parent.name}
    return [*sorted(copies), *sorted(above, key=lambda path: path.count("/"), reverse=True)]


def labels_for(directories: Iterable[str], taken: Collection[str]) -> dict[str, str]:
    """A label below `code/` for each directory: its name, with `-2`, … if that is taken.

    Directories below others need none. Labels differ from those `taken`, also ignoring case.
    """
    used = {label.lower() for label in taken}
    found: dict[str, str] = {}
    for directory in outermost(directories):
        stem = re.sub(r"[^A-Za-z0-9._-]+", "_", os.path.basename(directory)).lstrip("._-") or "root"
        label, number = stem, 1
        while label.lower() in used:
            number += 1
            label = f"{stem}-{number}"
        used.add(label.lower())
        found[label] = directory
    return found


def outermost(directories: Iterable[str]) -> list[str]:
    """The directories that are not below another one, in order."""
    whole = list(dict.fromkeys(os.path.abspath(one) for one in directories))
    return [one for one in whole if not any(is_below(one, other) for other in whole if other != one)]


def is_below(path: str, directory: str) -> bool:
    """Whether an absolute path is inside a directory, without resolving links."""
    return path.startswith(os.path.join(directory, ""))


def is_installed(path: str) -> bool:
    """Whether a file belongs to Python, an installed package, or this program: such code is never copied."""
    if not _INSTALLED_PARTS.isdisjoint(Path(path).parts):
        return True
    return any(is_below(place, directory) for place in (path, os.path.realpath(path)) for directory in _installed())


@cache
def _installed() -> frozenset[str]:
    import sysconfig  # here: viewers do not need it

    named = ("stdlib", "platstdlib", "purelib", "platlib")
    standard = {os.path.join(base, "lib", f"python{sys.version_info[0]}.{sys.version_info[1]}") for base in _BASES}
    return frozenset({_FORGE_TUI, *standard, *(sysconfig.get_path(name) for name in named)})


_BASES = frozenset({sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix})


def _inside(directory: Path, path: str) -> Path:
    """The copy of a recorded path. Raises `RunDirectoryError` if a part of it is a symbolic link."""
    copy = directory / check_path(path)
    for place in (directory, *(directory / above for above in Path(path).parents[:-1]), copy):
        if place.is_symlink():
            raise RunDirectoryError(
                f"{named(place)} is a symbolic link, which is not followed here; put the file itself there"
            )
    return copy
