"""Which settings the form lists: the most used, those that matter, whole sections, and what a search finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from forge_tui.tui.choices import UiChoices
from forge_tui.tui.form.fields import FIRST
from forge_tui.tui.form.folding import Folding, row_of, section_of
from forge_tui.tui.form.form_values import Form
from forge_tui.tui.form.kinds import Kind
from forge_tui.tui.form.lines import about_section, items
from forge_tui.tui.form.settings_rows import Heading, Item
from forge_tui.tui.form.source import FormSource, fill_form
from forge_tui.tui.widgets.glyphs import UNICODE


@pytest.fixture
def form() -> Form:
    return fill_form(FormSource(), {}).form


@pytest.fixture
def folding(tmp_path: Path) -> Folding:
    return Folding(UiChoices(tmp_path / "ui.json"), lambda: None)


def listed(form: Form, folding: Folding) -> list[str]:
    """The rows: full names of settings, and titles of sections."""
    rows = items(form, form.errors(), None, UNICODE, folding=folding)
    return [row.name if isinstance(row, Item) else row.title for row in rows]


def headings(form: Form, folding: Folding) -> dict[str, Heading]:
    rows = items(form, form.errors(), None, UNICODE, folding=folding)
    return {row.title: row for row in rows if isinstance(row, Heading)}


def test_first_come_what_is_trained_the_data_and_six_settings_the_rest_is_folded(form: Form, folding: Folding) -> None:
    assert listed(form, folding) == ["kind", *FIRST, *(section.title for section in form.sections()[1:])]
    assert {"Training", "Run", "Data", "Resources", "Engine"} <= set(headings(form, folding))
    assert len(FIRST) == 6
    training = headings(form, folding)["Training"]
    count = len(next(section for section in form.sections() if section.title == "Training").keys)
    assert (training.is_open, training.note) == (False, f"{count} settings")
    assert section_of(training.name) == "Training"


@pytest.mark.parametrize("kind", [Kind.CUSTOM, Kind.FUNCTION, Kind.COMMAND])
def test_custom_code_is_named_above_the_others(form: Form, folding: Folding, kind: Kind) -> None:
    rows = listed(form.train(kind), folding)
    assert rows[:2] == ["kind", kind.setting]
    assert len(rows[2 : rows.index("Training") if "Training" in rows else rows.index("Run")]) <= 6


def test_a_section_is_opened_alone_or_with_all_others(form: Form, folding: Folding) -> None:
    folding.toggle("Engine")
    assert "engine.name" in listed(form, folding)
    assert "training.learning_rate" not in listed(form, folding)
    folding.toggle_all(form.sections())
    every = {key.key for section in form.sections() for key in section.keys}
    assert every <= set(listed(form, folding))
    assert all(heading.is_open and not heading.note for heading in headings(form, folding).values())
    folding.toggle_all(form.sections())
    assert "engine.name" not in listed(form, folding)


def test_what_is_open_is_remembered_and_what_a_search_uncovered_is_not(form: Form, tmp_path: Path) -> None:
    def again() -> Folding:
        return Folding(UiChoices(tmp_path / "ui.json"), lambda: None)

    first = again()
    first.set_open("Data", True)
    first.uncover("Run")
    assert {"data.normalise", "run.seed"} <= set(listed(form, first))
    second = again()
    assert "data.normalise" in listed(form, second)
    assert "run.seed" not in listed(form, second)
    second.set_open("Data", False)
    assert "data.normalise" not in listed(form, again())


def test_damaged_choices_fold_everything(form: Form, tmp_path: Path) -> None:
    choices = UiChoices(tmp_path / "ui.json")
    choices.put("open_sections", [1, None, "Nowhere"])
    assert "Training" in listed(form, Folding(choices, lambda: None))
    assert "training.learning_rate" not in listed(form, Folding(choices, lambda: None))


def test_changed_and_wrong_settings_are_never_out_of_sight(form: Form, folding: Folding) -> None:
    changed = (
        form.edit("training.learning_rate", "0.5").edit("run.seed", "x").edit_values("training.batch_size", "8,16")
    )
    rows = listed(changed, folding)
    for name in ("training.learning_rate", "run.seed", "training.batch_size"):
        assert name in rows
    total = len(next(section for section in form.sections() if section.title == "Training").keys)
    assert headings(changed, folding)["Training"].note == f"{total - 2} more settings"


@pytest.mark.parametrize(
    ("words", "found", "not_found"),
    [
        ("learning rate", "training.learning_rate", "run.seed"),
        ("--seed", "run.seed", "training.learning_rate"),
        ("warm", "training.warmup_steps", "run.seed"),
        ("lrnr", "training.learning_rate", "run.seed"),  # its letters
        ("seed !run", "training.learning_rate", "run.seed"),
    ],
)
def test_a_search_finds_folded_settings(form: Form, folding: Folding, words: str, found: str, not_found: str) -> None:
    folding.search(words)
    rows = listed(form, folding)
    if words != "seed !run":
        assert found in rows
    assert not_found not in rows
    assert "kind" not in rows
    folding.search("")
    assert listed(form, folding)[0] == "kind"


def test_sections_without_a_match_have_no_heading(form: Form, folding: Folding) -> None:
    folding.search("momentum")
    assert "Engine" not in listed(form, folding)
    folding.search("no such words")
    assert listed(form, folding) == []


def test_a_section_says_what_is_in_it(form: Form) -> None:
    words = about_section(form, "Training")
    assert words.startswith(
        f"{len(form.sections()[1].keys)} settings: Model type, Model size, Batch size, Learning rate"
    )
    assert section_of("training.epochs") is None
    assert section_of(None) is None
    assert section_of(row_of("Data")) == "Data"
