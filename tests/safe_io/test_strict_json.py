"""JSON within limits: what a run writes is read, and what nobody writes is refused in words, soon."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_tui.safe_io.strict_json import LARGEST_INTEGER, BadJson, Limits, parse, parse_object

LIMITS = Limits(size=10_000, values=1_000, depth=8, text=100)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-LARGEST_INTEGER, LARGEST_INTEGER) | FINITE | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip
REFUSED: dict[str, tuple[bytes, str]] = {
    "NaN": (b'{"a":NaN}', "NaN is no number"),
    "infinity": (b'{"a":-Infinity}', "-Infinity is no number"),
    "infinity as a number": (b'{"a":1e999}', "larger than any that can be computed with"),
    "2^63": (b'{"a":9223372036854775808}', "has 19 digits, which is beyond all limits"),
    "-2^63": (b'[{"a":[-9223372036854775808]}]', "has 19 digits"),
    "5,000 digits": (b"9" * 5_000, "digits"),
    "a key twice": (b'{"a":1,"b":{"c":1,"c":1}}', "the key 'c' is given twice"),
    "a long text": (b'["' + b"x" * 101 + b'"]', "a text has 101 characters"),
    "a long key": (b'{"' + b"x" * 101 + b'":1}', "a key has 101 characters"),
    "9 levels": (b"[" * 9 + b"]" * 9, "more than 8 levels deep"),
    "900 levels": (b'{"a":' * 900 + b"1" + b"}" * 900, "levels deep"),
    "many values": (b"[" + b"1," * 1_001 + b"1]", "more than 1,000 values"),
    "many lists": (b"[" + b"[]" * 1_001, "more than 1,000 values"),
    "many bytes": (b" " * 10_001, "it has 10,001 bytes, and at most 10,000 are read"),
    "no UTF-8": (b'"\xff"', "is no UTF-8 text"),
    "two values": (b"1 2", "Extra data"),
    "nothing": (b"", "Expecting value"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_nobody_writes_is_refused_in_words(kind: str) -> None:
    data, words = REFUSED[kind]
    with pytest.raises(BadJson) as told:
        parse(data, LIMITS)
    assert words in str(told.value)


def test_a_hundred_thousand_levels_are_refused_without_a_crash() -> None:
    for data in (b"[" * 100_000, b'{"a":' * 100_000):
        with pytest.raises(BadJson, match="nested too deeply"):
            parse(data, Limits())


def test_what_is_just_within_the_limits_is_read() -> None:
    assert parse(b"[" * 8 + b"]" * 8, LIMITS) == [[[[[[[[]]]]]]]]
    assert parse(b"9223372036854775807", LIMITS) == LARGEST_INTEGER
    assert parse(b'["' + b"x" * 100 + b'"]', LIMITS) == ["x" * 100]
    assert parse(b'{"a":1,"a":2}', Limits(unique=False)) == {"a": 2}


@given(VALUES)
def test_what_json_writes_is_read_as_it_was(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value).encode()):
        found = parse(text, Limits())
        assert found == value
        assert json.dumps(found) == json.dumps(value)


@given(st.binary(max_size=200) | st.text(alphabet='{}[]",:0123456789eE+-.naN', max_size=80).map(str.encode))
def test_anything_else_is_told_in_words(data: bytes) -> None:
    try:
        value = parse(data, LIMITS)
    except BadJson:
        return
    assert json.loads(data) == value


@pytest.mark.parametrize("data", [b"[]", b"7", b'"a"', b"null"])
def test_an_object_is_asked_for(data: bytes) -> None:
    with pytest.raises(BadJson, match="it is no JSON object"):
        parse_object(data, LIMITS)
