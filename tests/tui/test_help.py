"""The help: what the screen is for, all its keys, and a search in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from run_directories import RunMaker
from textual.pilot import Pilot
from textual.widgets import Input
from tui_host import Host, screen_text, until

from forge_tui.client.run import Run
from forge_tui.tui.bindings import PURPOSES
from forge_tui.tui.choices import UiChoices
from forge_tui.tui.dialogs.help import HelpScreen
from forge_tui.tui.screens.watch import WatchScreen


async def help_of(app: Host, pilot: Pilot[Any]) -> HelpScreen:
    await until(pilot, lambda: app.front is not None and app.front.is_there)
    await pilot.press("question_mark")
    await until(pilot, lambda: isinstance(app.screen, HelpScreen))
    assert isinstance(app.screen, HelpScreen)
    return app.screen


async def test_a_search_leaves_only_what_matches_and_esc_brings_all_back(maker: RunMaker, state: Path) -> None:
    app = Host(WatchScreen, run=Run(maker.make("done")), choices=UiChoices(state))
    async with app.run_test(size=(80, 24)) as pilot:
        found = await help_of(app, pilot)
        assert PURPOSES["watch"] in screen_text(app)
        await pilot.press("slash", *"smoothing")
        await until(pilot, lambda: "Chart" in screen_text(app) and "pause the run" not in found.text.plain)
        assert "S  " in found.text.plain
        assert "end this model" not in found.text.plain
        await pilot.press("enter", "j")  # the text is scrolled again
        assert found.query_one(Input).value == "smoothing"
        await pilot.press("escape")
        assert app.screen is found
        assert "end this model" in found.text.plain
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.front)


async def test_a_key_is_found_by_itself_and_no_match_says_so(maker: RunMaker, state: Path) -> None:
    app = Host(WatchScreen, run=Run(maker.make("done")), choices=UiChoices(state))
    async with app.run_test(size=(80, 24)) as pilot:
        found = await help_of(app, pilot)
        await pilot.press("slash", "greater_than_sign")
        await until(pilot, lambda: "at a later epoch" in found.text.plain and "log pane" not in found.text.plain)
        await pilot.press(*"zzzz")
        await until(pilot, lambda: "No key has that in its help." in screen_text(app))
        await pilot.press("escape", "q")
        await until(pilot, lambda: app.screen is app.front)


async def test_the_palette_finds_letters_in_order(state: Path) -> None:
    app = Host(WatchScreen, choices=UiChoices(state))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.front is not None and app.front.is_there)
        await pilot.press("colon", *"fltr")
        await until(pilot, lambda: "> Filter" in screen_text(app))
