"""Validation problems in words: which key, which value, what is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SINGLE_TYPES = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "a table",
    "dataclass_type": "a table",
    "dataclass_exact_type": "a table",
}


def allowed(problem: Mapping[str, Any]) -> str:
    """What a value must be, in words, from one entry of pydantic's `ValidationError.errors()`."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind in _SINGLE_TYPES:
        return f"must be {_SINGLE_TYPES[kind]}"
    match kind:
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "greater_than":
            return f"must be greater than {context['gt']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
        case "less_than":
            return f"must be less than {context['lt']}"
        case "literal_error":
            return f"must be {context['expected']}"
        case "string_too_short":
            return "must not be empty"
        case "finite_number":
            return "must be a finite number"
    return str(problem["msg"])


def describe(problem: Mapping[str, Any], owner: str) -> str:
    """One problem as a sentence: `epochs = 0: must be at least 1`."""
    if problem["type"] == "unexpected_keyword_argument":
        return f"{owner} has no field {problem['loc'][-1]!r}"
    name = str(problem["loc"][0])
    return f"{name} = {problem['input']!r}: {allowed(problem)}"
