"""The form of a run's settings, made from their schema: values, sources and errors.

Importing this takes 90 ms for the schema: the screen does it in a thread, after its first paint.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from forge_tui.errors import SettingsError
from forge_tui.resources.hardware import SystemResources
from forge_tui.resources.policy import WorkerLimit
from forge_tui.safe_io.printing import named
from forge_tui.settings.command import COMMAND, WORDS, command_line, placeholders, with_own_numbers, words_of
from forge_tui.settings.devices import DEVICE
from forge_tui.settings.files import FileValue
from forge_tui.settings.keys import FREE_TABLES, Key, free_key
from forge_tui.settings.problems import shown
from forge_tui.settings.schema import (
    Settings,
    by_full_name,
    fields_of,
    from_plain,
    key_named,
    keys_by_name,
    tables,
    to_plain,
)
from forge_tui.settings.search import METHOD, NONE
from forge_tui.settings.setting_layers import Layer, Source
from forge_tui.settings.site import Site
from forge_tui.settings.space import SPACE, SpaceKey, is_range, space_key
from forge_tui.settings.space import TABLE as SEARCH
from forge_tui.settings.sweep import TABLE as SWEEP
from forge_tui.settings.sweep import SweepKey, sweep_key, values_text
from forge_tui.tables.endings import TABLES, is_table
from forge_tui.tui.advice import NAMES, Rules
from forge_tui.tui.form.dataset_file import DatasetFile
from forge_tui.tui.form.fields import (
    DATASET,
    EPOCHS,
    MODE,
    MODELS,
    OUTPUT,
    WORKERS,
    Section,
    is_choice,
    run_keys,
    same,
    sections,
    stepped,
    takes_more_than_words,
    title_of,
)
from forge_tui.tui.form.form_errors import errors_of
from forge_tui.tui.form.kinds import Kind, hides, kind_after
from forge_tui.tui.form.unused import why_unused


@dataclass(frozen=True, slots=True)
class Changed:
    """The source of a value that was set in the form: now, or in an earlier session."""

    last_time: bool = False

    @property
    def text(self) -> str:
        """The source in words."""
        return "as last time" if self.last_time else "set here"


@dataclass(frozen=True, slots=True)
class Form:
    """All settings of a run while they are edited. An invalid value is kept as typed.

    A sweep or a search (`settings.sweep`, `settings.search`) has its lists and ranges beside the settings, as
    `sweep.training.learning_rate`; setting a single value removes it, and `search.method` decides between the two.
    `base` has the values of a command line without flags: defaults, the user's file, the
    environment. `kind` is what is trained: settings that play no part for it are hidden, and are left out of a run;
    they are kept for another kind. `parameters` are those of the training function, with their defaults as they are
    written there (None: it has none); their values are settings as `model.lr`. `dataset` is the checked dataset; None
    until it is known. `site` are the site-wide settings: keys that they lock keep their values, and `refused` names
    those that changes were to give another one; whoever shows the reason empties it. Methods that change something
    return a new form.
    """

    values: Mapping[str, Any]
    sources: Mapping[str, Source | Changed]
    base: Mapping[str, Any]
    kind: Kind = Kind.BUILT_IN
    parameters: Mapping[str, str | None] = field(default_factory=dict)
    dataset: DatasetFile | None = None
    site: Site = field(default_factory=Site)
    refused: tuple[str, ...] = ()

    def holds(self, name: str) -> bool:
        """Whether the site-wide settings lock a setting, or its sweep."""
        return self.site.lock_of(name) is not None

    def held(self) -> Form:
        """The form with every locked setting as the site has it."""
        names = [key.key for key in fields_of() if self.holds(key.key)]
        names += [name for name in self.site.values if self.holds(name) and name not in names]
        values = {_slot_of(name): self.site.value_of(name) for name in names}
        sources: dict[str, Source | Changed] = {
            _slot_of(name): Source(Layer.SITE, lock.file, lock.line)
            for name in names
            if (lock := self.site.lock_of(name)) is not None
        }
        return replace(
            self,
            values={**{name: value for name, value in self.values.items() if not self.holds(name)}, **values},
            sources={**{name: source for name, source in self.sources.items() if not self.holds(name)}, **sources},
        )

    def typed(self, name: str) -> str:
        """The value as text for editing, for `edit`."""
        match self.values.get(name):
            case None:
                return ""
            case list() | tuple() as words if name == COMMAND:
                return command_line(words)
            case list() | tuple() as gpus if name == DEVICE and key_of(name).problem(gpus) is None:
                return ", ".join(map(str, gpus))
            case str() as text:
                return text
            case list() | tuple() as items:
                return ", ".join(shown(item) for item in items)
            case value:
                return shown(value)

    def edit(self, name: str, text: str) -> Form:
        """The form with a typed value; an empty text unsets a value without a default."""
        key = key_of(name)
        stripped = text.strip()
        if not stripped and key.is_free:
            return self.reset(name)
        if not stripped and key.default is None:
            return self.put(name, None)
        if name == COMMAND:
            return self.put(name, words_of(text))
        plain_text = key.type_words == "text"
        return self.put(name, text if plain_text else key.parse(stripped))

    def put(self, name: str, value: Any) -> Form:
        """The form with another value."""
        if value == self.values.get(name) and type(value) is type(self.values[name]) and self.swept(name) is None:
            return self
        return self.with_values({name: value}, {name: Changed()})

    def swept(self, name: str) -> Any:
        """The list of values of a swept or searched setting, or the typed text; None for one with a single value."""
        return self.values.get(f"{SWEEP}.{name}")

    def sweep(self) -> dict[str, Sequence[Any]]:
        """The swept settings with their values; without typed ones that are invalid."""
        return {name: values for name, values in self.plain()[SWEEP].items() if values and not isinstance(values, str)}

    @property
    def searches(self) -> bool:
        """Whether settings with several values are searched, not swept."""
        return bool(self.values.get(METHOD, NONE) != NONE)

    def space(self) -> dict[str, Any]:
        """The searched settings with their ranges and lists."""
        return dict(self.plain()[SEARCH][SPACE])

    def typed_values(self, name: str) -> str:
        """The values of a setting, several or one, as text for `edit_values`."""
        values, one = self.swept(name), self.values.get(name)
        if values is None:
            values = [] if one is None else [one]
        return values if isinstance(values, str) else values_text(values)

    def edit_values(self, name: str, text: str) -> Form:
        """The form with several typed values of a setting, or a range; a single one is set as in `edit`.

        Raises `SettingsError` for a setting that cannot be swept or searched.
        """
        stripped = text.strip().removesuffix(",")
        if not stripped:
            return self.edit(name, "")
        key = self.varied_key(name)
        # A range stays one without a search too: the error then says what is missing.
        values = stripped if is_range(stripped) or stripped.endswith("..") else key.parse(stripped)
        if isinstance(values, list) and len(values) == 1:
            return self.put(name, values[0])
        slot = f"{SWEEP}.{name}"
        return self.with_values({slot: values}, {slot: Changed()})

    def varied_key(self, name: str) -> SweepKey | SpaceKey:
        """The key of a setting's several values, or of its range. Raises `SettingsError` if it has none."""
        return (space_key if self.searches else sweep_key)(name, keys_by_name())

    def reset(self, name: str) -> Form:
        """The form with the setting's default; without an argument of custom code."""
        key = key_of(name)
        if key.is_free and self.holds(name):
            return replace(self, refused=(*self.refused, name))
        if key.is_free:
            gone = {name, f"{SWEEP}.{name}"}
            return replace(
                self,
                values={one: value for one, value in self.values.items() if one not in gone},
                sources={one: source for one, source in self.sources.items() if one not in gone},
            )
        default = key.default
        value = list(default) if isinstance(default, tuple) else default
        return self.with_values({name: value}, {name: Source(Layer.DEFAULT)})

    def reset_all(self) -> Form:
        """The form with every setting's default, without files, variables, flags, sweeps or the last form."""
        sources = {key.key: Source(Layer.DEFAULT) for key in fields_of()}
        return replace(self, values=flat(Settings()), sources=sources, kind=Kind.BUILT_IN).held()

    def train(self, kind: Kind) -> Form:
        """The form for runs of another kind. A command has numbers of models and epochs of its own by default."""
        keys = {name: keys_by_name()[name] for name in (MODELS, EPOCHS)}
        plain = {key.table: {key.name: key.default} for key in keys.values()}
        given = {name: not self.is_default(name) for name in keys}
        command = self.values.get(COMMAND)
        if kind is Kind.COMMAND and isinstance(command, list | tuple):
            plain["run"]["command"] = command
            with_own_numbers(plain, given)
        free = [name for name in keys if not given[name] and not self.holds(name)]
        own = {name: plain[keys[name].table][keys[name].name] for name in free}
        return replace(self, kind=kind, values={**self.values, **own})

    def step_kind(self, by: int) -> Form:
        """The form for runs of the next (1) or previous (-1) kind."""
        kinds = list(Kind)
        return self.train(kinds[(kinds.index(self.kind) + by) % len(kinds)])

    def hides(self, name: str) -> bool:
        """Whether a setting, or its sweep, plays no part for what is trained."""
        return hides(self.kind, name.removeprefix(f"{SWEEP}."))

    @property
    def from_last_time(self) -> int:
        """How many values are from the last form."""
        return sum(isinstance(source, Changed) and source.last_time for source in self.sources.values())

    def step(self, name: str, by: int) -> Form:
        """The form with the next (1) or previous (-1) word, or a larger or smaller number; unchanged at an end."""
        key, value = key_of(name), self.values.get(name)
        if key.is_switch:
            return self.put(name, not value)
        if is_choice(key) or takes_more_than_words(key):
            words = key.words
            place = words.index(value) + by if value in words else 0
            return self.put(name, words[place % len(words)])
        if isinstance(value, bool) or not isinstance(value, int | float) or key.problem(value) is not None:
            return self
        following = stepped(name, value, by)
        return self if key.problem(following) is not None else self.put(name, following)

    def overlay(self, values: Iterable[FileValue], source: Source) -> Form:
        """The form with the values of a preset or a settings file; other values stay."""
        found = {_slot(one.key): one for one in values}
        return self.with_values(
            {name: one.value for name, one in found.items()},
            {name: replace(source, line=one.line) for name, one in found.items()},
        )

    def arguments(self) -> Mapping[str, str | None]:
        """The arguments that the training function or the command takes, with their defaults (None: it has none)."""
        if self.kind is Kind.COMMAND:
            command = self.values[COMMAND]
            words = () if isinstance(command, str) else placeholders(command)
            return {word: None for word in words if word not in WORDS}
        return self.parameters if self.kind is Kind.FUNCTION else {}

    def with_parameters(self, found: Mapping[str, str | None]) -> Form:
        """The form with the parameters of its training function."""
        return replace(self, parameters=found)

    def with_dataset(self, found: DatasetFile) -> Form:
        """The form with a checked dataset."""
        return replace(self, dataset=found)

    @property
    def dataset_found(self) -> DatasetFile | None:
        """The checked dataset, if it is the one that is set now, else None."""
        return self.dataset if self.dataset is not None and self.dataset.name == self.values[DATASET] else None

    @property
    def has_columns(self) -> bool:
        """Whether the dataset is a table, which has columns to show."""
        if self.hides(DATASET):
            return False
        found = self.dataset_found
        return is_table(str(self.all_values(DATASET)[0])) or (found is not None and found.ending in TABLES)

    def errors(self) -> dict[str, str]:
        """Errors by full name, in the form's order."""
        return errors_of(self)

    def settings(self) -> Settings:
        """The settings for a run. Raises `SettingsError` naming every invalid value."""
        errors = self.errors()
        if errors:
            raise SettingsError("\n".join(f"{title_of(name)}: {problem}" for name, problem in errors.items()))
        return from_plain(self.plain())

    def plain(self) -> dict[str, dict[str, Any]]:
        """The values as nested dicts, as `settings.schema.to_plain` gives them; hidden settings have their defaults."""
        nested: dict[str, dict[str, Any]] = {table: {} for table in (*tables(), *FREE_TABLES, SWEEP)}
        varied = nested[SEARCH].setdefault(SPACE, {}) if self.searches else nested[SWEEP]
        defaults = keys_by_name()
        for name, value in self.values.items():
            table, _, key = name.partition(".")
            if not self.hides(name):
                (varied if table == SWEEP else nested[table])[key] = value
            elif table != SWEEP:
                nested[table][key] = defaults[name].default
        return nested

    def changed(self) -> tuple[Key, ...]:
        """The settings that differ from their defaults."""
        return tuple(key for key in run_keys() if not self.hides(key.key) and self.differs(key))

    def differs(self, key: Key) -> bool:
        """Whether a setting is swept, or differs from its default."""
        if self.swept(key.key):
            return True
        return not self.is_default(key.key) and not same(self.values.get(key.key), key.default)

    def is_default(self, name: str) -> bool:
        """Whether nobody has set a setting."""
        return self.sources.get(name) == Source(Layer.DEFAULT)

    def sections(self) -> tuple[Section, ...]:
        """The settings that are shown: after the first ones, the arguments of custom code."""
        first, *others = sections(self.kind)
        given = [name.removeprefix(f"{SWEEP}.") for name in self.values]
        names = dict.fromkeys(f"model.{name}" for name in self.arguments())
        names |= dict.fromkeys(name for name in given if name.startswith("model."))
        keys = [key for name in names if (key := free_key(name)) is not None]
        return (first, *([Section("Parameters", tuple(keys), folds=False)] if keys else []), *others)

    def set_here(self) -> dict[str, Any]:
        """The valid values that were set in the form, for filling the next one.

        Without sweeps and searches: the next run must not train many times as many models unasked.
        """
        return {
            name: self.values[name]
            for name, source in self.sources.items()
            if isinstance(source, Changed)
            and not name.startswith((f"{SWEEP}.", f"{SEARCH}."))
            and not self.hides(name)
            and form_key(name).problem(self.values[name]) is None
        }

    @property
    def refusal(self) -> str:
        """Why changes of locked settings were not made; empty if there were none."""
        if not self.refused:
            return ""
        more = f" (and {len(self.refused) - 1} more)" if len(self.refused) > 1 else ""
        return self.site.refusal(self.refused[0]) + more

    def for_a_new_run(self) -> Form:
        """The form for another run with these settings, in a new directory, and with what the site locks now."""
        form = self.held() if self.site.locks else self
        return form if form.values[OUTPUT] is None else form.with_values({OUTPUT: None}, {OUTPUT: Changed()})

    def verdict(self, resources: SystemResources) -> WorkerLimit | None:
        """The resource rules' verdict on the chosen workers; None while their number is invalid."""
        if keys_by_name()[WORKERS].problem(self.values[WORKERS]) is not None:
            return None
        return self.rules().limit(resources, self.values[WORKERS], self.values[MODE])

    def rules(self) -> Rules:
        """The resource rules, with the form's valid values."""
        by_name = keys_by_name()
        given = {name: self.values[f"resources.{name}"] for name in NAMES}
        valid = {name: value for name, value in given.items() if by_name[f"resources.{name}"].problem(value) is None}
        return Rules.of(valid, trains_with_torch=self.kind is not Kind.COMMAND)

    def unused(self, name: str) -> str | None:
        """Why a setting has no effect now; None if it has."""
        return why_unused(name, self.all_values)

    def all_values(self, name: str) -> Sequence[Any]:
        """The values of a setting: one, all of its sweep, or the ends of its range."""
        swept = self.swept(name)
        if isinstance(swept, str) and self.searches and (key := key_named(name)) is not None:
            space = SpaceKey(key)
            return space.dimension(swept).ends if space.problem(swept) is None else [self.values.get(name)]
        return swept if swept and not isinstance(swept, str) else [self.values.get(name)]

    def with_values(self, values: Mapping[str, Any], sources: Mapping[str, Source | Changed]) -> Form:
        """The form with other values and sources, except for locked settings."""
        refused: tuple[str, ...] = ()
        if self.site.locks:
            refused = tuple(
                name for name, value in values.items() if self.holds(name) and not same(value, self.values.get(name))
            )
            values = {name: value for name, value in values.items() if not self.holds(name)}
            sources = {name: source for name, source in sources.items() if not self.holds(name)}
        ended = {f"{SWEEP}.{name}" for name in values} - values.keys()
        found = replace(
            self,
            values={name: value for name, value in {**self.values, **values}.items() if name not in ended},
            sources={name: source for name, source in {**self.sources, **sources}.items() if name not in ended},
            refused=(*self.refused, *refused),
        )
        given = {name.removeprefix(f"{SWEEP}.") for name in values}
        return found.train(kind_after(self.kind, given, found.all_values))._with_own_models()

    def _with_own_models(self) -> Form:
        """The form with one model per trial of a search, unless somebody has set their number."""
        if not self.is_default(MODELS):
            return self
        usual = keys_by_name()[MODELS].default
        if self.searches:
            return replace(self, values={**self.values, MODELS: 1})
        is_of_a_search = self.values.get(MODELS) == 1 and self.kind is not Kind.COMMAND
        return replace(self, values={**self.values, MODELS: usual}) if is_of_a_search else self


def form_key(name: str) -> Key | SweepKey:
    """The key of a name in `Form.values`. Raises `SettingsError` if there is no such name."""
    table, _, swept = name.partition(".")
    return sweep_key(swept, keys_by_name()) if table == SWEEP else key_of(name)


def _slot(key: Key | SweepKey | SpaceKey) -> str:
    """The name of a key in `Form.values`."""
    return _slot_of(key.key)


def _slot_of(name: str) -> str:
    """The name in `Form.values` of a full name: ranges and lists of a search are where those of a sweep are."""
    space = f"{SEARCH}.{SPACE}."
    return f"{SWEEP}.{name.removeprefix(space)}" if name.startswith(space) else name


def key_of(name: str) -> Key:
    """The key of a setting, or of an argument of custom code. Raises `SettingsError` if there is no such name."""
    found = key_named(name)
    if found is None:
        raise SettingsError(f"unknown key {named(name)}")
    return found


def form_of(settings: Settings, sources: Mapping[str, Source | Changed], base: Settings | None = None) -> Form:
    """The form that shows `settings`."""
    values = flat(settings)
    sources = {_slot_of(name): source for name, source in sources.items()}
    return Form({}, {}, MappingProxyType(flat(base or Settings()))).with_values(values, sources)


def flat(settings: Settings) -> dict[str, Any]:
    """The values of settings by full name."""
    plain = to_plain(settings)
    plain[SWEEP] |= plain[SEARCH].pop(SPACE)
    return by_full_name(plain)
