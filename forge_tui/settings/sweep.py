"""`[sweep]`: lists of values by key. One config for each combination of them, `run.models` seeds of each config.

Models are numbered config by config: first all seeds of the first combination. The last key's value changes fastest,
with keys in the order in which they were given.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forge_tui.errors import SettingsError
from forge_tui.safe_io.printing import escaped, named
from forge_tui.settings.keys import Key, free_key, toml_value
from forge_tui.settings.problems import nearest_meaning, shown

TABLE = "sweep"
MOST_MODELS = 100_000

Combination = Mapping[str, Any]
"""One value of each swept setting, by its full name."""

_SEARCH = "search"
_SWEPT_TABLES = ("training", "data")
_OF_THE_RUN = {
    "training.epochs": "all models of a run have as many epochs",
    "training.select_by": "one metric ranks all models of a run",
    "training.metric_goal": "one goal ranks all models of a run",
    "training.training_mode": "it applies to the whole run",
    "training.max_parallel_workers": "it applies to the whole run",
    "training.train": "a run has one training function",
}
# Settings in which models that are trained together, as one batch of models, may differ.
_EACH_ITS_OWN = frozenset({"training.learning_rate", "training.weight_decay"})


@dataclass(frozen=True, slots=True)
class SweepKey:
    """A key of `[sweep]`: the setting whose values it lists. Used like `Key` in files, flags and variables."""

    swept: Key

    @property
    def table(self) -> str:
        """Its table in a settings file."""
        return TABLE

    @property
    def name(self) -> str:
        """The full name of the setting."""
        return self.swept.key

    @property
    def key(self) -> str:
        """Its full name, such as `sweep.training.learning_rate`."""
        return f"{TABLE}.{self.swept.key}"

    @property
    def flag(self) -> str:
        """The flag that gives it."""
        return "--sweep"

    def problem(self, values: Any) -> str | None:
        """What is wrong with a list of values, or None."""
        if not isinstance(values, list | tuple) or not values:
            return "must be a list of at least one value, such as [0.001, 0.003]"
        for place, value in enumerate(values):
            wrong = self.swept.problem(value)
            if wrong is not None:
                return f"{shown(value)} {wrong}"
            if value in values[:place]:
                return f"{shown(value)} is given twice"
        return None

    def parse(self, text: str) -> Any:
        """The values of a text in a flag or a variable: `0.001,0.003`, or a TOML list."""
        stripped = text.strip()
        if stripped.startswith("["):
            return toml_value(stripped)
        return [self.swept.parse(part.strip()) for part in text.split(",")]


def values_text(values: Sequence[Any]) -> str:
    """The text for `SweepKey.parse`: values separated by commas if possible, else a TOML list."""
    plain = all(not isinstance(value, list | tuple) and not set(str(value)) & set(",[") for value in values)
    return ",".join(_value(value) for value in values) if plain else f"[{','.join(map(shown, values))}]"


def sweep_key(name: str, keys: Mapping[str, Key]) -> SweepKey:
    """The key of `[sweep]` for a setting's full name, or its short name if only one table has it.

    Raises `SettingsError` for an unknown name, and for a setting that applies to the whole run.
    """
    return SweepKey(setting_to_vary(name, keys, TABLE, "swept"))


def setting_to_vary(name: str, keys: Mapping[str, Key], table: str, verb: str) -> Key:
    """The setting of a key of `table`, in which models of a run may differ. `verb`: what is done with its values.

    Raises `SettingsError` as `sweep_key`.
    """
    own = free_key(name)
    if own is not None:
        return own
    varied = {full: key for full, key in keys.items() if key.table in _SWEPT_TABLES}
    found = [key for key in varied.values() if name in (key.key, key.name)]
    if len(found) > 1:
        raise SettingsError(f"{named(name)} may be {' or '.join(key.key for key in found)}; give the full name")
    if found:
        if found[0].key in _OF_THE_RUN:
            raise SettingsError(f"{found[0].key} cannot be {verb}: {_OF_THE_RUN[found[0].key]}")
        return found[0]
    if name in keys:
        raise SettingsError(f"{named(name)} cannot be {verb}: settings of [training], [data] and [model] can")
    offered = [key for key in varied.values() if key.key not in _OF_THE_RUN]
    meant = nearest_meaning(name, {either: key.key for key in offered for either in (key.name, key.key)})
    hint = f"; did you mean {meant}?" if meant else "; name a setting of [training] or [data]"
    raise SettingsError(f"unknown key {table}.{escaped(name)}{hint}")


def checked_sweep(given: Any, keys: Mapping[str, Key], problems: list[str]) -> dict[str, tuple[Any, ...]]:
    """The lists of a `[sweep]` table by full names; adds to `problems` what is invalid."""
    found: dict[str, tuple[Any, ...]] = {}
    if not isinstance(given, Mapping):
        problems.append(f"{TABLE} = {shown(given)}: must be a table")
        return found
    for name, values in given.items():
        try:
            key = sweep_key(str(name), keys)
        except SettingsError as error:
            problems.append(str(error))
            continue
        wrong = "is given twice" if key.name in found else key.problem(values)
        if wrong is not None:
            problems.append(f"{key.key} = {shown(values)}: {wrong}")
        else:
            found[key.name] = tuple(values)
    return found


def too_many(sweep: Mapping[str, Sequence[Any]], seeds: int) -> str | None:
    """What is wrong with the number of models, or None; `seeds` per config."""
    total = combination_count(sweep) * seeds
    if total <= MOST_MODELS:
        return None
    lists = " × ".join(f"{len(values)} of {name}" for name, values in sweep.items())
    return f"{TABLE}: {lists} × {seeds} models of each (run.models) are {total:,}; at most {MOST_MODELS:,}"


# --- the models they make


def combination_count(sweep: Mapping[str, Sequence[Any]]) -> int:
    """The number of configs; one without a sweep."""
    return math.prod(len(values) for values in sweep.values())


def combination_at(sweep: Mapping[str, Sequence[Any]], number: int) -> dict[str, Any]:
    """The combination of config `number` (from 0)."""
    found: dict[str, Any] = {}
    for name, values in reversed(list(sweep.items())):
        number, place = divmod(number, len(values))
        found[name] = values[place]
    return {name: found[name] for name in sweep}


def with_combination(plain: Mapping[str, Mapping[str, Any]], combination: Combination) -> dict[str, dict[str, Any]]:
    """A model's settings as nested plain dicts: those of its run with its own values, without a sweep or a search."""
    own = {table: dict(values) for table, values in plain.items()}
    own[TABLE] = {}
    if _SEARCH in own:
        own[_SEARCH] = {}
    for name, value in combination.items():
        table, _, key = name.partition(".")
        own[table][key] = list(value) if isinstance(value, tuple) else value
    return own


def within_a_kind(sweep: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """The part of a sweep in which models that may be trained together differ."""
    return {name: values for name, values in sweep.items() if name in _EACH_ITS_OWN}


def likeness(combination: Combination) -> Hashable:
    """A key that is equal for configs whose models may be trained together, as one batch of models."""
    return tuple((name, repr(value)) for name, value in combination.items() if name not in _EACH_ITS_OWN)


def short_names(combination: Combination) -> dict[str, Any]:
    """The values by the settings' short names, for people to read: `learning_rate`, without its table."""
    return {name.rpartition(".")[2]: value for name, value in combination.items()}


def combination_in_words(combination: Combination) -> str:
    """A combination as text: `learning_rate 0.003, batch_size 64`."""
    return ", ".join(f"{name} {_value(value)}" for name, value in short_names(combination).items())


def _value(value: Any) -> str:
    return value if isinstance(value, str) else shown(value)
