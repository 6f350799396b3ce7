"""Numbers as typed in flags and forms: `1e6`, `100k`, `2.5M`. Settings files keep TOML's syntax."""

from __future__ import annotations

from decimal import Decimal, DecimalException

_UNITS = {"k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9)}
_MOST_DIGITS = 40
"""Limits the digits of a whole number: 1e999999999 would take all memory."""


def whole_number(text: str) -> int:
    """The whole number of a text such as `200`, `100k` or `1e6`; not `5.0`. Raises `ValueError`."""
    try:
        return int(text)
    except ValueError:
        if not set(text) & {"e", "E", *_UNITS}:
            raise
    value = _decimal(text)
    if value.adjusted() > _MOST_DIGITS or value != value.to_integral_value():
        raise ValueError(f"not a whole number: {text!r}")
    return int(value)


def real_number(text: str) -> float:
    """The number of a text such as `0.001`, `3e-4` or `1.5k`. Raises `ValueError`."""
    try:
        return float(text)
    except ValueError:
        return float(_decimal(text))


def _decimal(text: str) -> Decimal:
    unit = _UNITS.get(text.strip()[-1:], Decimal(1))
    digits = text.strip() if unit == 1 else text.strip()[:-1]
    try:
        value = Decimal(digits) * unit
    except DecimalException:
        raise ValueError(f"not a number: {text!r}") from None
    if not value.is_finite():
        raise ValueError(f"not a finite number: {text!r}")
    return value


whole_number.__name__ = "whole number"  # argparse names the type by it
