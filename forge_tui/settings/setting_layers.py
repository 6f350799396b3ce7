"""Merges the layers of a run's settings and records the source of every value.

Later layers override earlier ones: defaults, the site-wide settings.toml, the user's own, `--preset`, `--settings`,
environment, flags and `--set`. Every layer is checked by itself, so a wrong value is reported even if a later layer
overrides it; and so is another value of a key that the site locks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from forge_tui.errors import SettingsError
from forge_tui.safe_io.printing import escaped
from forge_tui.settings.command import with_own_numbers
from forge_tui.settings.devices import PER_MODEL, problems_in
from forge_tui.settings.files import read_values
from forge_tui.settings.keys import FREE_TABLES, Key
from forge_tui.settings.own_names import OWN, named_function
from forge_tui.settings.presets import preset_path
from forge_tui.settings.problems import nearest_meaning, shown
from forge_tui.settings.replacement import replacement_of
from forge_tui.settings.schema import (
    Settings,
    fields_of,
    from_plain,
    key_named,
    keys_by_name,
    to_plain,
    unknown,
)
from forge_tui.settings.search import METHOD, NONE, TRIALS, search_problem
from forge_tui.settings.site import NO_SITE, PYTHON_PATH, Site, read_site, same
from forge_tui.settings.space import SPACE, SpaceKey, put, space_key
from forge_tui.settings.space import TABLE as SEARCH
from forge_tui.settings.sweep import TABLE as SWEEP
from forge_tui.settings.sweep import SweepKey, sweep_key
from forge_tui.settings.user_file import STATE_VARIABLE, user_settings_file

VARIABLE_PREFIX = "FORGE_TUI_"
_SWEEP_PREFIX = f"{VARIABLE_PREFIX}{SWEEP}__".upper()
_MODELS = "run.models"
_SPACE_PREFIX = f"{VARIABLE_PREFIX}{SEARCH}__{SPACE}__".upper()
_AnyKey = Key | SweepKey | SpaceKey


class Layer(StrEnum):
    """Where a value may come from, lowest first."""

    DEFAULT = "default"
    SITE = "site"
    USER = "user"
    PRESET = "preset"
    FILE = "file"
    ENVIRONMENT = "environment"
    FLAG = "flag"


_PREFERRED = (Layer.SITE, Layer.USER)
"""Files with what is preferred for all runs: what plays no part in one of them is left out."""


@dataclass(frozen=True, slots=True)
class Source:
    """The source of a value: `name` is the preset, variable or flag, `file` and `line` the place in a file."""

    layer: Layer
    file: Path | None = None
    line: int | None = None
    name: str | None = None

    @property
    def text(self) -> str:
        """The source as text: `settings.toml, line 7`."""
        match self.layer:
            case Layer.DEFAULT:
                return "default"
            case Layer.PRESET:
                return f"preset {self.name}, line {self.line}"
            case Layer.SITE | Layer.USER | Layer.FILE:
                return f"{escaped(str(self.file))}, line {self.line}"
        return str(self.name)


@dataclass(frozen=True, slots=True)
class Resolved:
    """The settings of a run, the source of each value (by full name, such as `training.epochs`), and the site's."""

    settings: Settings
    sources: Mapping[str, Source]
    site: Site = NO_SITE


@dataclass(frozen=True, slots=True)
class _Value:
    key: _AnyKey
    value: Any
    source: Source


def resolve_settings(
    *,
    preset: str | None = None,
    settings_file: Path | str | None = None,
    environment: Mapping[str, str] = os.environ,
    flags: Mapping[str, Any] | None = None,
    assignments: Iterable[str] = (),
    sweeps: Iterable[str] = (),
    spaces: Iterable[str] = (),
    user_file: Path | str | None = None,
    use_user_file: bool = True,
    use_site: bool = True,
) -> Resolved:
    """Merge all layers. A settings file overrides a preset.

    `flags` are values by full name, as text or typed; `assignments` are texts `KEY=VALUE` (`--set`), `sweeps` texts
    `KEY=VALUE,VALUE` (`--sweep`), `spaces` texts `KEY=LOW..HIGH` or `KEY=VALUE,VALUE` (`--space`). The user's file is
    `user_file`, by default the one in the configuration directory, which may be missing. A single value for a setting
    overrides its sweep and its range in an earlier layer. `use_site=False`: without the site-wide settings, whose locks
    then have to be checked where the result is used.

    Raises `SettingsError` naming every invalid value and its source.
    """
    defaults = Settings()
    values = to_plain(defaults)
    sources: dict[str, Source] = {key.key: Source(Layer.DEFAULT) for key in fields_of()}
    site = read_site() if use_site else NO_SITE
    layers: list[list[_Value]] = [
        [_Value(one.key, one.value, Source(Layer.SITE, layer.file, one.line)) for one in layer.values]
        for layer in site.layers
    ]
    if use_user_file:
        layers.append(_user_layer(user_file))
    if preset is not None:
        layers.append(_file_layer(preset_path(preset), Layer.PRESET, preset))
    if settings_file is not None:
        layers.append(_file_layer(Path(settings_file), Layer.FILE))
    layers.append(_environment_layer(environment))
    layers.append(_flag_layer(flags or {}, list(assignments), list(sweeps), list(spaces)))
    for layer in (_without_locked(layer, site) for layer in layers):
        for given in layer:
            if isinstance(given.key, Key):
                values[SWEEP].pop(given.key.key, None)
                values[SEARCH][SPACE].pop(given.key.key, None)
                sources.pop(f"{SWEEP}.{given.key.key}", None)
                sources.pop(f"{SEARCH}.{SPACE}.{given.key.key}", None)
        for given in layer:
            put(values, given.key, given.value)
            sources[given.key.key] = given.source
    _settle_search(values, sources, site)
    _settle_replacement(values, sources)
    if site.lock_of(PYTHON_PATH) is None:
        _place_own_code(values, sources)
    settings = from_plain(values)
    problems = [f"{sources[name].text}: {words}" for name, words in problems_in(settings).items()]
    if (problem := search_problem(settings)) is not None:
        problems.append(problem)
    if problems:
        raise SettingsError("\n".join(problems))
    return Resolved(settings, sources, site)


def _without_locked(layer: list[_Value], site: Site) -> list[_Value]:
    """A layer without the values of locked keys, which are the site's. Raises `SettingsError` for another one."""
    if not site.locks:
        return layer
    problems = [
        f"{given.source.text}: {site.refusal(given.key.key)}"
        for given in layer
        if given.source.layer is not Layer.SITE
        and site.lock_of(given.key.key) is not None
        and not same(given.value, site.value_of(given.key.key))
    ]
    if problems:
        raise SettingsError("\n".join(problems))
    return [one for one in layer if one.source.layer is Layer.SITE or site.lock_of(one.key.key) is None]


def _settle_replacement(values: dict[str, dict[str, Any]], sources: dict[str, Source]) -> None:
    """Refuse what was given for this run and plays no part beside a training function or a command.

    The site's and the user's own file have what is preferred where it plays a part: elsewhere it is left out. A file
    may name values that are the defaults: settings.toml of a run has all of them.
    """
    command = values["run"]["command"]
    found = replacement_of(values["training"]["train"], command)
    if found is None:
        for name in PER_MODEL:
            if sources[name].layer in _PREFERRED:
                _leave_out(keys_by_name()[name], values, sources)
        return
    problems = []
    for key in found.unused_keys():
        source, is_default = sources[key.key], values[key.table][key.name] == _plain_default(key)
        if source.layer in _PREFERRED:
            _leave_out(key, values, sources)
        elif source.layer in (Layer.ENVIRONMENT, Layer.FLAG) or not is_default:
            problems.append(found.refusal(key, source.text))
    for swept in [one for one in values[SWEEP] if sources[f"{SWEEP}.{one}"].layer in _PREFERRED]:
        if found.swept_problems([swept]):
            del values[SWEEP][swept], sources[f"{SWEEP}.{swept}"]
    problems += found.swept_problems(values[SWEEP])
    problems += found.searched_problems(values[SEARCH][SPACE])
    if problems:
        raise SettingsError("\n".join(problems))
    if command:
        with_own_numbers(values, {name: source.layer is not Layer.DEFAULT for name, source in sources.items()})


def _settle_search(values: dict[str, dict[str, Any]], sources: dict[str, Source], site: Site) -> None:
    """With a search each config has one seed by default. Without one a preferred number of trials is left out."""
    if values[SEARCH][METHOD.partition(".")[2]] != NONE:
        if sources[_MODELS].layer is Layer.DEFAULT and site.lock_of(_MODELS) is None:
            values["run"]["models"] = 1
    elif sources[TRIALS].layer in _PREFERRED:
        _leave_out(keys_by_name()[TRIALS], values, sources)


def _leave_out(key: Key, values: dict[str, dict[str, Any]], sources: dict[str, Source]) -> None:
    values[key.table][key.name], sources[key.key] = _plain_default(key), Source(Layer.DEFAULT)


def _plain_default(key: Key) -> Any:
    return list(key.default) if isinstance(key.default, tuple) else key.default


def _place_own_code(values: dict[str, dict[str, Any]], sources: dict[str, Source]) -> None:
    """Custom code that a settings file names is searched beside that file, unless it gives a path."""
    if values["run"]["python_path"]:
        return
    names = [f"training.{name}" for name in OWN]
    named = [name for name in names if named_function(values["training"][name.partition(".")[2]]) is not None]
    named += [f"{SWEEP}.{name}" for name in names if any(map(named_function, values[SWEEP].get(name, ())))]
    files = (Layer.SITE, Layer.USER, Layer.FILE)
    by_file = {sources[name].file: sources[name] for name in named if sources[name].layer in files}
    if by_file:
        values["run"]["python_path"] = [str(file.absolute().parent) for file in by_file if file is not None]
        sources["run.python_path"] = next(iter(by_file.values()))


def _user_layer(user_file: Path | str | None) -> list[_Value]:
    if user_file is not None:
        return _file_layer(Path(user_file), Layer.USER)
    default = user_settings_file()
    try:
        default.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise SettingsError(f"{escaped(str(default))}: cannot be read: {error.strerror or error}") from None
    return _file_layer(default, Layer.USER)


def _file_layer(path: Path, layer: Layer, name: str | None = None) -> list[_Value]:
    return [_Value(one.key, one.value, Source(layer, path, one.line, name)) for one in read_values(path, pipe=True)]


def _environment_layer(environment: Mapping[str, str]) -> list[_Value]:
    by_variable = {key.variable: key for key in fields_of()}
    values: list[_Value] = []
    problems: list[str] = []
    named = (name for name in environment if name.startswith(VARIABLE_PREFIX) and name != STATE_VARIABLE)
    for variable in sorted(named):
        key: _AnyKey | None = by_variable.get(variable) or _free_variable(variable)
        if variable.startswith((_SWEEP_PREFIX, _SPACE_PREFIX)):
            is_sweep = variable.startswith(_SWEEP_PREFIX)
            name = variable.removeprefix(_SWEEP_PREFIX if is_sweep else _SPACE_PREFIX).lower()
            key = _varied_key(sweep_key if is_sweep else space_key, name, variable, problems)
            if key is None:
                continue
        if key is None:
            problems.append(f"unknown environment variable {escaped(variable)}; {_variable_near(variable)}")
            continue
        source = Source(Layer.ENVIRONMENT, name=variable)
        _check(key, environment[variable], source, f"{variable}={{}}", values, problems)
    return _unless(problems, values)


def _free_variable(variable: str) -> Key | None:
    """The key that `FORGE_TUI_MODEL__CHANNELS` sets: an argument of a custom function."""
    table, _, name = variable.removeprefix(VARIABLE_PREFIX).lower().partition("__")
    return key_named(f"{table}.{name}") if table in FREE_TABLES else None


def _variable_near(variable: str) -> str:
    """The hint for an unknown variable; compares without the common prefix."""
    ending = variable.removeprefix(VARIABLE_PREFIX).upper()
    by_name = {key.name.upper(): key.variable for key in fields_of()}
    by_ending = {key.variable.removeprefix(VARIABLE_PREFIX): key.variable for key in fields_of()}
    meant = by_name.get(ending) or nearest_meaning(ending, by_ending)
    return f"did you mean {meant}?" if meant else "`forge-tui config` lists all settings"


def _flag_layer(flags: Mapping[str, Any], assignments: list[str], sweeps: list[str], spaces: list[str]) -> list[_Value]:
    values: list[_Value] = []
    problems: list[str] = []
    varied = [*_varied(_SWEEPS, sweeps, problems), *_varied(_SPACES, spaces, problems)]
    for name, value in flags.items():
        key = key_named(name)
        if key is None:
            problems.append(unknown(name))
            continue
        _check(key, value, Source(Layer.FLAG, name=key.flag), f"{key.flag} {{}}", values, problems)
    assigned: dict[str, _Value] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = name.strip()
        if not equals or not name:
            problems.append(f"--set {escaped(assignment)}: write KEY=VALUE, such as --set training.epochs=5")
            continue
        several = next((one for one in (_SWEEPS, _SPACES) if name.startswith(one.prefix)), None)
        if several is not None:
            varied += _varied(several, [f"{name.removeprefix(several.prefix)}={text}"], problems)
            continue
        key = key_named(name)
        if key is None:
            problems.append(f"--set {escaped(assignment)}: {unknown(name)}")
            continue
        checked: list[_Value] = []
        _check(key, text, Source(Layer.FLAG, name="--set"), f"--set {key.key}={{}}", checked, problems)
        if checked:
            assigned[key.key] = checked[0]
    for by_flag in values:
        other = assigned.get(by_flag.key.key)
        if other is not None and other.value != by_flag.value:
            both = f"{by_flag.key.flag} {_typed(by_flag.value)} and --set {by_flag.key.key}={_typed(other.value)}"
            problems.append(f"{both} contradict each other; give one of them")
    once = {one.key.key for one in (*values, *assigned.values())}
    for number, given in enumerate(varied):
        name, flag = given.key.name, given.key.flag
        if name in once:
            verb = "swept" if isinstance(given.key, SweepKey) else "searched"
            problems.append(f"{name} is given one value and {verb} by {flag}; give one of them")
        if given.key.key in [earlier.key.key for earlier in varied[:number]]:
            problems.append(f"{flag}: {name} is given twice; give all its values at once")
    return _unless(problems, [*values, *assigned.values(), *varied])


@dataclass(frozen=True, slots=True)
class _Several:
    """A flag that gives several values of a setting; `prefix`: how assignments to its table begin."""

    flag: str
    prefix: str
    example: str
    key: Callable[[str, Mapping[str, Key]], SweepKey | SpaceKey]


_SWEEPS = _Several(
    "--sweep", f"{SWEEP}.", "KEY=VALUE,VALUE, such as --sweep learning_rate=0.001,0.003", sweep_key
)  # fmt: skip
_SPACES = _Several(
    "--space",
    f"{SEARCH}.{SPACE}.",
    "KEY=LOW..HIGH or KEY=VALUE,VALUE, such as --space learning_rate=1e-5..1e-1:log",
    space_key,
)


def _varied(several: _Several, texts: list[str], problems: list[str]) -> list[_Value]:
    """The values of `--sweep` or `--space`; adds to `problems` what is wrong with them."""
    values: list[_Value] = []
    for text in texts:
        name, equals, listed = text.partition("=")
        if not equals or not name.strip():
            problems.append(f"{several.flag} {escaped(text)}: write {several.example}")
            continue
        key = _varied_key(several.key, name.strip(), f"{several.flag} {escaped(text)}", problems)
        if key is not None:
            place = f"{several.flag} {name.strip()}={{}}"
            _check(key, listed, Source(Layer.FLAG, name=several.flag), place, values, problems)
    return values


def _varied_key(
    find: Callable[[str, Mapping[str, Key]], SweepKey | SpaceKey], name: str, place: str, problems: list[str]
) -> SweepKey | SpaceKey | None:
    try:
        return find(name, keys_by_name())
    except SettingsError as error:
        problems.append(f"{place}: {error}")
        return None


def _check(key: _AnyKey, given: Any, source: Source, place: str, values: list[_Value], problems: list[str]) -> None:
    """Parse and check one value; `place` describes where it was given, with `{}` for the value."""
    value = key.parse(given) if isinstance(given, str) else given
    wrong = key.problem(value)
    if wrong is None:
        values.append(_Value(key, value, source))
    else:
        problems.append(f"{place.format(_typed(given))}: {wrong}")


def _typed(value: Any) -> str:
    """A value as typed in a shell: text without quotes."""
    return shown(value)[1:-1] if isinstance(value, str) and len(value) < 60 else shown(value)


def _unless(problems: list[str], values: list[_Value]) -> list[_Value]:
    if problems:
        raise SettingsError("\n".join(problems))
    return values
