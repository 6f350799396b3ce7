"""Which files in a run directory are the run's, by its record (`runs.record`); everything else is somebody else's.

Recorded are the paths that a run creates at run level; those of a model follow from its recorded name, those of its
code from `RunInfo.code`. A label, which is written without the record, is known by its content. A symbolic link is
never the run's: forge-tui makes none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from forge_tui.errors import RunDirectoryError
from forge_tui.runs.inside import refuse_links
from forge_tui.runs.label import is_label
from forge_tui.runs.names import (
    CHECKPOINTS,
    CODE,
    COMMANDS,
    DATABASE,
    FILES_OF_TRIAL,
    LABEL,
    LOGS,
    MOVING,
    PREVIOUS,
    REMOVED,
    REPORTS,
    RESULT,
    ROOMS,
    ROOT,
    STEP,
    original_of,
)
from forge_tui.runs.own_paths import Record
from forge_tui.runs.record import read_record

_DATABASE_SUFFIXES = ("", "-wal", "-shm", "-journal")
_MODEL_ENDINGS = ("json", "safetensors")
_CACHE = "__pycache__"
_PROBE = "probe"
_COMMAND = re.compile(r"\d{20}-[0-9a-f]{12}\.json")
_LOG = re.compile(r"(.+)\.log")
_COMPILED = re.compile(r"([^.]+)\.[^.]+(?:\.opt-[12])?\.pyc")


def database_names(database: str = DATABASE) -> tuple[str, ...]:
    """The files that SQLite has for a database, the database itself first."""
    return tuple(database + suffix for suffix in _DATABASE_SUFFIXES)


_DATABASES = frozenset((*database_names(), *database_names(REMOVED)))


def is_database(name: str) -> bool:
    """Whether a file of that name belongs to the database of a run, or of one that is being removed."""
    return name in _DATABASES


# --- directories, and which of their entries are the run's


class Belonging(Protocol):
    """A directory in which there are files of a run."""

    @property
    def is_own(self) -> bool:
        """Whether the run has made it."""

    def owns(self, name: str) -> bool:
        """Whether a file called `name` is the run's."""

    def inner(self, name: str) -> Belonging | None:
        """The directory called `name`; None where nothing in it can be the run's."""


def belonging_of(path: Path, record: Record) -> Belonging:
    """The run directory itself."""
    return _Root(path, record)


@dataclass(frozen=True, slots=True)
class _Root:
    path: Path
    record: Record

    @property
    def is_own(self) -> bool:
        return ROOT in self.record.directories

    def owns(self, name: str) -> bool:
        original = original_of(name)
        if LABEL in (name, original):
            return is_label(self.path / name)
        return self._is_file(name) or (original is not None and (self._is_file(original) or original == _PROBE))

    def _is_file(self, name: str) -> bool:
        if is_database(name):
            return True
        stem, _, ending = name.rpartition(".")
        return name in self.record.files or (ending in _MODEL_ENDINGS and stem in self.record.models)

    def inner(self, name: str) -> Belonging | None:
        record, is_recorded = self.record, name in self.record.directories
        if name == CHECKPOINTS:
            return _Checkpoints(is_recorded, record.models, record.has_custom_loop)
        if name == LOGS:
            return _Logs(is_recorded, record)
        if name == COMMANDS and is_recorded:
            return _Files(_is_command)
        if name == CODE and (is_recorded or record.code):
            return _Code(is_recorded or bool(record.code), "", record.code)
        if name == MOVING and is_recorded:
            return _Root(self.path / name, _of_moving(record))
        if is_recorded and PREVIOUS.fullmatch(name):
            return _earlier(self.path / name)
        return None


def _of_moving(record: Record) -> Record:
    """An older version's move was interrupted: these are the same run's files."""
    return replace(record, directories=(record.directories | {ROOT}) - {MOVING})


def _earlier(path: Path) -> Belonging:
    """An earlier run's directory, which was made for it; without its record nothing in it is known to be the run's."""
    try:
        refuse_links(path, path.parent)
        record = read_record(path / DATABASE)
    except RunDirectoryError:
        return _Files(lambda name: False)
    return _Root(path, replace(record, directories=record.directories.union((ROOT, CODE, *ROOMS))))


class _Named(Protocol):
    def __call__(self, name: str, /) -> bool: ...


@dataclass(frozen=True, slots=True)
class _Files:
    """A directory of the run's that has files only."""

    is_file: _Named
    is_own: bool = True

    def owns(self, name: str) -> bool:
        return self.is_file(name) or self.is_file(original_of(name) or "")

    def inner(self, name: str) -> Belonging | None:
        return None


def _is_command(name: str) -> bool:
    return _COMMAND.fullmatch(name) is not None


def _is_of_attempt(name: str) -> bool:
    return any(pattern.fullmatch(name) is not None for pattern in (STEP, RESULT, REPORTS))


@dataclass(frozen=True, slots=True)
class _Checkpoints:
    is_own: bool
    models: frozenset[str]
    have_files: bool

    def owns(self, name: str) -> bool:
        return False

    def inner(self, name: str) -> Belonging | None:
        return _Model(self.have_files) if name in self.models else None


@dataclass(frozen=True, slots=True)
class _Model:
    """What attempts at a model have written, and the directory of its training function where it has one."""

    has_files: bool
    is_own: bool = True

    def owns(self, name: str) -> bool:
        return _is_of_attempt(name) or _is_of_attempt(original_of(name) or "")

    def inner(self, name: str) -> Belonging | None:
        return _Everything() if self.has_files and name == FILES_OF_TRIAL else None


@dataclass(frozen=True, slots=True)
class _Everything:
    """A directory that was made for somebody's files: whatever is in it."""

    is_own: bool = True

    def owns(self, name: str) -> bool:
        return True

    def inner(self, name: str) -> Belonging | None:
        return self


@dataclass(frozen=True, slots=True)
class _Logs:
    is_own: bool
    record: Record

    def owns(self, name: str) -> bool:
        return self._is_file(name) or self._is_file(original_of(name) or "")

    def _is_file(self, name: str) -> bool:
        if f"{LOGS}/{name}" in self.record.files:
            return True
        found = _LOG.fullmatch(name)
        return found is not None and found[1] in self.record.models

    def inner(self, name: str) -> Belonging | None:
        return None


@dataclass(frozen=True, slots=True)
class _Code:
    """`code/` or a directory below it; `prefix` ends in `/` or is empty. Python may have put compiled files there."""

    is_own: bool
    prefix: str
    files: frozenset[str]

    def owns(self, name: str) -> bool:
        return self.prefix + name in self.files or self.prefix + (original_of(name) or "/") in self.files

    def inner(self, name: str) -> Belonging | None:
        if name == _CACHE:
            return _Files(self._is_compiled)
        below = f"{self.prefix}{name}/"
        return _Code(True, below, self.files) if any(file.startswith(below) for file in self.files) else None

    def _is_compiled(self, name: str) -> bool:
        found = _COMPILED.fullmatch(name)
        return found is not None and f"{self.prefix}{found[1]}.py" in self.files
