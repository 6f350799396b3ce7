"""Configure: sections opened and folded, and settings found, by keys and by the mouse."""

from __future__ import annotations

from pathlib import Path

import pytest
from configuring import configure, lines
from textual.widgets import Input

from forge_tui.tui.choices import UiChoices
from forge_tui.tui.form.folding import row_of

pytestmark = pytest.mark.usefixtures("working_directory")
RATE = "training.learning_rate"


async def test_the_first_screen_fits_at_80_columns_and_its_keys_say_more(state: Path) -> None:
    async with configure(state) as hand:
        drawn = "\n".join(lines(hand))
        for text in ("Train ", "Dataset ", "Target column", "Mode ", "Workers ", "Models ", "Epochs ", "▸ Training ",
                     "▸ Engine"):  # fmt: skip
            assert text in drawn
        assert "Learning rate" not in drawn
        assert "f More / Find" in drawn.splitlines()[-1]
        assert drawn.splitlines()[-2].startswith("What to train, and on which data.")


async def test_f_shows_all_settings_and_folds_them_again_and_is_remembered(state: Path) -> None:
    async with configure(state) as hand:
        await hand.press("f")
        assert hand.item(RATE).value == "0.001"
    async with configure(state) as hand:
        assert hand.item(RATE).value == "0.001"
        await hand.press("f")
        assert RATE not in [row.name for row in hand.panel.pane.settings.rows]
    assert UiChoices(state).get("open_sections", ["?"]) == []


async def test_a_section_opens_by_enter_arrows_and_a_click(state: Path) -> None:
    async with configure(state) as hand:
        settings = hand.panel.pane.settings

        def is_open() -> bool:
            return any(row.name == RATE for row in settings.rows)

        assert settings.select(row_of("Training"))
        seen = []
        for key in ("enter", "enter", "right", "right", "left", "space"):
            await hand.press(key)
            seen.append(is_open())
        assert seen == [True, False, True, True, False, True]
        assert settings.selected == row_of("Training")
        place = next(number for number, line in enumerate(lines(hand)) if "▾ Training" in line)
        await hand.pilot.click(offset=(6, place))
        await hand.pilot.pause()
        assert not is_open()
        assert hand.form.changed() == ()


async def test_moving_passes_sections_and_a_section_has_no_value(state: Path) -> None:
    async with configure(state) as hand:
        settings = hand.panel.pane.settings
        await hand.press("G")
        assert settings.selected == row_of(hand.form.sections()[-1].title)
        before = hand.form
        await hand.press("u", "V", "delete")
        assert hand.form is before
        assert not hand.panel.pane.is_open
        assert hand.app.screen is hand.screen
        facts = "\n".join(lines(hand))
        assert " settings: " in facts
        assert "Enter opens or folds the section" in facts


async def test_a_search_lists_folded_settings_and_esc_unfolds_what_was_chosen(state: Path) -> None:
    async with configure(state) as hand:
        settings = hand.panel.pane.settings
        await hand.press("slash")
        await hand.type("learning")
        assert RATE in [row.name for row in settings.rows]
        assert "filter learning" in hand.title
        assert settings.selected == RATE  # others only have the word in their help
        await hand.press("enter", "escape")
        assert settings.selected == RATE
        assert hand.item("training.optimizer")
        assert "filter" not in hand.title
        await hand.press("right", "f", "f")  # the list has the keys again
        assert hand.form.values[RATE] == 0.002
        assert [row.name for row in settings.rows if row.name.startswith("training.")][-1] == RATE  # changed: in sight


async def test_a_search_without_a_match_says_so_and_changes_nothing(state: Path) -> None:
    async with configure(state) as hand:
        await hand.press("slash")
        await hand.type("zzzz")
        assert "No setting has these words" in "\n".join(lines(hand))
        await hand.press("escape")
        assert hand.panel.pane.settings.selected is not None
        assert UiChoices(state).get("open_sections", ["?"]) == ["?"]
        assert not hand.screen.query_one("#filter", Input).has_class("-open")


async def test_a_wrong_setting_is_listed_when_a_start_is_refused_in_a_search(state: Path) -> None:
    async with configure(state) as hand:
        await hand.select("training.epochs")
        await hand.press("enter", "0", "enter", "slash")
        await hand.type("momentum")
        await hand.press("enter", "ctrl+r")
        assert hand.app.started == []
        assert hand.panel.pane.settings.selected == "training.epochs"
        assert "1 to fix" in hand.title
