"""Moved projects: translates the paths that a run was started with. Pure except for checking which paths exist.

The run's settings and the models' records keep the paths of its start. The run's record says where each was found
when the run was continued elsewhere (`RunInfo.moved`); code that uses a path translates it.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from forge_tui.errors import ChangedError, DataError, UsageError
from forge_tui.protocol.run_data import RunData
from forge_tui.protocol.run_info import RunInfo
from forge_tui.runs.code import SUFFIX, read_code_file, sha256
from forge_tui.safe_io.printing import named, shell_word
from forge_tui.settings.own_names import OWN, named_function
from forge_tui.settings.schema import Settings

_DATASET = "training.dataset"
_VALIDATION = "data.validation"
_PATHS = (*(f"training.{name}" for name in OWN), _VALIDATION)
"""The settings that may name a file."""
_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The places of data (a file) and code (directories) given with a resume; None and empty: not given.

    `accept_changes`: code there may differ from the run's.
    """

    dataset: str | None = None
    python_path: Sequence[str] = ()
    accept_changes: bool = False


def relocated(settings: Settings, moved: Mapping[str, str]) -> Settings:
    """The settings with today's paths; `moved`: `RunInfo.moved`."""
    if not moved:
        return settings
    training = replace(settings.training, **{name: _text(getattr(settings.training, name), moved) for name in OWN})
    run = replace(settings.run, python_path=tuple(moved_path(path, moved) for path in settings.run.python_path))
    data = replace(settings.data, validation=_text(settings.data.validation, moved))
    sweep = {
        name: tuple(_text(value, moved) for value in values) if name in _PATHS else values
        for name, values in settings.sweep.items()
    }
    return replace(settings, training=training, data=data, run=run, sweep=sweep)


def relocated_data(data: RunData, moved: Mapping[str, str]) -> RunData:
    """The fingerprints by combinations with today's paths."""

    def of(part: Mapping[str, Any]) -> dict[str, Any]:
        return {name: _text(value, moved) if name in _PATHS else value for name, value in part.items()}

    return RunData(data.first, tuple((of(part), fingerprint) for part, fingerprint in data.others))


def moved_path(path: str, moved: Mapping[str, str]) -> str:
    """Today's path: itself, or translated if a directory above it was moved."""
    for old in sorted(moved, key=len, reverse=True):
        if path == old or _is_below(path, old):
            return moved[old] + path[len(old) :]
    return path


def found_again(info: RunInfo, settings: Settings, directory: Path, here: Path, given: Given | None = None) -> RunInfo:
    """The run's record, updated with everything that has moved since its start or last resume.

    `settings` are those of its start. Existing paths stay. Missing ones are searched where the project would be now:
    moved together with the run `directory`, or from the working directory of the start to `here`. Data is compared
    later, by its reader; the code that runs is the run's copy, and a directory is the new place if it has files of the
    copy. Raises `UsageError` if `given` names missing files, `ChangedError` if the code there differs.
    """
    given, now = given or Given(), relocated(settings, info.moved)
    pairs = list(_pairs(info, directory, here))
    found = dict((*_given_dataset(now, here, given), *_given_code(info, given)))
    for label, root in info.code_roots.items():
        if root not in found and not os.path.isdir(root):
            places = (place for place in _candidates(root, pairs) if _code_at(info, label, place))
            found.update((root, place) for place in itertools.islice(places, 1))
    for path in (path for text in _named(now) if (path := _path_of(text)) is not None):
        if path in found:
            continue
        if not os.path.lexists(path):
            places = (place for place in _candidates(path, pairs) if os.path.isfile(place))
            found.update((path, place) for place in itertools.islice(places, 1))
        elif not path.endswith(SUFFIX) and moved_path(path, found) != path:
            found[path] = path  # data that stayed at the old place of the code
    if not found:
        return info
    working_directory = info.working_directory
    if not os.path.isdir(working_directory):
        working_directory = _moved_with(working_directory, found)
    # From the original path, whatever moves came in between.
    return replace(
        info,
        moved={old: moved_path(new, found) for old, new in info.moved.items()} | found,
        code_roots={label: moved_path(root, found) for label, root in info.code_roots.items()},
        working_directory=working_directory,
    )


def require_data(settings: Settings, directory: Path) -> None:
    """Raise `DataError` if a data file of the run in `directory` is neither at its old place nor found elsewhere."""
    for name in (settings.training.dataset, *settings.sweep.get(_DATASET, ())):
        path = None if named_function(name) is not None else _path_of(name)
        if path is not None and not os.path.lexists(path):
            where = (
                ""
                if _DATASET in settings.sweep
                else f": `forge-tui resume {shell_word(str(directory))} --dataset FILE`"
            )
            raise DataError(
                f"--dataset {named(path)}: there is no such file, and none in its place beside the run or where you "
                f"are; put it back, or say where it is now{named(where)}"
            )


def _named(settings: Settings) -> Iterator[Any]:
    """The data and code that settings and sweep values name."""
    yield from (getattr(settings.training, name) for name in OWN)
    yield settings.data.validation
    for name in _PATHS:
        yield from settings.sweep.get(name, ())


def _code_at(info: RunInfo, label: str, place: str) -> list[str]:
    """The files of the run's code, by recorded path, that exist at `place`, a new place of the label's root."""
    files = (path for path in info.code if path.partition("/")[0] == label)
    return [path for path in files if os.path.isfile(os.path.join(place, path.partition("/")[2]))]


def _moved_with(directory: str, found: Mapping[str, str]) -> str:
    """The new place of a directory, derived from files of it that were found elsewhere; else itself."""
    for old, new in found.items():
        rest = old[len(directory) :]
        if (old == directory or _is_below(old, directory)) and new.endswith(rest):
            return new[: len(new) - len(rest)]
    return moved_path(directory, found)


def _path_of(text: Any) -> str | None:
    """The absolute path of the file that a setting names, if it names one."""
    if not isinstance(text, str):
        return None
    named = named_function(text)
    path = text if named is None else named[0]
    return path if os.path.isabs(path) else None


def _text(value: Any, moved: Mapping[str, str]) -> Any:
    path = _path_of(value)
    return value if path is None else moved_path(path, moved) + value[len(path) :]


def _pairs(info: RunInfo, directory: Path, here: Path) -> Iterator[tuple[str, str]]:
    """Old and possible new paths of directories that may have been moved, the likeliest first."""
    before, now = Path(info.path), directory
    while before.name and before.name == now.name:
        before, now = before.parent, now.parent
        yield str(before), str(now)
    if info.working_directory:
        yield info.working_directory, str(here)
        yield info.working_directory, str(directory.parent)


def _given_code(info: RunInfo, given: Given) -> Iterator[tuple[str, str]]:
    """The roots of the run's code that `--python-path` gives, with their new places."""
    for place in given.python_path:
        if not os.path.isdir(place):
            raise UsageError(f"--python-path {named(place)}: there is no such directory; check the path")
        labels = [label for label in info.code_roots if _code_at(info, label, place)]
        if not labels:
            names = sorted(path.partition("/")[2] for path in info.code)
            what = f"none of the run's code ({', '.join(names[:_NAMED])}) is there" if names else "the run has no code"
            raise UsageError(f"--python-path {named(place)}: {what}; give the directory that its code is in now")
        for label in labels:
            _require_same(info, label, place, given)
            yield info.code_roots[label], place


def _require_same(info: RunInfo, label: str, place: str, given: Given) -> None:
    for path in () if given.accept_changes else _code_at(info, label, place):
        file = os.path.join(place, path.partition("/")[2])
        if sha256(read_code_file(file)) != info.code[path]:
            raise ChangedError(
                f"--python-path {named(place)}: {named(file)} is not what the run was started with; put it back as "
                "it was, or continue with it as it is: --accept-changes (its models are then no longer exact)"
            )


def _given_dataset(settings: Settings, here: Path, given: Given) -> Iterator[tuple[str, str]]:
    if given.dataset is None:
        return
    if _DATASET in settings.sweep:
        raise UsageError(
            "--dataset: this run sweeps its dataset; put the files beside the run as they were, and leave it out"
        )
    old = _path_of(settings.training.dataset)
    if old is None or named_function(settings.training.dataset) is not None:
        raise UsageError(
            f"--dataset: the data of this run is not a file ({named(settings.training.dataset)}); leave it out"
            + (", and give --python-path where its code was moved" if old is not None else "")
        )
    new = os.path.abspath(here / Path(given.dataset).expanduser())
    if not os.path.isfile(new):
        raise UsageError(
            f"--dataset {named(given.dataset)}: there is no such file; check the path (relative to {named(here)})"
        )
    if new != old:
        yield old, new


def _candidates(path: str, pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    for old, new in pairs:
        if path == old or _is_below(path, old):
            yield new + path[len(old) :]


def _is_below(path: str, directory: str) -> bool:
    return path.startswith(os.path.join(directory, ""))
