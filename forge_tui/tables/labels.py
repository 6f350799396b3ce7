"""Values of a target as the numbers of a model's classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from forge_tui.tables.kinds import booleans_of, texts_of
from forge_tui.tables.missing import filled
from forge_tui.tables.numbers import numbers_of
from forge_tui.tables.target import Label

if TYPE_CHECKING:
    import polars


def class_numbers(
    values: polars.Series, classes: Sequence[Label], words: frozenset[str], decimal: str = "."
) -> polars.Series:
    """The place of each value among the labels, int64 (N,): -1 for an unknown one, null where it is missing."""
    import polars

    plain = values if values.dtype.is_numeric() or values.dtype == polars.String else values.cast(polars.String)
    values = filled(plain, words)
    kinds = {type(label) for label in classes}
    known: dict[object, int]
    if kinds == {bool}:
        found: polars.Series = booleans_of(values)
        known = {label: place for place, label in enumerate(classes)}
    elif kinds <= {int, float}:
        found = numbers_of(values, decimal)
        known = {float(label): place for place, label in enumerate(classes)}
    else:
        found = texts_of(values)
        known = {str(label): place for place, label in enumerate(classes)}
    places = found.replace_strict(known, default=-1, return_dtype=polars.Int64)
    return places.fill_null(-1).set(values.is_null(), None)
