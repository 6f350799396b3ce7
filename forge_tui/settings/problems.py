"""Messages for validation problems: key, value, what is allowed, and a suggestion."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from forge_tui.safe_io.printing import escaped

_SINGLE_TYPES = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "string_unicode": "text in UTF-8",
    "tuple_type": "a list",
    "dict_type": "a table",
    "dataclass_type": "a table",
    "dataclass_exact_type": "a table",
    "finite_number": "a finite number",
}
_LONGEST_SHOWN = 80


def allowed(problem: Mapping[str, Any]) -> str:
    """What a value must be, from one entry of `ValidationError.errors()`."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind in _SINGLE_TYPES:
        return f"must be {_SINGLE_TYPES[kind]}"
    match kind:
        case "greater_than_equal":
            return f"must be at least {bound_text(context['ge'])}"
        case "greater_than":
            return f"must be greater than {bound_text(context['gt'])}"
        case "less_than_equal":
            return f"must be at most {bound_text(context['le'])}"
        case "less_than":
            return f"must be less than {bound_text(context['lt'])}"
        case "literal_error":
            return f"must be {context['expected']}"
        case "string_too_short":
            return "must not be empty"
        case "missing":
            return "is missing"
        case "too_long":
            return f"must have {context['max_length']} items"
    return str(problem["msg"])


def explain(problems: Sequence[Mapping[str, Any]]) -> str:
    """All problems of one value as one sentence: `must be at least 1 or 'auto'`."""
    items = [problem for problem in problems if len(problem["loc"]) > 1 and isinstance(problem["loc"][1], int)]
    if items:
        return "; ".join(f"item {problem['loc'][1] + 1} {allowed(problem)}" for problem in items)
    words = list(dict.fromkeys(allowed(problem) for problem in problems))
    return " or ".join([words[0], *(word.removeprefix("must be ") for word in words[1:])])


def problems_in_words(
    problems: Sequence[Mapping[str, Any]], owner: str, fields: Sequence[str], values: Mapping[Any, Any]
) -> str:
    """The problems of one constructor call: `epochs = 0: must be at least 1; …`.

    `fields` are the owner's fields in order, `values` the given ones, by name or position.
    """
    grouped: dict[Any, list[Mapping[str, Any]]] = {}
    for problem in problems:
        grouped.setdefault(problem["loc"][0], []).append(problem)
    sentences: list[str] = []
    for place, of_one in grouped.items():
        match of_one[0]["type"]:
            case "unexpected_positional_argument":
                sentence = f"{owner} takes fewer values by position; name the further ones"
            case "unexpected_keyword_argument":
                sentence = f"{owner} has no field {place!r}{did_you_mean(str(place), fields)}"
            case "multiple_argument_values":
                sentence = f"{place}: is given twice, by position and by name"
            case _:
                name = fields[place] if isinstance(place, int) else place
                if isinstance(values.get(place), Mapping) and len(of_one[0]["loc"]) > 1:
                    sentences += [_of_key(name, values[place], one) for one in of_one]
                    continue
                sentence = f"{name} = {shown(values.get(place))}: {explain(of_one)}"
        if sentence not in sentences:
            sentences.append(sentence)
    return "; ".join(sentences)


def _of_key(table: str, values: Mapping[Any, Any], problem: Mapping[str, Any]) -> str:
    """What is wrong with a key of a table of custom arguments, or with its value."""
    _, key, *rest = problem["loc"]
    if "[key]" in rest:
        return f"{table}: the name of a key {allowed(problem)}, not {shown(problem['input'])}"
    return f"{table}.{escaped(str(key))} = {shown(values.get(key))}: {allowed(problem)}"


def nearest_meaning(word: str, meanings: Mapping[str, str]) -> str | None:
    """The meaning of the name most similar to `word`, or None if none is similar."""
    by_fold = {name.casefold(): meaning for name, meaning in meanings.items()}
    near = difflib.get_close_matches(word.casefold(), by_fold, n=1, cutoff=0.6)
    return by_fold[near[0]] if near else None


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """`; did you mean X?` for the name most similar to `word`, or an empty text."""
    near = nearest_meaning(word, {name: name for name in names})
    return f"; did you mean {near}?" if near else ""


def shown(value: Any) -> str:
    """A value in TOML, on one line, without control characters, shortened if it is long."""
    try:
        text = _toml_of(value)
    except RecursionError:  # a list that contains itself
        text = f"a nested {type(value).__name__}"
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"


def _toml_of(value: Any) -> str:
    match value:
        case None:
            text = "none"
        case bool():
            text = "true" if value else "false"
        case str():
            text = '"' + escaped(value.replace("\\", "\\\\").replace('"', '\\"')) + '"'
        case int():
            # Python refuses to write integers of more than 4,300 digits in decimal.
            text = str(value) if value.bit_length() < 1_000 else hex(value)
        case list() | tuple():
            text = "[" + ", ".join(_toml_of(item) for item in value[:_LONGEST_SHOWN]) + "]"
        case Mapping():
            text = "a table" if value else "an empty table"
        case _:
            text = escaped(_words_of(value))
    return text


def _words_of(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # a custom object's repr may fail
        return f"a {type(value).__name__}"


def bound_text(value: Any) -> str:
    """A bound as text, without exponent: `1`, `0.9`, `1000000000`."""
    return str(value) if isinstance(value, int) else f"{value:g}"
