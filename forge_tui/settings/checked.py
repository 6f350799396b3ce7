"""Dataclasses that check their values on construction: annotations become a pydantic-core schema.

pydantic's dataclasses do the same, but importing them and building seven classes takes 80 ms at every start; this
takes 20. Types are strict: `true` is not 1, `"5"` is not 5, and infinity and NaN are refused.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

from pydantic_core import ArgsKwargs, PydanticCustomError, SchemaValidator, ValidationError

from forge_tui.errors import SettingsError
from forge_tui.settings.device_names import GPUS, gpus_named
from forge_tui.settings.own_names import OWN_CODE, free_value_problem, named_function
from forge_tui.settings.problems import explain, problems_in_words

_CONFIG: Any = {"strict": True, "extra_fields_behavior": "forbid", "allow_inf_nan": False}
_PLAIN = {bool: "bool", int: "int", float: "float", str: "str"}
_Class = TypeVar("_Class", bound=type)


class Rule(NamedTuple):
    """Constraints on a value beyond its type, and its description; written as `Annotated[int, Rule(ge=1)]`.

    `own_code`: the text names a custom function (`own_names.named_function`). `devices`: besides its words, a list of
    GPUs (`device_names.gpus_named`). `older`: words of earlier versions, with their values today.
    """

    description: str = ""
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    min_length: int | None = None
    prime: bool = False
    own_code: bool = False
    devices: bool = False
    older: tuple[tuple[str, str], ...] = ()

    @property
    def bounds(self) -> dict[str, float]:
        """Those of `ge`, `gt`, `le`, `lt` and `min_length` that are set."""
        names = ("ge", "gt", "le", "lt", "min_length")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def checked(cls: _Class) -> _Class:
    """Class decorator: the constructor raises `SettingsError` with field, value and what is allowed."""
    plain: Any = cls.__dict__["__init__"]
    fields = dataclasses.fields(cls)
    annotations = annotations_of(cls)
    arguments: Any = {
        "type": "dataclass-args",
        "dataclass_name": cls.__name__,
        "fields": [
            {
                "type": "dataclass-field",
                "name": one.name,
                "kw_only": one.kw_only,
                "schema": _with_default(one, _schema(annotations[one.name])),
            }
            for one in fields
        ],
    }
    names = [one.name for one in fields]
    schema: Any = {"type": "dataclass", "cls": cls, "schema": arguments, "fields": names, "config": _CONFIG}
    validator = SchemaValidator(schema)

    @functools.wraps(plain)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            validator.validate_python(ArgsKwargs(args, kwargs), self_instance=self)
        except ValidationError as error:
            values: dict[Any, Any] = {**dict(enumerate(args)), **kwargs}
            raise SettingsError(problems_in_words(_errors(error), cls.__name__, names, values)) from None

    type.__setattr__(cls, "__init__", __init__)
    type.__setattr__(cls, "__schema__", schema)
    type.__setattr__(cls, "__validator__", validator)
    return cls


def problem_of(cls: Any, name: str, value: Any) -> str | None:
    """What is wrong with a value for one field of a checked dataclass, or None."""
    try:
        cls.__validator__.validate_python(ArgsKwargs((), {name: value}), self_instance=object.__new__(cls))
    except ValidationError as error:
        return explain(_errors(error))
    return None


@functools.cache
def annotations_of(cls: type) -> Mapping[str, Any]:
    """The annotations of a dataclass by field, with their rules."""
    return typing.get_type_hints(cls, include_extras=True)


def parts_of(annotation: Any) -> tuple[Any, tuple[Rule, ...]]:
    """The type in an annotation, and its rules."""
    if get_origin(annotation) is not Annotated:
        return annotation, ()
    plain, *rules = get_args(annotation)
    return plain, tuple(rules)


def is_union(annotation: Any) -> bool:
    """Whether it allows values of several types."""
    return get_origin(annotation) in (Union, types.UnionType)


def _errors(error: ValidationError) -> list[Any]:
    return error.errors(include_url=False)


def _with_default(field: dataclasses.Field[Any], schema: Any) -> Any:
    if field.default is not MISSING:
        return {"type": "default", "schema": schema, "default": field.default}
    if field.default_factory is not MISSING:
        return {"type": "default", "schema": schema, "default_factory": field.default_factory}
    return schema


def _schema(annotation: Any, bounds: Mapping[str, float] | None = None) -> Any:
    """The schema of one annotation; `bounds` apply to the numbers or the text in it."""
    annotation, rules = parts_of(annotation)
    bounds = {**(bounds or {}), **{name: bound for rule in rules for name, bound in rule.bounds.items()}}
    schema = _schema_within(annotation, bounds)
    if any(rule.devices for rule in rules):
        words = tuple(word for part in get_args(annotation) if get_origin(part) is Literal for word in get_args(part))
        named = functools.partial(_devices, words)
        return {"type": "function-plain", "function": {"type": "no-info", "function": named}}
    for rule in rules:
        check = _prime if rule.prime else _own_code if rule.own_code else None
        if check is not None:
            schema = {"type": "function-after", "function": {"type": "no-info", "function": check}, "schema": schema}
        if rule.older:
            renamed = functools.partial(_renamed, dict(rule.older))
            schema = {"type": "function-before", "function": {"type": "no-info", "function": renamed}, "schema": schema}
    return schema


def _schema_within(annotation: Any, bounds: Mapping[str, float]) -> Any:
    if is_union(annotation):
        several = get_args(annotation)
        choices = [_schema(one, bounds) for one in several if one is not types.NoneType]
        schema = choices[0] if len(choices) == 1 else {"type": "union", "choices": choices}
        return {"type": "nullable", "schema": schema} if types.NoneType in several else schema
    if get_origin(annotation) is Literal:
        return {"type": "literal", "expected": list(get_args(annotation))}
    if get_origin(annotation) is tuple:
        return _tuple(get_args(annotation))
    if dataclasses.is_dataclass(annotation):
        return vars(annotation)["__schema__"]
    if get_origin(annotation) is dict:
        check = _free_value if get_args(annotation)[1] is Any else _list_of_values
        values = {"type": "function-plain", "function": {"type": "no-info", "function": check}}
        return {"type": "dict", "keys_schema": {"type": "str"}, "values_schema": values}
    return {"type": _PLAIN[annotation], **bounds}


def _tuple(items: tuple[Any, ...]) -> Any:
    schema: Any = {"type": "tuple", "items_schema": [_schema(item) for item in items if item is not Ellipsis]}
    if items[-1] is Ellipsis:
        schema["variadic_item_index"] = 0
    # JSON and TOML only have lists.
    return {"type": "function-before", "function": {"type": "no-info", "function": _list_to_tuple}, "schema": schema}


def _renamed(older: Mapping[str, str], value: Any) -> Any:
    return older.get(value, value) if isinstance(value, str) else value


def is_prime(number: int) -> bool:
    """Whether a small number is prime, by trial division."""
    return number > 1 and all(number % divisor for divisor in range(2, math.isqrt(number) + 1))


def _prime(value: int) -> int:
    if not is_prime(value):
        raise PydanticCustomError("prime", "must be a prime number")
    return value


def _own_code(value: str) -> str:
    named = named_function(value)
    if named is None:
        raise PydanticCustomError("own_code", f"must be {OWN_CODE}")
    if named[0] == "__main__":
        raise PydanticCustomError(
            "own_code", "must be in a separate module: put the function into a file and write file.py:function"
        )
    return value


def _devices(words: tuple[str, ...], value: Any) -> str | tuple[str, ...]:
    if value in words:
        return str(value)
    found = gpus_named(value) if isinstance(value, list | tuple) else None
    if found is None:
        raise PydanticCustomError("devices", f"must be {', '.join(words)} or {GPUS}")
    return found


def _free_value(value: Any) -> Any:
    problem = free_value_problem(value)
    if problem is not None:
        raise PydanticCustomError("free_value", problem)
    return value


def _list_of_values(value: Any) -> Any:
    """Values of a sweep; each key's own rules are checked in `schema.from_plain`, where the keys are known."""
    if not isinstance(value, list | tuple):
        raise PydanticCustomError("values", "must be a list of values")
    for one in value:
        if one is not None:
            _free_value(one)
    return value


def _list_to_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
