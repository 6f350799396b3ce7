"""Trust: only code of runs that this user has started runs without a question.

A run's database has a random key; the user's state directory has a file named by that key's SHA-256, with the SHA-256
of what decides about the run's code: its settings, its code files, and the directories of the code and of the start.
The place of the run directory does not matter: it may be moved, renamed or copied. Runs that others have made or
changed have no such file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forge_tui.errors import RunDirectoryError, SettingsError, UntrustedCode
from forge_tui.protocol.run_info import RunInfo
from forge_tui.runs import registry
from forge_tui.runs.layout import RunDirectory
from forge_tui.safe_io.plain_files import read_file
from forge_tui.safe_io.printing import escaped, named
from forge_tui.safe_io.strict_json import STATE, parse_object
from forge_tui.safe_io.whole_files import directory_error, write_atomically
from forge_tui.settings.files import settings_digest
from forge_tui.settings.own_names import OWN, named_function
from forge_tui.settings.schema import Settings
from forge_tui.settings.user_file import state_directory

_DIRECTORY = "trust"
_VERSION = 1
# A run's record and this file are written one after the other: in between, the previous entry is valid too.
_KEPT = 64


def new_key() -> str:
    """A key for a run."""
    return secrets.token_hex(32)


def functions_of(settings: Settings) -> dict[str, list[str]]:
    """The custom functions that settings name, also in a sweep, by flag."""
    found: dict[str, list[str]] = {}
    for name in OWN:
        texts = (getattr(settings.training, name), *settings.sweep.get(f"training.{name}", ()))
        named = [text for text in dict.fromkeys(texts) if named_function(text) is not None]
        if named:
            found[f"--{name.replace('_', '-')}"] = named
    return found


def what_runs(settings: Settings) -> list[str]:
    """Descriptions of the settings that run custom code; empty if none does."""
    found = [f"{flag} {escaped(text)}" for flag, texts in functions_of(settings).items() for text in texts]
    if settings.run.command:
        found.append(f"command {escaped(json.dumps(list(settings.run.command), ensure_ascii=False))}")
    if settings.run.on_finish:
        found.append(f"on_finish {escaped(json.dumps(list(settings.run.on_finish), ensure_ascii=False))}")
    if settings.engine.address is not None:
        # Who answers there can run code in what connects to it: Ray pickles.
        found.append(f"--address {escaped(settings.engine.address)}")
    return found


def record(info: RunInfo, state: Path | None = None) -> None:
    """Trust the run as described by `info`, and as it was before. Raises `RunDirectoryError`.

    `info` has a key and the SHA-256 of its settings. Call it before the run's own record is written.
    """
    directory = _directory(state)
    path = _path(directory, info.key)
    before = _read(path)
    marks = [mark for mark in (before.marks if before is not None else ()) if mark != _mark(info)]
    content = {
        "v": _VERSION,
        "run": info.run,
        "path": info.path,
        "settings_sha256": info.settings_sha256,
        "marks": [*marks, _mark(info)][-_KEPT:],
    }
    _make_private(directory)
    write_atomically(path, json.dumps(content).encode())


def forget_key(key: str, state: Path | None = None) -> None:
    """Remove the trust of a deleted run. Raises `RunDirectoryError`."""
    path = _path(_directory(state), key)
    try:
        path.unlink(missing_ok=True)
    except NotADirectoryError:
        return
    except OSError as error:
        raise directory_error(error, "delete", path) from error


def doubt(directory: RunDirectory, info: RunInfo, state: Path | None = None) -> str | None:
    """Why the run is not trusted, as the rest of a sentence after `a run that …`; None if it is."""
    try:
        digest = settings_digest(directory.settings)
    except SettingsError as error:
        return f"has no readable settings ({error})"
    if not info.key:
        if info.settings_sha256 not in ("", digest):
            return "was started with other settings than its present ones"
        return None if _is_registered(directory, info, state) else "you have not started here"
    trusted = _directory(state)
    wrong = _unsafe(trusted)
    if wrong is not None:
        return f"may not be yours: {wrong}"
    kept = _read(_path(trusted, info.key))
    if kept is None:
        return f"you have not started here ({trusted} does not know it)"
    if kept.settings_sha256 != digest or info.settings_sha256 != digest:
        return "you have started with other settings than its present ones"
    if _mark(info) not in kept.marks:
        return "you have started with other code than its present code"
    return None


def require(directory: RunDirectory, info: RunInfo, what: list[str], allow: str, state: Path | None = None) -> None:
    """Raise `UntrustedCode` unless the run is trusted; `what` would run, `allow` says how to allow it."""
    reason = doubt(directory, info, state) if what else None
    if reason is None:
        return
    listed = "".join(f"\n  {one}" for one in what)
    raise UntrustedCode(
        f"{named(directory.path)}: this is a run that {reason}. It would run code:{listed}\n"
        f"Look at that code first; {allow} runs it"
    )


@dataclass(frozen=True, slots=True)
class _Kept:
    settings_sha256: str
    marks: tuple[str, ...]


def _mark(info: RunInfo) -> str:
    """SHA-256 of everything that decides which code runs, and where."""
    roots = [list(pair) for pair in info.code_roots.items()]  # the last of several for one directory counts
    what: list[Any] = [info.settings_sha256, info.code, roots, info.code_modules, info.working_directory]
    if info.moved:
        what.append(info.moved)
    text = json.dumps(what, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()  # as the record is written


def _directory(state: Path | None) -> Path:
    return (state or state_directory()) / _DIRECTORY


def _path(directory: Path, key: str) -> Path:
    """The file of a key; the plain key as a name would reveal it to everyone who may list the directory."""
    return directory / f"{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}.json"


def _read(path: Path) -> _Kept | None:
    try:
        content = parse_object(read_file(path, STATE.size, follow=False), STATE)
        if content["v"] != _VERSION:
            return None
        return _Kept(str(content["settings_sha256"]), tuple(str(mark) for mark in content["marks"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # missing or incomplete


def _unsafe(directory: Path) -> str | None:
    """Why the directory's content cannot be trusted; None if it can, or there is none."""
    try:
        status = directory.lstat()
    except OSError:
        return None
    if status.st_mode & 0o022:
        return f"others may write in {directory}; chmod 700 makes it your own"
    if status.st_uid != os.geteuid() and os.geteuid() != 0:
        return f"{directory} belongs to another user (uid {status.st_uid})"
    return None


def _make_private(directory: Path) -> None:
    """Make the directory and its missing parents, for this user alone. Raises `RunDirectoryError`."""
    for place in (*reversed(directory.parents), directory):
        try:
            with contextlib.suppress(FileExistsError):
                place.mkdir(mode=0o700)
        except OSError as error:
            if not place.is_dir():  # its parent may be read-only although it exists
                raise directory_error(error, "create the directory", place) from error


def _is_registered(directory: RunDirectory, info: RunInfo, state: Path | None) -> bool:
    """Whether this user has started it with a version without keys: then its id and path must match."""
    with contextlib.suppress(RunDirectoryError):
        return any(_is_this(entry, directory, info) for entry in _without_key(state))
    return False


def _without_key(state: Path | None) -> Iterator[registry.KnownRun]:
    return (entry for entry in registry.known(state) if not entry.has_key)


def _is_this(entry: registry.KnownRun, directory: RunDirectory, info: RunInfo) -> bool:
    return entry.run == info.run and os.path.abspath(entry.path) == str(directory.path)
