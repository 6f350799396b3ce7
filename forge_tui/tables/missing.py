"""What counts as a missing value."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars

# The list of pandas.read_csv, and what UCI's, Stata's and spreadsheets' files have.
WORDS = frozenset(
    (
        *("", "#n/a", "#n/a n/a", "#na", "-1.#ind", "-1.#qnan", "-nan", "1.#ind", "1.#qnan", "<na>", "n/a", "na"),
        *("nan", "none", "null", "?", "-", ".", "nat"),
    )
)
"""In lower case: words are compared without case, and without spaces around them."""


def words_with(more: Sequence[str]) -> frozenset[str]:
    """The usual words and those of `data.missing`."""
    return WORDS | {word.strip().lower() for word in more}


def filled(column: polars.Series, words: frozenset[str]) -> polars.Series:
    """The column with null for each missing value: text without spaces around it, numbers, others unchanged.

    NaN is missing; a number is if a word of `words` is that number. Infinities stay.
    """
    import polars

    if column.dtype == polars.String:
        text = column.str.strip_chars()
        return _without(text, text.str.to_lowercase().is_in(list(words)))
    if column.dtype.is_float():
        column = column.fill_nan(None)
    if column.dtype.is_numeric():
        numbers = numbers_among(words)
        if numbers:
            return _without(column, column.cast(polars.Float64, strict=False).is_in(list(numbers)))
    return column


@lru_cache(maxsize=8)
def numbers_among(words: frozenset[str]) -> tuple[float, ...]:
    """The words that are numbers."""
    return tuple(number for word in words if (number := _number(word)) is not None)


def _without(column: polars.Series, wrong: polars.Series) -> polars.Series:
    wrong = wrong.fill_null(value=False)
    return column.set(wrong, None) if wrong.any() else column


def _number(word: str) -> float | None:
    try:
        found = float(word)
    except ValueError:
        return None
    return None if found != found else found
