"""A project that was moved: where the paths are now that a run was started with. Pure but for looking what is there.

The run's settings, and the models' records, keep the paths of its start. The run's record says where each of them was
found when it was continued elsewhere (`RunInfo.moved`), and whoever uses one translates it.
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
from forge_tui.protocol.snapshot import RunInfo
from forge_tui.runs.code import SUFFIX, read_code_file, sha256
from forge_tui.safe_io.printing import named, shell_word
from forge_tui.settings.own_names import OWN, named_function
from forge_tui.settings.schema import Settings

_DATASET = "training.dataset"
_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Where a resume says that the data and the code are now: a file, and directories; None and empty: not said.

    `accept_changes`: code there may be another than the run's.
    """

    dataset: str | None = None
    python_path: Sequence[str] = ()
    accept_changes: bool = False


def relocated(settings: Settings, moved: Mapping[str, str]) -> Settings:
    """The settings with the paths as they are now; `moved`: of `RunInfo`."""
    if not moved:
        return settings
    training = replace(settings.training, **{name: _text(getattr(settings.training, name), moved) for name in OWN})
    run = replace(settings.run, python_path=tuple(moved_path(path, moved) for path in settings.run.python_path))
    sweep = {
        name: tuple(_text(value, moved) for value in values) if name.removeprefix("training.") in OWN else values
        for name, values in settings.sweep.items()
    }
    return replace(settings, training=training, run=run, sweep=sweep)


def relocated_data(data: RunData, moved: Mapping[str, str]) -> RunData:
    """The fingerprints by combinations that name the data as it is named now."""

    def of(part: Mapping[str, Any]) -> dict[str, Any]:
        return {name: _text(value, moved) if name == _DATASET else value for name, value in part.items()}

    return RunData(data.first, tuple((of(part), fingerprint) for part, fingerprint in data.others))


def moved_path(path: str, moved: Mapping[str, str]) -> str:
    """Where a path is now: itself, or what is below a directory that was moved."""
    for old in sorted(moved, key=len, reverse=True):
        if path == old or _is_below(path, old):
            return moved[old] + path[len(old) :]
    return path


def found_again(info: RunInfo, settings: Settings, directory: Path, here: Path, given: Given | None = None) -> RunInfo:
    """The run's record with all that was moved since the run was started, or was last continued.

    `settings` are those of its start. What is where it was stays there. What is not is looked for where its project
    would be now: as the run `directory` was moved with it, and from the working directory of the start to `here`. Data
    is compared by who reads it; the code that runs is the run's copy of it, and a directory is its place where files
    of the copy are. Raises `UsageError` where `given` names what is not there, `ChangedError` where it is other code.
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
            found[path] = path  # data that stayed where its project's code was
    if not found:
        return info
    working_directory = info.working_directory
    if not os.path.isdir(working_directory):
        working_directory = _moved_with(working_directory, found)
    # From where it was at the start, whichever way it went since.
    return replace(
        info,
        moved={old: moved_path(new, found) for old, new in info.moved.items()} | found,
        code_roots={label: moved_path(root, found) for label, root in info.code_roots.items()},
        working_directory=working_directory,
    )


def require_data(settings: Settings, directory: Path) -> None:
    """Raise `DataError` where a file of data of the run in `directory` is neither where it was nor found again."""
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
                f"are; put it back, or say where it is now{where}"
            )


def _named(settings: Settings) -> Iterator[Any]:
    """What the settings, and the values of a sweep, name as data or code."""
    for name in OWN:
        yield getattr(settings.training, name)
        yield from settings.sweep.get(f"training.{name}", ())


def _code_at(info: RunInfo, label: str, place: str) -> list[str]:
    """Which files of the run's code, by recorded path, are at that place of a root."""
    files = (path for path in info.code if path.partition("/")[0] == label)
    return [path for path in files if os.path.isfile(os.path.join(place, path.partition("/")[2]))]


def _moved_with(directory: str, found: Mapping[str, str]) -> str:
    """Where a directory is now that has, or had, in it what was found again elsewhere; itself where nothing tells."""
    for old, new in found.items():
        rest = old[len(directory) :]
        if (old == directory or _is_below(old, directory)) and new.endswith(rest):
            return new[: len(new) - len(rest)]
    return moved_path(directory, found)


def _path_of(text: Any) -> str | None:
    """The file that a setting names from the root, if it names one."""
    if not isinstance(text, str):
        return None
    named = named_function(text)
    path = text if named is None else named[0]
    return path if os.path.isabs(path) else None


def _text(value: Any, moved: Mapping[str, str]) -> Any:
    path = _path_of(value)
    return value if path is None else moved_path(path, moved) + value[len(path) :]


def _pairs(info: RunInfo, directory: Path, here: Path) -> Iterator[tuple[str, str]]:
    """Directories that may have been moved, as they were and as they may be now; the likeliest first."""
    before, now = Path(info.path), directory
    while before.name and before.name == now.name:
        before, now = before.parent, now.parent
        yield str(before), str(now)
    if info.working_directory:
        yield info.working_directory, str(here)
        yield info.working_directory, str(directory.parent)


def _given_code(info: RunInfo, given: Given) -> Iterator[tuple[str, str]]:
    """The roots of the run's code that `--python-path` names, with where they are now."""
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
            f"--dataset: the data of this run is no file ({named(settings.training.dataset)}); leave it out"
            + (", and give --python-path where its code was moved" if old is not None else "")
        )
    new = os.path.abspath(here / Path(given.dataset).expanduser())
    if not os.path.isfile(new):
        raise UsageError(
            f"--dataset {named(given.dataset)}: there is no such file; check the path (it counts from {named(here)})"
        )
    if new != old:
        yield old, new


def _candidates(path: str, pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    for old, new in pairs:
        if path == old or _is_below(path, old):
            yield new + path[len(old) :]


def _is_below(path: str, directory: str) -> bool:
    return path.startswith(os.path.join(directory, ""))
