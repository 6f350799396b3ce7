"""The command in the settings (`run.command`): its placeholders, and how its output is read (`run.parse`)."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from forge_tui.errors import SettingsError
from forge_tui.safe_io.printing import escaped
from forge_tui.settings.problems import did_you_mean, shown
from forge_tui.settings.schema import RunSettings, Settings

COMMAND = "run.command"
TYPE = "command"
"""The word for such models in names and lists."""
JSON = "json"
"""The value of `run.parse` for objects on stdout."""
WORDS = ("seed", "index", "name", "epochs", "device", "directory")
"""Placeholders of every command; the others are the keys of `[model]`."""
NOT_METRICS = ("epoch", "step")
"""What a report says beside its metrics."""
_WORD = r"[A-Za-z_][A-Za-z0-9_]*"
# In this order: `${word}` is a shell's or a make's, `{{word}}` stands for `{word}`.
_PLACES = re.compile(rf"\$\{{\{{?{_WORD}\}}?\}}|\{{\{{(?P<literal>{_WORD})\}}\}}|\{{(?P<word>{_WORD})\}}")


def command_line(command: Iterable[str]) -> str:
    """The command as one line for `words_of`; placeholders stay as they are."""
    return " ".join(part if words_of(part) == [part] else shlex.quote(part) for part in command)


def words_of(line: str) -> list[str] | str:
    """The words that a shell would make of one line, without expanding anything; an incomplete line unchanged."""
    try:
        return shlex.split(line)
    except ValueError:
        return line


def placeholders(command: Iterable[str]) -> Iterator[str]:
    """The words of all placeholders, in order."""
    return (found["word"] for part in command for found in _PLACES.finditer(part) if found["word"] is not None)


def filled(command: Iterable[str], values: Mapping[str, Any]) -> list[str]:
    """The command with the values of its placeholders. Raises `KeyError` for a word without one."""

    def text(found: re.Match[str]) -> str:
        if found["word"] is not None:
            return value_text(values[found["word"]])
        return found[0] if found["literal"] is None else f"{{{found['literal']}}}"

    return [_PLACES.sub(text, part) for part in command]


def value_text(value: Any) -> str:
    """A value as an argument: text as it is, `true` and `false`, numbers in decimal, lists in JSON; None is empty."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def require_fitting(settings: Settings) -> None:
    """Raise `SettingsError` unless placeholders, `[model]` and `run.parse` fit; nothing to do without a command."""
    command = settings.run.command
    if not command:
        return
    if not command[0].strip():
        raise SettingsError(f"run.command = {shown(command)}: it begins with the program, and that is empty")
    if (bad := next((part for part in command if "\0" in part), None)) is not None:
        raise SettingsError(f"run.command: {shown(bad)} has a zero byte, which no argument can have")
    varied = (*settings.sweep, *settings.search.space)
    own = [*settings.model, *(name.partition(".")[2] for name in varied if name.startswith("model."))]
    problems = [_unknown(word, own) for word in dict.fromkeys(placeholders(command)) if word not in (*WORDS, *own)]
    for name in dict.fromkeys(own):
        if name in WORDS:
            problems.append(f"model.{name}: {{{name}}} is the model's own {name} in a command; rename the value")
        elif name not in placeholders(command):
            problems.append(
                f"model.{name}: the command does not use it; write {{{name}}} where its value belongs, or leave it out"
            )
    for name in ("halving", "halving_first"):
        if settings.training.epochs is None and getattr(settings.run, name) != getattr(RunSettings, name):
            problems.append(f"run.{name}: halving compares models before their last epoch; give it with --epochs N")
    if problems:
        raise SettingsError("\n".join(problems))
    pattern_of(settings.run.parse)


def _unknown(word: str, own: Sequence[str]) -> str:
    """The message for a placeholder without a value."""
    near = did_you_mean(word, (*WORDS, *own))
    return (
        f"{{{word}}} in the command is no placeholder{near}; there are {', '.join(f'{{{one}}}' for one in WORDS)} and "
        f"the keys of [model] (--set model.{word}=VALUE); write {{{{{word}}}}} where the command is to get {{{word}}}"
    )


def pattern_of(parse: str | None) -> re.Pattern[str] | None:
    """The regular expression in `run.parse`; None if that is `json` or not set. Raises `SettingsError`."""
    if parse is None or parse == JSON:
        return None
    example = r"such as 'epoch (?P<epoch>\d+) loss (?P<loss>\S+)'"
    try:
        pattern = re.compile(parse)
    except (re.error, OverflowError, RecursionError) as error:
        raise SettingsError(
            f"run.parse = {shown(parse)}: it is neither json nor a regular expression ({escaped(str(error))}); write "
            f"one with named groups, {example}"
        ) from None
    if not set(pattern.groupindex).difference(NOT_METRICS):
        raise SettingsError(
            f"run.parse = {shown(parse)}: no group of it names a metric; name at least one group, {example}"
        )
    return pattern


def with_own_numbers(values: dict[str, dict[str, Any]], is_given: Mapping[str, bool]) -> None:
    """Set what a command has instead of the defaults, in plain settings: one model, and no number of epochs.

    Each stays where it `is_given`, or where the command uses it: `{seed}` stands for several models.
    """
    words = set(placeholders(values["run"]["command"]))
    if not is_given["run.models"] and "seed" not in words:
        values["run"]["models"] = 1
    if not is_given["training.epochs"] and "epochs" not in words:
        values["training"]["epochs"] = None
