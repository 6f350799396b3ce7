"""The form of a run's settings, made from their schema: values, where they came from, and what is wrong with them.

Importing this costs the schema's 90 ms: the screen does so after its first paint, in a thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from forge_tui.errors import SettingsError
from forge_tui.resources.hardware import SystemResources
from forge_tui.resources.policy import WorkerLimit
from forge_tui.safe_io.printing import named
from forge_tui.settings.files import FileValue
from forge_tui.settings.keys import FREE_TABLES, Key
from forge_tui.settings.problems import shown
from forge_tui.settings.schema import Settings, fields_of, from_plain, keys_by_name, tables, to_plain
from forge_tui.settings.setting_layers import Layer, Source
from forge_tui.settings.sweep import TABLE as SWEEP
from forge_tui.settings.sweep import SweepKey, sweep_key, too_many, values_text
from forge_tui.tui.advice import NAMES, limit_of
from forge_tui.tui.form.dataset_file import DatasetFile
from forge_tui.tui.form.fields import (
    DATASET,
    MODE,
    MODELS,
    OUTPUT,
    TARGET,
    WORKERS,
    is_choice,
    run_keys,
    same,
    sections,
    stepped,
    takes_own_code,
    title_of,
)
from forge_tui.tui.form.unused import why_unused


@dataclass(frozen=True, slots=True)
class Changed:
    """The source of a value that was set in the form: now, or when it was last open."""

    last_time: bool = False

    @property
    def text(self) -> str:
        """The source in words."""
        return "as last time" if self.last_time else "set here"


@dataclass(frozen=True, slots=True)
class Form:
    """All settings of a run while they are edited. A value may be wrong: then it is what was typed.

    A sweep (`settings.sweep`) has its lists beside the settings, as `sweep.training.learning_rate`; whoever gives the
    setting one value ends it. `base` is what a command line without flags would have here: defaults, the user's
    file, the environment. `dataset` is what was found under the dataset's name; None until that is known. Methods that
    change something return a new form.
    """

    values: Mapping[str, Any]
    sources: Mapping[str, Source | Changed]
    base: Mapping[str, Any]
    dataset: DatasetFile | None = None

    def typed(self, name: str) -> str:
        """The value as text to edit; `edit` reads it back."""
        match self.values[name]:
            case None:
                return ""
            case str() as text:
                return text
            case list() | tuple() as items:
                return ", ".join(shown(item) for item in items)
            case value:
                return shown(value)

    def edit(self, name: str, text: str) -> Form:
        """The form with a value as typed; an empty text unsets what has no default."""
        key = keys_by_name()[name]
        stripped = text.strip()
        if not stripped and key.default is None:
            return self.put(name, None)
        plain_text = key.type_words == "text"
        return self.put(name, text if plain_text else key.parse(stripped))

    def put(self, name: str, value: Any) -> Form:
        """The form with another value."""
        if value == self.values[name] and type(value) is type(self.values[name]) and self.swept(name) is None:
            return self
        return self.with_values({name: value}, {name: Changed()})

    def swept(self, name: str) -> Any:
        """The list of values of a setting that is swept, or what was typed for one; None for one that has one value."""
        return self.values.get(f"{SWEEP}.{name}")

    def sweep(self) -> dict[str, Sequence[Any]]:
        """The settings that are swept, with their values; without those that were typed and have none."""
        return {name: values for name, values in self.plain()[SWEEP].items() if values and not isinstance(values, str)}

    def typed_values(self, name: str) -> str:
        """The values of a setting, several or one, as text to edit; `edit_values` reads it back."""
        values, one = self.swept(name), self.values[name]
        if values is None:
            values = [] if one is None else [one]
        return values if isinstance(values, str) else values_text(values)

    def edit_values(self, name: str, text: str) -> Form:
        """The form with several values of a setting, as typed; one is given as `edit` gives it, and ends the sweep.

        Raises `SettingsError` for a setting that cannot be swept.
        """
        key = sweep_key(name, keys_by_name())
        stripped = text.strip().removesuffix(",")
        if not stripped:
            return self.edit(name, "")
        values = key.parse(stripped)
        if isinstance(values, list) and len(values) == 1:
            return self.put(name, values[0])
        return self.with_values({key.key: values}, {key.key: Changed()})

    def reset(self, name: str) -> Form:
        """The form with the setting's default in its place."""
        default = keys_by_name()[name].default
        value = list(default) if isinstance(default, tuple) else default
        return self.with_values({name: value}, {name: Source(Layer.DEFAULT)})

    def reset_all(self) -> Form:
        """The form with every setting's default: nothing of files, variables, flags, sweeps or the last form."""
        sources = {key.key: Source(Layer.DEFAULT) for key in fields_of()}
        return replace(self, values=flat(Settings()), sources=sources)

    @property
    def from_last_time(self) -> int:
        """How many values are those of the form that was open last."""
        return sum(isinstance(source, Changed) and source.last_time for source in self.sources.values())

    def step(self, name: str, by: int) -> Form:
        """The form with the next (1) or previous (-1) word, or a larger or smaller number; the same at an end."""
        key, value = keys_by_name()[name], self.values[name]
        if key.is_switch:
            return self.put(name, not value)
        if is_choice(key) or takes_own_code(key):
            words = key.words
            place = words.index(value) + by if value in words else 0
            return self.put(name, words[place % len(words)])
        if isinstance(value, bool) or not isinstance(value, int | float) or key.problem(value) is not None:
            return self
        following = stepped(name, value, by)
        return self if key.problem(following) is not None else self.put(name, following)

    def overlay(self, values: Iterable[FileValue], source: Source) -> Form:
        """The form with the values of a preset or a settings file; what the file leaves out stays."""
        found = list(values)
        return self.with_values(
            {one.key.key: one.value for one in found},
            {one.key.key: replace(source, line=one.line) for one in found},
        )

    def with_dataset(self, found: DatasetFile) -> Form:
        """The form with what was found under a dataset's name."""
        return replace(self, dataset=found)

    @property
    def dataset_found(self) -> DatasetFile | None:
        """What is known of the dataset that is set now; None while it has not been looked at."""
        return self.dataset if self.dataset is not None and self.dataset.name == self.values[DATASET] else None

    def errors(self) -> dict[str, str]:
        """What is wrong, in words, by full name; in the form's order."""
        problems: dict[str, str] = {}
        for section in sections():
            for key in section.keys:
                problem = key.problem(self.values[key.key]) or self._data_problem(key.key) or self._sweep_problem(key)
                if problem is not None:
                    problems[key.key] = problem
        return problems

    def settings(self) -> Settings:
        """The settings for a run. Raises `SettingsError` naming every value that may not stand."""
        errors = self.errors()
        if errors:
            raise SettingsError("\n".join(f"{title_of(name)}: {problem}" for name, problem in errors.items()))
        return from_plain(self.plain())

    def plain(self) -> dict[str, dict[str, Any]]:
        """The values as nested dicts, as `settings.schema.to_plain` gives them."""
        nested: dict[str, dict[str, Any]] = {table: {} for table in (*tables(), *FREE_TABLES, SWEEP)}
        for name, value in self.values.items():
            table, _, key = name.partition(".")
            nested[table][key] = value
        return nested

    def changed(self) -> tuple[Key, ...]:
        """The settings that differ from their defaults."""
        return tuple(key for key in run_keys() if self.swept(key.key) or not same(self.values[key.key], key.default))

    def set_here(self) -> dict[str, Any]:
        """The values that were set in the form and may stand: what it is filled with the next time.

        A sweep is for one run: nobody is to train many times the models without having asked for it.
        """
        return {
            name: self.values[name]
            for name, source in self.sources.items()
            if isinstance(source, Changed)
            and not name.startswith(f"{SWEEP}.")
            and form_key(name).problem(self.values[name]) is None
        }

    def for_a_new_run(self) -> Form:
        """The form for another run with these settings: in a directory of its own."""
        return self if self.values[OUTPUT] is None else self.with_values({OUTPUT: None}, {OUTPUT: Changed()})

    def verdict(self, resources: SystemResources) -> WorkerLimit | None:
        """What the resource rules make of the chosen workers; None while their number may not stand."""
        if keys_by_name()[WORKERS].problem(self.values[WORKERS]) is not None:
            return None
        return limit_of(self.resources(), resources, self.values[WORKERS], self.values[MODE])

    def resources(self) -> dict[str, Any]:
        """What the form says of the resource rules, by the names of `advice.NAMES`, without what may not stand."""
        by_name = keys_by_name()
        given = {name: self.values[f"resources.{name}"] for name in NAMES}
        return {name: value for name, value in given.items() if by_name[f"resources.{name}"].problem(value) is None}

    def unused(self, name: str) -> str | None:
        """Why a setting plays no part now, in words; None if it does."""

        def values(other: str) -> Sequence[Any]:
            swept = self.swept(other)
            return swept if swept and not isinstance(swept, str) else [self.values[other]]

        return why_unused(name, values)

    def _sweep_problem(self, key: Key) -> str | None:
        values = self.swept(key.key)
        if values is not None:
            return SweepKey(key).problem(values)
        seeds = self.values[MODELS]
        if key.key != MODELS or not isinstance(seeds, int):
            return None
        return too_many(self.sweep(), seeds)

    def _data_problem(self, name: str) -> str | None:
        found = self.dataset_found
        if found is None:
            return None
        if name == DATASET:
            return found.problem
        return found.target_problem(self.values[TARGET]) if name == TARGET else None

    def with_values(self, values: Mapping[str, Any], sources: Mapping[str, Source | Changed]) -> Form:
        """The form with other values, and where they came from."""
        ended = {f"{SWEEP}.{name}" for name in values} - values.keys()
        return replace(
            self,
            values={name: value for name, value in {**self.values, **values}.items() if name not in ended},
            sources={name: source for name, source in {**self.sources, **sources}.items() if name not in ended},
        )


def form_key(name: str) -> Key | SweepKey:
    """What may stand under a name of `Form.values`. Raises `SettingsError` if there is no such name."""
    by_name = keys_by_name()
    table, _, swept = name.partition(".")
    if table == SWEEP:
        return sweep_key(swept, by_name)
    if name not in by_name:
        raise SettingsError(f"unknown key {named(name)}")
    return by_name[name]


def form_of(settings: Settings, sources: Mapping[str, Source | Changed], base: Settings | None = None) -> Form:
    """The form that shows `settings`."""
    return Form(flat(settings), sources, MappingProxyType(flat(base or Settings())))


def flat(settings: Settings) -> dict[str, Any]:
    """The values of settings by full name."""
    return {f"{table}.{name}": value for table, values in to_plain(settings).items() for name, value in values.items()}
