"""What the settings say a column is, and how that is changed."""

from __future__ import annotations

import pytest

from forge_tui.settings.schema import DataSettings, Settings, fields_of
from forge_tui.settings.setting_layers import Layer, Source
from forge_tui.tui.form.column_kinds import LISTS, Declared, declare, declared, following, swept_list
from forge_tui.tui.form.form_values import Form, form_of

NAMES = ("x1", "x2", "x3", "x*", "a[1]", "a1", "")


def form(**data: tuple[str, ...]) -> Form:
    return form_of(Settings(data=DataSettings(**data)), {key.key: Source(Layer.DEFAULT) for key in fields_of()})


def lists(found: Form) -> dict[str, list[str]]:
    return {name: list(found.values[name]) for name in LISTS.values() if found.values[name]}


def test_each_kind_is_a_list_that_has_the_columns_name_as_it_is() -> None:
    found = form()
    for what, expected in (
        (Declared.NUMBER, {"data.numbers": ["a[1]"]}),
        (Declared.CATEGORY, {"data.categories": ["a[1]"]}),
        (Declared.DATE, {"data.dates": ["a[1]"]}),
        (Declared.IGNORED, {"data.ignore": ["a[1]"]}),
        (Declared.AUTO, {}),
    ):
        found = declare(found, "a[1]", what, NAMES)
        assert lists(found) == expected
        says = dict(zip(NAMES, declared(found, NAMES), strict=True))
        assert says["a[1]"] is what
        assert says["a1"] is Declared.AUTO  # which the pattern a[1] would mean


def test_an_existing_name_is_no_pattern() -> None:
    found = declare(form(), "x*", Declared.IGNORED, NAMES)
    assert [name for name, what in zip(NAMES, declared(found, NAMES), strict=True) if what is Declared.IGNORED] == [
        "x*"
    ]


def test_a_pattern_that_says_otherwise_becomes_the_names_of_the_other_columns() -> None:
    found = declare(form(categories=("x?", "a1")), "x2", Declared.NUMBER, NAMES)
    assert lists(found) == {"data.numbers": ["x2"], "data.categories": ["x1", "x3", "x*", "a1"]}


def test_a_pattern_that_says_so_already_stays() -> None:
    found = form(categories=("x?",), ignore=("x1",))
    assert lists(declare(found, "x1", Declared.CATEGORY, NAMES)) == {"data.categories": ["x?"]}


def test_ignored_counts_before_the_kinds() -> None:
    assert declared(form(numbers=("x1",), ignore=("x1",)), NAMES)[0] is Declared.IGNORED


def test_names_are_compared_without_spaces_around_them() -> None:
    found = form(numbers=(" x1 ",))
    assert declared(found, NAMES)[0] is Declared.NUMBER
    assert lists(declare(found, "x1", Declared.AUTO, NAMES)) == {}


def test_a_column_without_a_name_is_named_by_an_empty_text() -> None:
    assert lists(declare(form(), "", Declared.IGNORED, NAMES)) == {"data.ignore": [""]}


def test_the_kinds_are_a_circle() -> None:
    what, seen = Declared.AUTO, []
    for _ in Declared:
        what = following(what, 1)
        seen.append(str(what))
    assert seen == ["number", "category", "date", "ignored", "auto"]
    assert following(Declared.AUTO, -1) is Declared.IGNORED


@pytest.mark.parametrize("column", ["x1", "a[1]", ""])
def test_the_settings_stay_valid(column: str) -> None:
    found = declare(form(), column, Declared.CATEGORY, NAMES)
    assert found.errors() == {}
    assert found.settings().data.categories == (column,)
    assert swept_list(found) is None
