"""Decides which custom code may make a loaded model: that of its run, if this user has started or allowed it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from forge_tui.errors import ChangedError, RunDirectoryError, SettingsError, UntrustedCode
from forge_tui.protocol.run_info import RunInfo
from forge_tui.runs import trust
from forge_tui.runs.code import SUFFIX, CodeRecord, check_path, label_of, read_code_file, recorded_code, sha256
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.moved import found_again, relocated
from forge_tui.runs.reader import RunReader
from forge_tui.safe_io.printing import escaped
from forge_tui.settings.files import read_settings
from forge_tui.settings.own_names import named_function, own_functions
from forge_tui.settings.schema import Settings, from_plain
from forge_tui.settings.space import dimensions
from forge_tui.training.code_finder import Copy, copies_in
from forge_tui.training.code_space import CodeSpace, space_of

_ALLOW = "`--trust-code`, or in Python trust_code=True,"


@contextmanager
def code_of(stem: Path, record: Mapping[str, Any], flags: Sequence[str], *, trust_code: bool) -> Iterator[Settings]:
    """Make the functions named by `flags` importable from the code that a model was trained with.

    `record` is NAME.json of the path stem. Yields the model's settings; in its run directory these must name the same
    code and values as the run's. Raises `UntrustedCode` if the code is not allowed, `ChangedError` if a file of it has
    changed, `RunDirectoryError` for a damaged record.
    """
    directory = RunDirectory(stem.parent)
    settings = _settings_of(stem, record)
    named = {flag: text for flag, text in own_functions(settings.training).items() if flag in flags}
    what = [f"{flag} {escaped(text)}" for flag, text in named.items()]
    if directory.database.is_file():
        with RunReader(directory.database) as reader:
            info = reader.info()
        run = _run_settings(directory)
        if not trust_code:
            trust.require(directory, info, what, _ALLOW)
        info = found_again(info, run, directory.path, Path.cwd())
        settings, run = relocated(settings, info.moved), relocated(run, info.moved)
        named = {flag: text for flag, text in own_functions(settings.training).items() if flag in flags}
        _check_named(stem, settings, run, named)
        space = _space_in_run(stem, directory, info, record, run)
    else:
        if not trust_code:
            raise UntrustedCode(
                f"{stem.name}.json is not in the directory of its run, and names code: {', '.join(what)}. "
                f"Look at that code first; {_ALLOW} runs it"
            )
        run, space = settings, _space_beside(stem, record)
    for flag, text in named.items():
        _check_place(f"{flag} {escaped(text)}", text, run.run.python_path, space, record)
    if space is None:
        yield settings
    else:
        with space.active():
            yield settings


def _settings_of(stem: Path, record: Mapping[str, Any]) -> Settings:
    """The model's own settings. Raises `RunDirectoryError`."""
    try:
        settings = from_plain(record["settings"])
    except (SettingsError, KeyError, TypeError, AttributeError) as error:
        raise RunDirectoryError(f"{stem.name}.json is damaged: its settings cannot be read ({error})") from None
    config = record.get("config")
    for name in ("model_type", "model_size"):
        value = config.get(name) if isinstance(config, Mapping) else None
        if value != getattr(settings.training, name):
            raise RunDirectoryError(f"{stem.name}.json is damaged: its config and its settings name another {name}")
    return settings


def _run_settings(directory: RunDirectory) -> Settings:
    try:
        return read_settings(directory.settings)
    except SettingsError as error:
        raise RunDirectoryError(f"what code {directory.path} was started with is not known: {error}") from None


def _check_named(stem: Path, settings: Settings, run: Settings, named: Mapping[str, str]) -> None:
    """Raise `UntrustedCode` if a model's record names a function or a value that its run does not."""

    def refuse(what: str) -> UntrustedCode:
        return UntrustedCode(
            f"{stem.name}.json names {what}, which its run was not started with: the file was changed, or is of "
            "another run; nothing of it was run"
        )

    for flag, text in named.items():
        if text not in trust.functions_of(run).get(flag, ()):
            raise refuse(f"{flag} {escaped(text)}")
    swept = {name.partition(".")[2]: values for name, values in run.sweep.items() if name.startswith("model.")}
    searched = dimensions(run)
    for name in settings.model.keys() | run.model.keys() | swept.keys():
        allowed = swept.get(name, (run.model[name],) if name in run.model else ())
        value, space = settings.model.get(name), searched.get(f"model.{name}")
        if not (any(_same(value, one) for one in allowed) if space is None else space.has(value)):
            raise refuse(f"model.{escaped(name)} = {escaped(str(value))}")
    sizes = run.sweep.get("training.model_size", (run.training.model_size,))
    size, space = settings.training.model_size, searched.get("training.model_size")
    if not (size in sizes if space is None else space.has(size)):
        raise refuse(f"training.model_size = {settings.training.model_size}")
    if settings.run.python_path != run.run.python_path:
        raise refuse(f"run.python_path = {escaped(', '.join(settings.run.python_path))}")


def _same(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _space_in_run(
    stem: Path, directory: RunDirectory, info: RunInfo, record: Mapping[str, Any], run: Settings
) -> CodeSpace | None:
    """The code of a run's model; None for early versions, which made no copy."""
    kept = recorded_code(info)
    if not kept.roots:
        return None
    named = record.get("code")
    files: Mapping[str, str] = kept.current().files
    if isinstance(named, dict) and named:
        if any(kept.files.get(path) != known for path, known in named.items()):
            raise RunDirectoryError(
                f"{stem.name}.json names code that its run has not: it is damaged, or of another run"
            )
        files = named
    labels = {label_of(path) for path in files} or kept.current().roots.keys()
    roots = {label: root for label, root in kept.roots.items() if label in labels}
    return space_of(CodeRecord(files, roots, kept.modules), copies_in(directory.code, files), run.run.python_path)


def _space_beside(stem: Path, record: Mapping[str, Any]) -> CodeSpace | None:
    """The code of a model outside its run: recorded files beside it, at their old places, or in the working directory.

    None for early versions, which did not record their code.
    """
    files, roots = record.get("code"), record.get("code_roots")
    if not isinstance(files, dict) or not isinstance(roots, dict) or not roots:
        return None
    found: dict[str, Copy] = {}
    code = CodeRecord(files, roots)
    for path, known in files.items():
        if label_of(check_path(path)) not in roots:
            raise RunDirectoryError(f"{stem.name}.json is damaged: the code {path!r} has no root")
        rest = path.partition("/")[2]
        places = [stem.parent / "code" / path, stem.parent / rest, Path(code.original(path)), Path.cwd() / rest]
        contents = {place: content for place in places if (content := _content(place)) is not None}
        copy = next((Copy(str(place), one) for place, one in contents.items() if sha256(one) == known), None)
        if copy is None:
            raise ChangedError(_not_found(stem, rest, list(contents), places))
        found[path] = copy
    return space_of(code, found, [*_settings_of(stem, record).run.python_path, os.getcwd()])


def _content(place: Path) -> bytes | None:
    try:
        return read_code_file(place)
    except OSError:
        return None


def _not_found(stem: Path, name: str, others: Sequence[Path], places: Sequence[Path]) -> str:
    if others:
        return (
            f"{others[0]} is not the code that {stem.name} was trained with (its SHA-256 is another): put that file as "
            f"it was then at one of {', '.join(map(str, places))}"
        )
    return f"{name}, which {stem.name} was trained with, is at none of {', '.join(map(str, places))}; put it there"


def _check_place(
    named: str, text: str, python_path: Sequence[str], space: CodeSpace | None, record: Mapping[str, Any]
) -> None:
    """Raise `UntrustedCode` unless a function is of a recorded file or module, and never of Python's own modules."""
    found = named_function(text)
    assert found is not None
    place, _ = found
    if place.endswith(SUFFIX):
        is_known = space is None or space.finder.source(place) is not None
    elif place.partition(".")[0] in sys.stdlib_module_names:
        is_known = False
    else:
        parts = place.split(".")
        files = (os.path.join(entry, *parts) for entry in (*python_path, *sys.path))
        in_record = space is not None and any(
            space.finder.source(file + end) for file in files for end in (SUFFIX, f"/__init__{SUFFIX}")
        )
        modules = record.get("code_modules")
        is_known = in_record or space is None or (isinstance(modules, dict) and place in modules)
    if not is_known:
        raise UntrustedCode(
            f"{named} is of no file and no module that the model's code consists of; nothing of it was run"
        )
