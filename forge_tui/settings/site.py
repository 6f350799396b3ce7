"""The site-wide settings with the schema: their values, and the keys that they lock.

A locked key has the value of the file that locks it, or the default where that file gives none. The layers, the form
and Python's settings are held to it where they are given, for a message that names the place; the runner checks once
more whatever it is asked to start (`require_held`) or to continue (`hold_earlier`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forge_tui.errors import SettingsError
from forge_tui.safe_io.printing import named
from forge_tui.settings.devices import PER_MODEL
from forge_tui.settings.files import FileValue, Parsed, parsed_settings, values_in
from forge_tui.settings.keys import FREE_TABLES
from forge_tui.settings.problems import nearest_meaning, shown
from forge_tui.settings.replacement import replacement_of
from forge_tui.settings.schema import Settings, fields_of, from_plain, keys_by_name, tables, to_plain
from forge_tui.settings.site_file import LOCKED, TABLE, read_site_file, site_settings_files
from forge_tui.settings.space import SPACE
from forge_tui.settings.space import TABLE as SEARCH
from forge_tui.settings.sweep import TABLE as SWEEP

_SPACE = f"{SEARCH}.{SPACE}."
_VARIED = (f"{SWEEP}.", _SPACE)
"""How keys of several values begin."""
PYTHON_PATH = "run.python_path"
_OWN_LOOKS = "ui"
# Settings that say how much of the machine a run takes and when it ends, and play no part in what is trained: a run
# that was started before they were locked continues with the site's.
FOLLOWED_BY_RESUME = frozenset(
    (
        "training.max_parallel_workers",
        *("run.max_retries", "run.keep_checkpoints", "run.max_seconds", "run.hang_seconds", "run.stop_seconds"),
        *("run.log_bytes", "run.on_finish"),
        *("resources.policy", "resources.memory_per_worker_gb", "resources.max_cpu_utilization"),
        *("resources.high_cpu_threshold", "resources.min_available_memory_gb", "resources.memory_reserve"),
        *("resources.memory_pressure_threshold", "resources.max_suggested_workers"),
    )
)


@dataclass(frozen=True, slots=True)
class Lock:
    """A key, or all keys of a table, that users cannot change; `file` and `line` say where it is locked."""

    name: str
    file: Path
    line: int | None

    @property
    def place(self) -> str:
        """Where it is locked: `/etc/xdg/forge-tui/settings.toml, line 4`."""
        return _place(self.file, self.line)


@dataclass(frozen=True, slots=True)
class SiteLayer:
    """One site-wide file: its values, and the keys that it locks."""

    file: Path
    values: tuple[FileValue, ...]
    locks: tuple[Lock, ...]


@dataclass(frozen=True, slots=True)
class Site:
    """The site-wide settings. `layers`: one for each file, the least important first."""

    layers: tuple[SiteLayer, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    """The values that the files give, by full name."""

    @property
    def locks(self) -> tuple[Lock, ...]:
        """All locks, in the order of the files."""
        return tuple(lock for layer in self.layers for lock in layer.locks)

    def lock_of(self, name: str) -> Lock | None:
        """The lock that holds a key, by its full name; of a sweep (`sweep.training.epochs`) also that of what is swept.

        So of a search (`search.space.training.epochs`). None: users may set it.
        """
        names = {name, name.partition(".")[0]}
        varied = next((name.removeprefix(one) for one in _VARIED if name.startswith(one)), None)
        if varied is not None:
            names |= {varied, varied.partition(".")[0]}
        return next((lock for lock in self.locks if lock.name in names), None)

    def value_of(self, name: str) -> Any:
        """What the site makes of a key by its full name, plain: its own value, else the default."""
        if name in self.values:
            return self.values[name]
        key = keys_by_name().get(name)
        default = None if key is None else key.default
        return list(default) if isinstance(default, tuple) else default

    def refusal(self, name: str) -> str:
        """Why a locked key, by its full name, or its sweep, cannot have another value."""
        lock = self.lock_of(name)
        assert lock is not None
        table, _, swept = name.partition(".")
        if table == SWEEP:
            what = f"{swept} cannot be swept: " + ("sweeps are" if lock.name == SWEEP else "it is") + " locked"
        elif name.startswith(_SPACE):
            what = f"{name.removeprefix(_SPACE)} cannot be searched: "
            what += ("searches are" if lock.name == SEARCH else "it is") + " locked"
        elif table in FREE_TABLES and name not in self.values:
            what = f"{name} cannot be set: [{table}] is locked"
        else:
            what = f"{name} is locked to {shown(self.value_of(name))}"
        return f"{what} by {lock.place}, for all users; leave it out, or ask your administrator"

    def refusals(self, plain: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Lock]]:
        """The locked keys whose values, in plain settings, are not the site's. What plays no part does not count."""
        for name, value in _played(plain):
            lock = self.lock_of(name)
            if lock is not None and not same(value, self.value_of(name)):
                yield name, lock


NO_SITE = Site()


def read_site() -> Site:
    """The site-wide settings of this machine; empty where there are none.

    Raises `SettingsError` naming file and line: also for a key in `locked` that does not exist, and for a value of a
    key that a less important file locks.
    """
    site = Site()
    for path in site_settings_files():
        site = _with_file(site, path)
    return site


def hold(settings: Settings, site: Site | None = None) -> Settings:
    """The settings with every locked key as the site has it; a default counts as not given.

    Raises `SettingsError` naming each locked key that has another value, and the file that locks it.
    """
    site = read_site() if site is None else site
    if not site.locks:
        return settings
    plain, problems = to_plain(settings), []
    for name, _lock in list(site.refusals(plain)):
        table, _, key = name.partition(".")
        default = keys_by_name().get(name)
        if default is not None and same(plain[table][key], default.default):
            plain[table][key] = site.value_of(name)
        else:
            problems.append(f"{name} = {shown(_value_in(plain, name))}: {site.refusal(name)}")
    for name in site.values:  # arguments of custom code that the site gives have no default
        table, _, key = name.partition(".")
        if table in FREE_TABLES and key not in plain[table] and site.lock_of(name) is not None:
            plain[table][key] = site.values[name]
    if problems:
        raise SettingsError("\n".join(problems))
    return from_plain(plain)


def require_held(settings: Settings, site: Site | None = None) -> None:
    """Raise `SettingsError` unless every locked key has the site's value, in settings that `hold` has passed.

    Paths have been made absolute since.
    """
    site = read_site() if site is None else site
    plain = to_plain(settings)
    problems = []
    for name, _lock in site.refusals(plain):
        if not _same_as_recorded(name, _value_in(plain, name), site.value_of(name)):
            problems.append(f"{name} = {shown(_value_in(plain, name))}: {site.refusal(name)}")
    if problems:
        raise SettingsError("\n".join(problems))


def hold_earlier(settings: Settings, site: Site | None = None) -> tuple[Settings, tuple[str, ...]]:
    """The settings that a run continues with, and what the site has changed in them, in words.

    What a run takes of the machine follows the site. Raises `SettingsError` where a locked key decides what is trained,
    and the run was started with, or is to have, another value.
    """
    site = read_site() if site is None else site
    plain, problems, changes = to_plain(settings), [], []
    for name, lock in list(site.refusals(plain)):
        table, _, key = name.partition(".")
        value, held = _value_in(plain, name), site.value_of(name)
        if _same_as_recorded(name, value, held):
            continue
        if name in FOLLOWED_BY_RESUME:
            plain[table][key] = held
            changes.append(f"{name} is {shown(held)} from here on, not {shown(value)}: it is locked by {lock.place}")
        else:
            problems.append(f"{name} = {shown(value)}: {site.refusal(name)}")
    if problems:
        more = "a run that was started with another value cannot be continued while it is locked"
        raise SettingsError("\n".join([*problems, more]))
    return (from_plain(plain), tuple(changes)) if changes else (settings, ())


def same(value: Any, other: Any) -> bool:
    """Whether two values of a setting are equal; a list equals a tuple of the same items."""
    plain = [list(one) if isinstance(one, tuple) else one for one in (value, other)]
    return bool(plain[0] == plain[1])


def _value_in(plain: Mapping[str, Mapping[str, Any]], name: str) -> Any:
    """The value of a full name in plain settings."""
    if name.startswith(_SPACE):
        return plain[SEARCH][SPACE][name.removeprefix(_SPACE)]
    table, _, key = name.partition(".")
    return plain[table][key]


def _same_as_recorded(name: str, value: Any, held: Any) -> bool:
    """Whether a recorded value is the site's: a start makes paths absolute, and adds directories of code."""
    if name == PYTHON_PATH:
        return [os.path.abspath(Path(place).expanduser()) for place in held] == list(value)[: len(held)]
    if isinstance(value, str) and isinstance(held, str):
        return os.path.abspath(Path(held).expanduser()) == value
    return False


def _played(plain: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    """The settings that play a part, by full name, with their values; sweeps and searches too."""
    replaced = replacement_of(plain["training"]["train"], plain["run"]["command"])
    for key in fields_of():
        unused = key.key in PER_MODEL if replaced is None else replaced.is_unused(key.key)
        if not unused:
            yield key.key, plain[key.table][key.name]
    for table in FREE_TABLES:
        yield from ((f"{table}.{name}", value) for name, value in plain[table].items())
    yield from ((f"{SWEEP}.{name}", values) for name, values in plain[SWEEP].items())
    yield from ((f"{_SPACE}{name}", space) for name, space in plain[SEARCH][SPACE].items())


def _with_file(site: Site, path: Path) -> Site:
    parsed = parsed_settings(path, read_site_file(path))
    locks = tuple(_locks(path, parsed))
    values = values_in(
        path, Parsed({name: one for name, one in parsed.document.items() if name != TABLE}, parsed.lines)
    )
    problems = [
        f"{_place(path, one.line)}: {site.refusal(one.key.key)}"
        for one in values
        if site.lock_of(one.key.key) is not None and not same(one.value, site.value_of(one.key.key))
    ]
    if problems:
        raise SettingsError("\n".join(problems))
    given = {one.key.key: one.value for one in values}
    return Site((*site.layers, SiteLayer(path, tuple(values), locks)), {**site.values, **given})


def _place(file: Path, line: int | None) -> str:
    return named(file) if line is None else f"{named(file)}, line {line}"


def _locks(path: Path, parsed: Parsed) -> Iterator[Lock]:
    """The locks of a file. Raises `SettingsError` for a key that does not exist, and for one that cannot be locked."""
    if TABLE not in parsed.document:
        return
    table = parsed.document[TABLE]
    line = parsed.lines.get((TABLE, LOCKED), parsed.lines.get((TABLE,)))
    where = _place(path, line)
    if not isinstance(table, Mapping):
        raise SettingsError(f"{where}: {TABLE} = {shown(table)}: must be a table with the key {LOCKED}")
    for name in table:
        if name != LOCKED:
            raise SettingsError(f"{where}: unknown key {TABLE}.{named(name)}; this table has {LOCKED} only")
    listed = table.get(LOCKED, [])
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise SettingsError(
            f'{where}: {TABLE}.{LOCKED} = {shown(listed)}: must be a list of keys and tables, such as ["resources"]'
        )
    problems = [f"{where}: {TABLE}.{LOCKED}: {problem}" for name in listed if (problem := _problem_of(name))]
    if problems:
        raise SettingsError("\n".join(problems))
    yield from (Lock(name, path, line) for name in dict.fromkeys(listed))


def _problem_of(name: str) -> str | None:
    """What is wrong with a name in `locked`, or None."""
    table, _, key = name.partition(".")
    if table == _OWN_LOOKS:
        return f"{named(name)} cannot be locked: how the screen looks is up to who reads it; give a value only"
    if not key:
        if table in (*tables(), *FREE_TABLES, SWEEP):
            return None
    elif name in keys_by_name() or (table in FREE_TABLES and key.isidentifier() and key.isascii()):
        return None
    known = {one: one for one in (*tables(), *FREE_TABLES, SWEEP, *keys_by_name())}
    by_short = {one.name: one.key for one in reversed(fields_of())}
    meant = by_short.get(key or name) or nearest_meaning(name, known)
    hint = f"did you mean {meant}?" if meant else "`forge-tui config` lists all settings"
    return f"unknown key {named(name)}; {hint}"
