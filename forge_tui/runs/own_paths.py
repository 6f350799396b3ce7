"""What a run creates in its directory: paths, names of models, files of code."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from forge_tui.runs.names import FILES


@dataclass(frozen=True, slots=True)
class OwnPath:
    """A path that a run creates, relative to its directory, with `/` between its parts."""

    path: str
    is_directory: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is recorded of a run's paths. `code`: its files below `code/`; `is_older`: of a format without paths.
    `has_custom_loop`: its models have directories for the own files of a training function or a command.

    Models of damaged rows count as foreign.
    """

    models: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset(FILES)
    directories: frozenset[str] = frozenset()
    code: frozenset[str] = frozenset()
    has_custom_loop: bool = False
    is_older: bool = False


def own_paths(directories: Iterable[str]) -> list[OwnPath]:
    """The paths in a run's record: the files of every run, and the `directories` that this one has made."""
    return [*(OwnPath(file) for file in FILES), *(OwnPath(one, is_directory=True) for one in sorted(set(directories)))]
