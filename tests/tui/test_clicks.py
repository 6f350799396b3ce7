"""The mouse: keys at the bottom, tabs, answers and actions are clicked on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from run_directories import RunMaker
from textual.pilot import Pilot
from tui_host import screen_text, until

from forge_tui.client.run import Run
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.runs import commands
from forge_tui.tui.app import ForgeApp
from forge_tui.tui.bindings import PURPOSES, TITLES
from forge_tui.tui.choices import UiChoices
from forge_tui.tui.dialogs.help import HelpScreen
from forge_tui.tui.dialogs.palette import Palette
from forge_tui.tui.dialogs.questions import Question
from forge_tui.tui.screens.runs import RunsScreen
from forge_tui.tui.screens.watch import WatchScreen
from forge_tui.tui.widgets.footer import FooterLine
from forge_tui.tui.widgets.line import Line


@pytest.fixture
def live(maker: RunMaker) -> Path:
    models = [maker.model(index, TrainingPhase.TRAINING, epoch=9) for index in (1, 2)]
    return maker.make("1123-planner", RunState.RUNNING, models)


def watching(path: Path, state: Path) -> ForgeApp:
    return ForgeApp(run=Run(path), host="ada@server", choices=UiChoices(state), monitor=False)


async def watch_of(app: ForgeApp, pilot: Pilot[Any]) -> WatchScreen:
    await until(pilot, lambda: app.controller.snapshot is not None and app.front is not None and app.front.is_there)
    assert isinstance(app.front, WatchScreen)
    return app.front


async def click(pilot: Pilot[Any], text: str) -> None:
    """Click on a text of the terminal, on its last occurrence."""
    rows = screen_text(pilot.app).splitlines()
    place = max(number for number, row in enumerate(rows) if text in row)
    await pilot.click(offset=(rows[place].rindex(text) + 1, place))
    await pilot.pause()


async def test_a_key_at_the_bottom_is_clicked(live: Path, state: Path) -> None:
    app = watching(live, state)
    async with app.run_test(size=(80, 24)) as pilot:
        await watch_of(app, pilot)
        await until(pilot, lambda: "s Stop" in screen_text(app))
        await click(pilot, "s Stop")
        await until(pilot, lambda: isinstance(app.screen, Question))
        assert commands.take(live) == []
        await click(pilot, "b  Back")
        await until(pilot, lambda: isinstance(app.screen, WatchScreen))
        await click(pilot, "? Help")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))


async def test_the_three_screens_are_tabs(live: Path, state: Path) -> None:
    app = watching(live, state)
    async with app.run_test(size=(80, 24)) as pilot:
        await watch_of(app, pilot)
        await click(pilot, "3 Runs")
        await until(pilot, lambda: isinstance(app.front, RunsScreen) and app.front.is_there)
        await click(pilot, "2 Watch")
        await until(pilot, lambda: isinstance(app.front, WatchScreen) and app.front.is_there)


async def test_the_panes_are_tabs(live: Path, state: Path) -> None:
    app = watching(live, state)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await watch_of(app, pilot)
        await until(pilot, lambda: "[c Chart]" in screen_text(app))
        await click(pilot, "l Log")
        await until(pilot, lambda: screen.panes.log_shown and not screen.panes.chart_shown)
        await until(pilot, lambda: "[l Log]" in screen_text(app))
        await click(pilot, "L Output")
        await until(pilot, lambda: screen.panes.output_shown)
        await until(pilot, lambda: "[L Output]" in screen_text(app))
        await click(pilot, "c Chart")
        await until(pilot, lambda: screen.panes.chart_shown)


async def test_the_machine_and_the_live_runs_are_clicked(live: Path, state: Path) -> None:
    app = ForgeApp(host="ada@server", choices=UiChoices(state), monitor=False)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "1 live run: 3" in screen_text(app))
        await click(pilot, "i resources")
        assert app.appearance.sidebar_whole
        await pilot.press("i")
        await until(pilot, lambda: "1 live run: 3" in screen_text(app))
        await click(pilot, "1 live run: 3")
        await until(pilot, lambda: isinstance(app.front, RunsScreen))


async def test_an_answer_is_clicked(live: Path, state: Path) -> None:
    app = watching(live, state)
    async with app.run_test(size=(80, 24)) as pilot:
        await watch_of(app, pilot)
        await pilot.press("K")
        await until(pilot, lambda: isinstance(app.screen, Question))
        question = app.screen
        await pilot.click(offset=(2, 2))  # beside the dialog
        assert app.screen is question
        await click(pilot, "End at once")
        await until(pilot, lambda: list((live / "commands").glob("*.json")))
        assert [command.name for command in commands.take(live)] == ["kill"]


async def test_an_action_of_the_palette_is_clicked(live: Path, state: Path) -> None:
    app = watching(live, state)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await watch_of(app, pilot)
        await until(pilot, lambda: screen.table.models)
        await pilot.press("colon", *"mark")
        await until(pilot, lambda: isinstance(app.screen, Palette))
        await click(pilot, "Mark all")
        await until(pilot, lambda: len(screen.table.marks) == 2)


async def test_while_a_run_starts_a_click_is_dropped_as_its_key_is(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = ForgeApp(host="ada@server", choices=UiChoices(state), monitor=False)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.draft.form is not None and app.front is not None and app.front.is_there)
        monkeypatch.setattr(type(app.controller), "is_starting", True)
        await click(pilot, "f More")
        assert "Learning rate" not in screen_text(app)
        await click(pilot, "? Help")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
async def test_each_key_at_the_bottom_covers_its_own_cells(live: Path, state: Path, width: int) -> None:
    app = watching(live, state)
    async with app.run_test(size=(width, 24)) as pilot:
        screen = await watch_of(app, pilot)
        await until(pilot, lambda: "q Quit" in screen_text(app))
        footer = screen.query_one(FooterLine)
        text = footer.text.plain
        assert footer.spots[-1].action == "leave"
        assert text[footer.spots[-1].start : footer.spots[-1].end] == "q Quit"
        for before, after in zip(footer.spots, footer.spots[1:], strict=False):
            assert text[before.end : after.start].isspace()
        assert footer.spots[-1].end <= width


async def test_the_last_line_but_one_says_what_the_screen_is_for_until_there_is_a_message(
    live: Path, state: Path
) -> None:
    app = watching(live, state)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await watch_of(app, pilot)

        def line() -> str:
            return screen.query_one("#status", Line).text.plain

        await until(pilot, lambda: line() == PURPOSES["watch"])
        app.tell("something else")
        assert line() == "something else"
        app.tell("")
        assert line() == PURPOSES["watch"]
    assert PURPOSES.keys() == TITLES.keys()
    assert all(len(purpose) <= 80 for purpose in PURPOSES.values())
