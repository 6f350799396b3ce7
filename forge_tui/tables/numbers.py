"""Numbers, as types and as text: `1,234`, `12.5%`, `$8`, `(3.5)`, `8,69`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars

_CURRENCY = "[$€£¥₹]"
_SPACE = r"[ \u00a0\u202f\u2009]"
LEADING_ZERO = r"^[+-]?0[0-9]+$"
"""Digits that begin with a zero: a code, not a number."""


def numbers_of(column: polars.Series, decimal: str = ".") -> polars.Series:
    """The values as float64; null for what is missing or no number. `decimal` is the decimal mark in text.

    Whole numbers beyond 2⁵³ are rounded; a duration is a number of seconds.
    """
    import polars

    if column.dtype != polars.String:
        if column.dtype == polars.Duration:
            return column.dt.total_nanoseconds().cast(polars.Float64) / 1e9
        return column.cast(polars.Float64, strict=False)
    plain = column.cast(polars.Float64, strict=False) if decimal == "." else None
    if plain is not None and plain.null_count() == column.null_count():
        return plain
    other = _plain(column, decimal).cast(polars.Float64, strict=False)
    return other if plain is None else plain.fill_null(other)


def _plain(column: polars.Series, decimal: str) -> polars.Series:
    """Numbers as people write them in the notation that is cast; null for all other text."""
    import polars

    group, point = ("[,']", r"\.") if decimal == "." else (r"[.']", ",")
    digits = rf"(?:\d{{1,3}}(?:(?:{group}|{_SPACE})\d{{3}})+|\d+)(?:{point}\d*)?|{point}\d+"
    number = rf"[+-]?{_SPACE}?{_CURRENCY}?{_SPACE}?[+-]?(?:{digits})(?:[eE][+-]?\d+)?{_SPACE}?(?:%|{_CURRENCY})?"
    pattern = rf"^(?:{number}|\({_CURRENCY}?(?:{digits})%?\))$"
    is_number = column.str.contains(pattern).fill_null(value=False)
    text = column.set(~is_number, None)
    text = text.str.replace(r"^\((.*)\)$", "-${1}")  # as accountants write what is negative
    text = text.str.replace_all(rf"{_CURRENCY}|{_SPACE}|%|'", "")
    text = text.str.replace_all(",", "") if decimal == "." else text.str.replace_all(r"\.", "").str.replace(",", ".")
    return text.cast(polars.String)


def has_leading_zeros(column: polars.Series) -> bool:
    """Whether text has digits that begin with a zero, such as `007`."""
    return bool(column.str.contains(LEADING_ZERO).any())


def unit_of(column: polars.Series) -> str:
    """What stands beside the digits of text, for a reason: ` (written with $)`, or nothing."""
    marks = (("%", "%"), ("$", r"\$"), ("€", "€"), ("£", "£"), ("¥", "¥"), ("₹", "₹"))
    found = [mark for mark, pattern in marks if column.str.contains(pattern).any()]
    return f" (written with {' '.join(found)})" if found else ""
