"""Filters of lists: words that must match, `!word` that must not, and letters in order where no text has the word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")
_FEWEST_LETTERS = 3


class Found(NamedTuple):
    """The places of the items that match, in their order; `by_letters`: a word was found by its letters only."""

    places: list[int]
    by_letters: bool = False


def find(text: str, items: Sequence[Item], has: Callable[[Item, str], bool], name: Callable[[Item], str]) -> Found:
    """The items that match all words of `text`.

    `has` says whether an item matches a word (in lower case). A word that none of them matches is compared with the
    letters of each `name` instead: from three letters on, those must follow one another in it, as `cp5` in
    `cognate_planner_5`. `!word` leaves out what matches the word; a single `!` is not a word yet.
    """
    found = list(range(len(items)))
    by_letters = False
    for word in text.casefold().split():
        if word.startswith("!"):
            unwanted = word[1:]
            if unwanted:
                found = [place for place in found if not has(items[place], unwanted)]
            continue
        exact = [place for place in found if has(items[place], word)]
        if not exact and found and len(word) >= _FEWEST_LETTERS:
            exact = [place for place in found if in_order(word, name(items[place]).casefold())]
            by_letters = by_letters or bool(exact)
        found = exact
    return Found(found, by_letters)


def in_order(letters: str, text: str) -> bool:
    """Whether `letters` follow one another in `text`, with anything between them."""
    start = 0
    for letter in letters:
        start = text.find(letter, start) + 1
        if not start:
            return False
    return True


def summary(text: str, by_letters: bool) -> str:
    """The filter as a list shows it."""
    return f"filter {text} (its letters)" if by_letters else f"filter {text}"
