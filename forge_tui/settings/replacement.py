"""What trains a run's models in place of the built-in loop: a training function, or a command.

Settings that only the built-in loop uses are refused beside it: nothing would read them, and a value that is accepted
and ignored misleads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from forge_tui.errors import SettingsError, UsageError
from forge_tui.safe_io.printing import escaped
from forge_tui.settings.keys import Key
from forge_tui.settings.problems import shown
from forge_tui.settings.schema import Settings, fields_of, keys_by_name
from forge_tui.settings.training_function import MODEL_TYPE, TRAIN, is_function

_BUILT_IN_ONLY = ("training", "data")


class Trains(StrEnum):
    """What trains a run's models."""

    MODEL = "model"
    FUNCTION = "function"
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Replacement:
    """`name`: how messages call it. `used`: the keys of `[training]` that play a part beside it, `unused`: the settings
    of other tables (by full name) that play none. `instead` is the advice for a setting that is refused, `swept` and
    `searched` those for a sweep and a search. `excluded`: what else it is instead of, by the setting that names it.
    """

    name: str
    used: frozenset[str]
    unused: frozenset[str]
    instead: str
    swept: str
    searched: str
    excluded: Mapping[str, str]

    def is_unused(self, name: str) -> bool:
        """Whether a setting, by its full name, plays no part."""
        table, _, key = name.partition(".")
        if table == "training":
            return key not in self.used
        return table == "data" or name in self.unused

    def unused_keys(self) -> Iterator[Key]:
        """The settings that play no part."""
        return (key for key in fields_of() if self.is_unused(key.key))

    def refusal(self, key: Key, place: str) -> str:
        """Why a setting may not be given, in words; `place` says where it was given."""
        if key.key in self.excluded:
            return f"{place}: {self.name} trains instead of {self.excluded[key.key]}; give one of the two"
        if key.table not in _BUILT_IN_ONLY:
            return f"{place}: {key.key} plays no part where {self.name} trains; leave it out"
        return (
            f"{place}: only the built-in training loop uses {key.key}, and {self.name} replaces it; leave it out, or "
            f"{self.instead}"
        )

    def swept_problems(self, sweep: Iterable[str]) -> list[str]:
        """What is wrong with a sweep of these settings, in words."""
        return self._varied_problems(sweep, "--sweep", self.swept)

    def searched_problems(self, space: Iterable[str]) -> list[str]:
        """What is wrong with a search of these settings, in words."""
        return self._varied_problems(space, "--space", self.searched)

    def _varied_problems(self, names: Iterable[str], flag: str, instead: str) -> list[str]:
        found = []
        for name in names:
            if not self.is_unused(name):
                continue
            if name in self.excluded:
                found.append(self.refusal(keys_by_name()[name], f"{flag} {name}"))
                continue
            found.append(
                f"{flag} {name}: only the built-in training loop uses {name}, and {self.name} replaces it; "
                f"{instead.format(name.rpartition('.')[2])}"
            )
        return found


def _of_function(train: str) -> Replacement:
    return Replacement(
        name=f"--train {escaped(train)}",
        used=frozenset(("train", "epochs", "training_mode", "max_parallel_workers", "select_by")),
        unused=frozenset({"engine.fuse", "run.parse"}),
        instead="give the function a parameter of its own: --set model.NAME=VALUE, or NAME = VALUE under [model]",
        swept="sweep a parameter of the function instead, such as --sweep model.{}=VALUE,VALUE",
        searched="search a parameter of the function instead, such as --space model.{}=LOW..HIGH",
        excluded={MODEL_TYPE: "a built-in or custom model"},
    )


_COMMAND = Replacement(
    name="the command",
    used=frozenset(("epochs", "training_mode", "max_parallel_workers", "select_by", "patience", "min_delta")),
    unused=frozenset({"engine.fuse", "run.keep_checkpoints", "run.python_path"}),
    instead="give the command a placeholder of your own: {NAME} in the command, and --set model.NAME=VALUE",
    swept="sweep a placeholder of the command instead, such as --sweep model.{0}=VALUE,VALUE with {{{0}}} in it",
    searched="search a placeholder of the command instead, such as --space model.{0}=LOW..HIGH with {{{0}}} in it",
    excluded={MODEL_TYPE: "a built-in or custom model", TRAIN: "a training function"},
)


def replacement_of(train: str, command: Sequence[str]) -> Replacement | None:
    """What trains in place of the built-in loop, by `training.train` and `run.command`; None if that loop trains."""
    if command:
        return _COMMAND
    return _of_function(train) if is_function(train) else None


def replacement_in(settings: Settings) -> Replacement | None:
    """As `replacement_of`, of all settings."""
    return replacement_of(settings.training.train, settings.run.command)


def what_trains(settings: Settings) -> Trains:
    """What trains the models of a run with these settings."""
    if settings.run.command:
        return Trains.COMMAND
    return Trains.FUNCTION if is_function(settings.training.train) else Trains.MODEL


def refuse_replacement(settings: Settings, command: str, why: str) -> None:
    """Raise `UsageError` if anything but the built-in loop trains; `command` of ours cannot be used then, and `why`."""
    found = replacement_in(settings)
    if found is not None:
        with_it = "a command of your own" if settings.run.command else f"--train {escaped(settings.training.train)}"
        raise UsageError(f"{command} cannot be used with {with_it}: {why}")


def used_config(plain: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The part of `[training]` that plays a part beside a replacement, and `[model]` with full names, of plain
    settings (`schema.to_plain`).
    """
    found = replacement_of(plain["training"]["train"], plain["run"]["command"])
    training = plain["training"].items()
    used = {name: value for name, value in training if found is None or not found.is_unused(f"training.{name}")}
    return {**used, **{f"model.{name}": value for name, value in plain["model"].items()}}


def require_no_unused(settings: Settings) -> None:
    """Raise `SettingsError` naming each setting that is set, or swept, and plays no part.

    Also for `run.parse` without a command, and for no epochs without one.
    """
    found = replacement_in(settings)
    if not settings.run.command and settings.run.parse is not None:
        raise SettingsError(f"run.parse = {shown(settings.run.parse)}: it reads a command's output, and there is none")
    if not settings.run.command and settings.training.epochs is None:
        raise SettingsError("training.epochs = none: only a command goes without; give a number (--epochs N)")
    if found is None:
        return
    problems = [
        found.refusal(key, f"{key.key} = {shown(value)}")
        for key in found.unused_keys()
        if (value := getattr(getattr(settings, key.table), key.name)) != key.default
    ]
    problems += found.swept_problems(settings.sweep)
    problems += found.searched_problems(settings.search.space)
    if problems:
        raise SettingsError("\n".join(problems))
