"""Filters of lists: several words, words that must not match, and letters in order."""

from __future__ import annotations

import pytest

from forge_tui.tui.word_filter import find, in_order, summary

NAMES = ["cognate_planner_5", "cognate_reasoner_5", "cognate_planner_15", "night run"]


def found(text: str) -> list[int]:
    return find(text, NAMES, lambda name, word: word in name, lambda name: name).places


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("", [0, 1, 2, 3]),
        ("planner", [0, 2]),
        ("Planner 15", [2]),  # in any order, and in any case
        ("15 planner", [2]),
        ("!planner", [1, 3]),
        ("cognate !15 !reasoner", [0]),
        ("! planner", [0, 2]),  # still being typed
        ("cp5", [0, 2]),  # no name has this word: its letters in order
        ("rsn5", [1]),
        ("cp5 !15", [0]),
        ("5pc", []),
        ("c5", []),  # two letters would match nearly everything
        ("5", [0, 1, 2]),
    ],
)
def test_what_a_filter_finds(text: str, places: list[int]) -> None:
    assert found(text) == places


def test_letters_count_only_where_no_text_has_the_word() -> None:
    names = ["nit", "night run"]
    one = find("nit", names, lambda name, word: word in name, lambda name: name)
    assert (one.places, one.by_letters) == ([0], False)
    two = find("nru", names, lambda name, word: word in name, lambda name: name)
    assert (two.places, two.by_letters) == ([1], True)
    assert summary("nit", one.by_letters) == "filter nit"
    assert summary("nru", two.by_letters) == "filter nru (its letters)"


def test_the_letters_of_a_word_may_repeat() -> None:
    assert in_order("aab", "xaxaxb")
    assert not in_order("aab", "xaxb")
    assert in_order("", "")
