"""The keys of the schema: type, default, range and help of each; checks and parses one value.

Flags, environment variables, TOML files, `forge-tui config` and the reference in docs/ are all made from these.
"""

from __future__ import annotations

import dataclasses
import tomllib
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from forge_tui.settings.amounts import real_number, whole_number
from forge_tui.settings.checked import Rule, annotations_of, is_union, parts_of, problem_of
from forge_tui.settings.device_names import GPUS
from forge_tui.settings.own_names import OWN_CODE, free_value_problem
from forge_tui.settings.problems import bound_text

# Databases and TOML files hold whole numbers of 64 bits.
LARGEST_INTEGER = 2**63 - 1

FREE_TABLES = ("model",)
"""Tables whose keys are arguments of custom functions."""

_FLAGS = {
    "training.training_mode": "--mode",
    "training.max_parallel_workers": "--workers",
    "run.max_seconds": "--max-time",
    "engine.name": "--engine",
    "search.method": "--search",
}


@dataclass(frozen=True, slots=True)
class Key:
    """One setting: its place, its allowed values, and its names.

    `type_words` is its type (`whole number`), `allowed` its range or words (`at least 1`; empty if the whole type is
    allowed).
    """

    table: str
    name: str
    annotation: Any = dataclasses.field(repr=False)
    owner: type = dataclasses.field(repr=False)
    default: Any
    type_words: str
    allowed: str
    help: str

    @property
    def key(self) -> str:
        """Its full name, such as `training.epochs`."""
        return f"{self.table}.{self.name}"

    @property
    def flag(self) -> str:
        """Its flag on the command line, such as `--epochs`."""
        return _FLAGS.get(self.key, "--" + self.name.replace("_", "-"))

    @property
    def variable(self) -> str:
        """Its environment variable, such as `FORGE_TUI_TRAINING__EPOCHS`."""
        return f"FORGE_TUI_{self.table}__{self.name}".upper()

    @property
    def is_free(self) -> bool:
        """Whether it is an argument of a custom function: the schema knows neither type nor default."""
        return self.annotation is Any

    @property
    def is_switch(self) -> bool:
        """Whether it is on or off."""
        return self.annotation is bool

    @property
    def words(self) -> tuple[str, ...]:
        """The words it takes, for completion and choice lists; empty if it takes other values only."""
        return tuple(str(word) for part in _alternatives(self.annotation) for word in _literals(part))

    def problem(self, value: Any) -> str | None:
        """What is wrong with a value (`must be at least 1`), or None."""
        if self.is_free:
            return free_value_problem(value)
        return problem_of(self.owner, self.name, value)

    def parse(self, text: str) -> Any:
        """The value of a text in a flag or a variable.

        Numbers may have a suffix: `100k`, `2M`. Lists are TOML's; the brackets, and the quotes of texts, are optional:
        `a,b`. `none` unsets a number that has no default. A text that does not fit the type is returned unchanged:
        `problem` says what is wrong with it.
        """
        if self.is_free:
            return toml_value(text)
        parts = _alternatives(self.annotation)
        for part in parts:
            if part is types.NoneType and str in parts:
                continue
            value = _parsed(part, text)
            if not isinstance(value, str) or value in _literals(part):
                return value
        return text


def keys_of(table: str, owner: type) -> Iterator[Key]:
    """The keys of one table, in their order, from its checked dataclass."""
    annotations = annotations_of(owner)
    for field in dataclasses.fields(owner):
        annotation, rules = parts_of(annotations[field.name])
        if get_origin(annotation) is dict:
            continue  # a table in the table, which has keys of its own
        type_words, allowed = _in_words(annotation, rules)
        yield Key(
            table=table,
            name=field.name,
            annotation=annotation,
            owner=owner,
            default=field.default,
            type_words=type_words,
            allowed=allowed,
            help=next((rule.description for rule in rules if rule.description), ""),
        )


def free_key(full: str) -> Key | None:
    """The key of a full name such as `model.channels`: an argument of a custom function; else None."""
    table, _, name = full.partition(".")
    if table not in FREE_TABLES or not (name.isidentifier() and name.isascii()):
        return None
    return Key(
        table=table,
        name=name,
        annotation=Any,
        owner=dict,
        default=None,
        type_words="value",
        allowed="",
        help="an argument of custom code",
    )


def toml_value(text: str) -> Any:
    """The value in TOML syntax; anything else is text."""
    if "\n" not in text:
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except (ValueError, RecursionError):
            pass
    return text


def _alternatives(annotation: Any) -> list[Any]:
    """The parts of a union, literals first; else the annotation itself."""
    plain, _ = parts_of(annotation)
    if is_union(plain):
        return sorted((part for one in get_args(plain) for part in _alternatives(one)), key=lambda p: not _literals(p))
    return [plain]


def _literals(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _parsed(annotation: Any, text: str) -> Any:
    """The text as a value of the annotation's type, or the text itself."""
    try:
        if annotation is bool:
            return {"true": True, "false": False}.get(text, text)
        if annotation is int:
            return whole_number(text)
        if annotation is float:
            return real_number(text)
        if annotation is types.NoneType:
            return None if text == "none" else text
        if get_origin(annotation) is tuple and "\n" not in text:
            return _parsed_list(text, of_texts=get_args(annotation)[0] is str)
    except (ValueError, RecursionError):
        return text
    by_text = {str(word): word for word in _literals(annotation)}
    return by_text.get(text, text)


def _parsed_list(text: str, *, of_texts: bool) -> list[Any]:
    """A TOML list; the brackets, and the quotes of texts, are optional. Raises `ValueError`."""
    if of_texts and not any(mark in text for mark in "[]\"'"):
        return [part.strip() for part in text.split(",")] if text.strip() else []
    whole = text if text.lstrip().startswith("[") else f"[{text}]"
    found: list[Any] = tomllib.loads(f"value = {whole}")["value"]
    return found


def _in_words(annotation: Any, rules: tuple[Rule, ...] = ()) -> tuple[str, str]:
    """(type, allowed) in words, ASCII only: they are printed by `--help` on any terminal."""
    annotation, inner = parts_of(annotation)
    rules += inner
    if any(rule.devices for rule in rules):
        known = ", ".join(str(word) for part in get_args(annotation) for word in _literals(part))
        return "word or list", f"{known} or {GPUS}"
    if is_union(annotation):
        parts = [_in_words(part, rules) for part in get_args(annotation) if part is not types.NoneType]
        kinds = " or ".join(dict.fromkeys(kind for kind, _ in parts))
        return kinds, " or ".join(allowed for _, allowed in parts if allowed)
    if words := _literals(annotation):
        names = [str(word) for word in words]
        return "word" if isinstance(words[0], str) else "whole number", ", ".join(names)
    if get_origin(annotation) is tuple and get_args(annotation)[-1] is Ellipsis:
        return f"list of {_in_words(get_args(annotation)[0])[0]}s", ""
    if get_origin(annotation) is tuple:
        kind, allowed = _in_words(get_args(annotation)[0])
        return f"list of {len(get_args(annotation))} {kind}s", f"each {allowed}" if allowed else ""
    kind = {bool: "true or false", int: "whole number", float: "number", str: "text"}[annotation]
    if any(rule.own_code for rule in rules):
        return "text", OWN_CODE
    prime = "prime, " if any(rule.prime for rule in rules) else ""
    return kind, "" if annotation is str else prime + _range(rules)


def _range(rules: tuple[Rule, ...]) -> str:
    bounds = {name: bound for rule in rules for name, bound in rule.bounds.items()}
    if bounds.get("le") == LARGEST_INTEGER:
        del bounds["le"]
    if "ge" in bounds and bounds.get("le") == bounds["ge"]:
        return bound_text(bounds["ge"])
    if "ge" in bounds and "le" in bounds:
        return f"{bound_text(bounds['ge'])} to {bound_text(bounds['le'])}"
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    return ", ".join(f"{words[name]} {bound_text(bound)}" for name, bound in bounds.items())
