"""Reads settings files, with the line of every key, and writes them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from forge_tui.errors import RunDirectoryError, SettingsError
from forge_tui.safe_io.plain_files import open_file
from forge_tui.safe_io.printing import escaped, named
from forge_tui.settings.key_lines import key_lines
from forge_tui.settings.keys import FREE_TABLES, Key
from forge_tui.settings.problems import shown
from forge_tui.settings.schema import (
    Settings,
    from_plain,
    key_named,
    keys_by_name,
    tables,
    to_plain,
    unknown,
)
from forge_tui.settings.site_file import TABLE as SITE
from forge_tui.settings.space import SPACE, SpaceKey, put, space_key
from forge_tui.settings.space import TABLE as SEARCH
from forge_tui.settings.sweep import TABLE as SWEEP
from forge_tui.settings.sweep import SweepKey, sweep_key

# A settings file is small; a device or a data file given by mistake is not read into memory.
_LARGEST_FILE = 1 << 20

_SYNTAX_PLACE = re.compile(
    r"(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class FileValue:
    """A value from a settings file, checked, and the line of its key."""

    key: Key | SweepKey | SpaceKey
    value: Any
    line: int | None


@dataclass(frozen=True, slots=True)
class Parsed:
    """A TOML document, and the line of every key."""

    document: dict[str, Any]
    lines: Mapping[tuple[str, ...], int]


def read_values(path: Path, *, pipe: bool = False) -> list[FileValue]:
    """The values of a settings file, in its order. `pipe`: allow a pipe, such as a shell's `<(…)`.

    Raises `SettingsError` naming file, line, key, value and what is allowed, one line per problem.
    """
    return values_in(path, _parse(path, _read_text(path, pipe)))


def parsed_settings(path: Path, content: bytes) -> Parsed:
    """The content of a settings file as TOML. Raises `SettingsError` naming file and line."""
    return _parse(path, _decoded(path, content))


def values_in(path: Path, parsed: Parsed) -> list[FileValue]:
    """The values of a parsed settings file, in its order. Raises `SettingsError` as `read_values`."""
    values: list[FileValue] = []
    problems: list[str] = []
    lines = parsed.lines
    for place, value in _entries(parsed.document):
        line = next((lines[place[:length]] for length in range(len(place), 0, -1) if place[:length] in lines), None)
        try:
            key = _key(place, value)
            if any(earlier.key.key == key.key for earlier in values):  # by its short and by its full name
                raise SettingsError(f"{key.key}: is given twice")
            values.append(FileValue(key, value, line))
        except SettingsError as error:
            where = f"{_name(path)}, line {line}" if line else _name(path)
            problems.append(f"{where}: {error}")
    if problems:
        raise SettingsError("\n".join(problems))
    return values


def read_settings(path: Path | str) -> Settings:
    """The settings of one file, with defaults for missing ones.

    Raises `SettingsError` naming file, line, key, value and what is allowed.
    """
    plain: dict[str, dict[str, Any]] = {}
    for found in read_values(Path(path)):
        put(plain, found.key, found.value)
    return from_plain(plain)


def settings_digest(path: Path | str) -> str:
    """SHA-256 (hexadecimal) of the file's settings without epochs, which a resume may raise, and without comments.

    Raises `SettingsError` as `read_settings` does.
    """
    document = _parse(Path(path), _read_text(Path(path))).document
    training = document.get("training")
    if isinstance(training, dict):
        training.pop("epochs", None)
    return hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()


def settings_text(settings: Settings) -> str:
    """The settings as a TOML document for `read_settings`; unset ones are left out.

    Raises `SettingsError` if a value was changed to an invalid one.
    """
    import tomli_w

    checked = to_plain(from_plain(to_plain(settings)))
    given = {
        table: {name: value for name, value in values.items() if value is not None and value != {}}
        for table, values in checked.items()
        if values or table not in (*FREE_TABLES, SWEEP)
    }
    return tomli_w.dumps(given)


def write_settings(settings: Settings, path: Path | str) -> None:
    """Write the settings as TOML, readable by this user only; a kill leaves the old file or the new one.

    Raises `RunDirectoryError` if the file cannot be written.
    """
    target = Path(path)
    content = settings_text(settings).encode()
    temporary = target.with_name(f".{target.name}.{os.urandom(4).hex()}.tmp")
    try:
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            with suppress(OSError):  # the first error counts; a leftover is cleaned up as after a kill
                os.unlink(temporary)
            raise
        directory = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise RunDirectoryError(f"{_name(target)}: cannot be written: {error.strerror or error}") from None


def _read_text(path: Path, pipe: bool = False) -> str:
    try:
        with path.open("rb") if pipe else os.fdopen(open_file(path), "rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except FileNotFoundError:
        raise SettingsError(f"{_name(path)}: there is no such file; give the path of a TOML file") from None
    except IsADirectoryError:
        raise SettingsError(f"{_name(path)}: is a directory; give the path of a TOML file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SettingsError(f"{_name(path)}: cannot be read: {reason}") from None
    if len(content) > _LARGEST_FILE:
        raise SettingsError(f"{_name(path)}: is larger than 1 MiB; this is not a settings file")
    return _decoded(path, content)


def _decoded(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise SettingsError(f"{_name(path)}, line {line}: is not UTF-8 text; save the file as UTF-8") from None


def _parse(path: Path, text: str) -> Parsed:
    try:
        return Parsed(tomllib.loads(text), key_lines(text))
    except tomllib.TOMLDecodeError as error:
        found = _SYNTAX_PLACE.fullmatch(str(error))
        what = escaped(found["what"] if found else str(error))
        last_line = text.rstrip().count("\n") + 1
        where = f"line {found['line']}, column {found['column']}" if found and found["line"] else f"line {last_line}"
        raise SettingsError(f"{_name(path)}, {named(where)}: {what}; this is not TOML") from None
    except RecursionError:
        raise SettingsError(f"{_name(path)}: is nested too deeply") from None
    except ValueError as error:
        # An integer of more than 4,300 digits, or an invalid date.
        raise SettingsError(f"{_name(path)}: {escaped(str(error))}") from None


def _entries(document: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Path and value of every key in a known table, and of everything else at the top."""
    for table, values in document.items():
        if table == SWEEP and isinstance(values, dict):
            yield from _entries_by_setting((SWEEP,), values)
        elif table == SEARCH and isinstance(values, dict):
            for name, value in values.items():
                if name == SPACE and isinstance(value, dict):
                    yield from _entries_by_setting((SEARCH, SPACE), value)
                else:
                    yield (SEARCH, name), value
        elif (table in tables() or table in FREE_TABLES) and isinstance(values, dict):
            yield from (((table, name), value) for name, value in values.items())
        else:
            yield (table,), values


def _entries_by_setting(place: tuple[str, ...], values: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The entries of a table whose keys are names of settings, at `place`.

    A full name may be quoted, or dotted: then TOML makes a table of its first part.
    """
    for name, value in values.items():
        if (name in tables() or name in FREE_TABLES) and isinstance(value, dict):
            yield from (((*place, name, inner), values) for inner, values in value.items())
        else:
            yield (*place, name), value


def _key(place: tuple[str, ...], value: Any) -> Key | SweepKey | SpaceKey:
    """The key at `place`. Raises `SettingsError` for an unknown key and for an invalid value."""
    if place[0] == SWEEP and len(place) > 1:
        return _with_value(sweep_key(".".join(place[1:]), keys_by_name()), value)
    if place[:2] == (SEARCH, SPACE):
        if len(place) == 2:
            raise SettingsError(f"{SEARCH}.{SPACE} = {shown(value)}: must be a table")
        return _with_value(space_key(".".join(place[2:]), keys_by_name()), value)
    if any("." in part for part in place):
        quoted = ".".join(shown(part) if "." in part else escaped(part) for part in place)
        raise SettingsError(f"unknown key {quoted}; in quotes, a dot is part of the name")
    name = ".".join(place)
    if name == SITE:
        raise SettingsError(f"[{SITE}] is only for the site-wide settings.toml of an administrator; leave it out")
    if name in (*tables(), *FREE_TABLES, SWEEP):
        if isinstance(value, list):
            raise SettingsError(f"{named(name)}: must be one table; write [{named(name)}] once, in single brackets")
        raise SettingsError(f"{named(name)} = {shown(value)}: must be a table")
    key = key_named(name)
    if key is None:
        is_table = isinstance(value, dict) or (
            isinstance(value, list) and any(isinstance(item, dict) for item in value)
        )
        raise SettingsError(unknown(name, is_table=is_table and len(place) == 1))
    return _with_value(key, value)


_AnyKey = TypeVar("_AnyKey", Key, SweepKey, SpaceKey)


def _with_value(key: _AnyKey, value: Any) -> _AnyKey:
    wrong = key.problem(value)
    if wrong is not None:
        raise SettingsError(f"{key.key} = {shown(value)}: {wrong}")
    return key


def _name(path: Path) -> str:
    return escaped(str(path))
