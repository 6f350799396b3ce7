"""Untrusted JSON: read within limits, or refused with the reason.

Python's own reader accepts everything: NaN, a number of 4,000 digits, duplicate keys, a million brackets. Code that
computes with such values, prints them or hashes them fails later, with a traceback, or hangs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LARGEST_INTEGER = 2**63 - 1
"""The largest whole number in a record: SQLite and tensors have no larger ones."""


class BadJson(ValueError):
    """Invalid JSON, or JSON beyond a limit; the message says which."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on JSON: `size` in bytes, number of `values`, levels (`depth`), length of a text (`text`, characters).

    `integer`: the largest magnitude of a whole number. `unique`: refuse duplicate keys, which takes longer.
    """

    size: int = 1 << 20
    values: int = 1_000_000
    depth: int = 32
    text: int = 1 << 20
    integer: int = LARGEST_INTEGER
    unique: bool = True


STATE = Limits(size=1 << 16)
"""For small files: commands, claims, lines of the list of runs."""


def parse(data: bytes | str, limits: Limits) -> Any:
    """The value of a JSON text in UTF-8. Raises `BadJson`, also for NaN and for numbers beyond a float's range."""
    if len(data) > limits.size:
        raise BadJson(f"it has {len(data):,} bytes, and at most {limits.size:,} are read")
    # A value takes up to thirty times as much memory as its text.
    openers = data.count(b"[") + data.count(b"{") if isinstance(data, bytes) else data.count("[") + data.count("{")
    commas = data.count(b",") if isinstance(data, bytes) else data.count(",")
    if openers + commas > limits.values:
        raise BadJson(f"it has more than {limits.values:,} values")
    try:
        value = (_UNIQUE if limits.unique else _PLAIN)(data.decode() if isinstance(data, bytes) else data)
    except RecursionError:
        raise BadJson("it is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise BadJson(f"it is no UTF-8 text ({error.reason})") from None
    except BadJson:
        raise
    except ValueError as error:  # a whole number of more than 4,300 digits, too
        raise BadJson(str(error)) from None
    _check(value, limits)
    return value


def parse_object(data: bytes | str, limits: Limits) -> dict[str, Any]:
    """As `parse`, for a JSON object."""
    value = parse(data, limits)
    if not isinstance(value, dict):
        raise BadJson("it is no JSON object")
    return value


def _check(value: Any, limits: Limits) -> None:
    """Raise `BadJson` for a value beyond the limits; level by level, without recursion."""
    most, longest = limits.integer, limits.text
    level: list[Any] = [(value,)]
    for _ in range(limits.depth + 1):
        below: list[Any] = []
        for container in level:
            if type(container) is dict:
                for key in container:
                    if len(key) > longest:
                        raise BadJson(f"a key has {len(key):,} characters, and at most {longest:,} are read")
                container = container.values()
            for item in container:
                kind = type(item)
                if kind is str:
                    if len(item) > longest:
                        raise BadJson(f"a text has {len(item):,} characters, and at most {longest:,} are read")
                elif kind is int:
                    if not -most <= item <= most:
                        raise BadJson(f"a whole number has {len(str(abs(item)))} digits, which is beyond all limits")
                elif kind is float:
                    if item - item != 0.0:  # as 1e999 is read
                        raise BadJson("a number is larger than any that can be computed with")
                elif kind is dict or kind is list:
                    below.append(item)
        if not below:
            return
        level = below
    raise BadJson(f"it is nested more than {limits.depth} levels deep")


def _refuse_constant(name: str) -> Any:
    raise BadJson(f"{name} is no number")


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        repeated = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise BadJson(f"the key {repeated[:80]!r} is given twice")
    return found


_PLAIN: Callable[[str], Any] = json.JSONDecoder(parse_constant=_refuse_constant).decode
_UNIQUE: Callable[[str], Any] = json.JSONDecoder(
    parse_constant=_refuse_constant, object_pairs_hook=_without_repetition
).decode
