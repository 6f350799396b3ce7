"""The way back: Esc goes one level back on every screen, and every screen says where it leads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from configuring import configure
from run_directories import RunMaker
from textual.pilot import Pilot
from textual.widgets import Input
from tui_host import burst, screen_text, until

from forge_tui.client.run import Run
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.tui.app import ForgeApp
from forge_tui.tui.choices import UiChoices
from forge_tui.tui.dialogs.palette import Palette
from forge_tui.tui.dialogs.pick import PickScreen
from forge_tui.tui.screens.watch import WatchScreen
from forge_tui.tui.way_back import WayBack


def front(app: ForgeApp) -> str:
    assert app.front is not None
    return app.front.name_of_screen


async def press(pilot: Pilot[Any], *keys: str) -> None:
    await pilot.press(*keys)
    await pilot.pause()


def attached(maker: RunMaker, state: Path) -> ForgeApp:
    models = [maker.model(index, TrainingPhase.TRAINING, epoch=9) for index in (1, 2)]
    path = maker.make("1123-planner", RunState.RUNNING, models)
    return ForgeApp(run=Run(path), host="ada@server", choices=UiChoices(state), monitor=False)


def test_the_way_back_is_the_way_one_came_and_no_circle() -> None:
    way = WayBack("configure")
    assert (way.behind, way.back()) == (None, None)
    for name in ("watch", "runs", "watch"):
        way.go(name)
    assert way.back() == "configure"
    assert way.back() is None
    attached = WayBack("watch")
    assert attached.back() == "runs"  # a run stands in the list of runs
    assert attached.back() is None


async def test_esc_goes_from_screen_to_screen_one_level_at_a_time(maker: RunMaker, state: Path) -> None:
    app = attached(maker, state)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.controller.snapshot is not None and isinstance(app.screen, WatchScreen))
        await press(pilot, "1")
        await until(pilot, lambda: front(app) == "configure")
        await press(pilot, "escape")
        await until(pilot, lambda: front(app) == "watch")
        await press(pilot, "enter")
        await until(pilot, lambda: front(app) == "model")
        await press(pilot, "z", "escape")
        assert front(app) == "model"  # the zoom was the first level
        await press(pilot, "escape")
        await until(pilot, lambda: front(app) == "watch")
        await press(pilot, "escape")
        await until(pilot, lambda: front(app) == "runs" and app.front is not None and app.front.is_there)
        await press(pilot, "escape")
        assert front(app) == "runs"
        assert "there is no previous screen" in app.status.plain


@pytest.mark.parametrize("key", ["escape", "backspace"])
async def test_in_the_list_esc_clears_first_a_zoom_then_a_filter(maker: RunMaker, state: Path, key: str) -> None:
    app = attached(maker, state)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.controller.snapshot is not None and isinstance(app.screen, WatchScreen))
        screen = app.screen
        assert isinstance(screen, WatchScreen)
        await until(pilot, lambda: screen.is_there and screen.table.models)
        await press(pilot, "slash", "_", "2", "enter", "z")
        assert screen.table.shown_names == ("cognate_planner_2",)
        await press(pilot, key)
        assert screen.panes.zoomed is None
        assert screen.table.shown_names == ("cognate_planner_2",)
        await press(pilot, key)
        assert len(screen.table.shown_names) == 2
        assert app.screen is screen


async def test_backspace_at_the_start_of_the_filter_closes_it(maker: RunMaker, state: Path) -> None:
    app = attached(maker, state)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.controller.snapshot is not None and isinstance(app.screen, WatchScreen))
        screen = app.screen
        assert isinstance(screen, WatchScreen)
        await until(pilot, lambda: screen.is_there and screen.table.models)
        await press(pilot, "slash", "2", "backspace")
        assert screen.query_one("#filter", Input).has_class("-open")
        await press(pilot, "backspace")
        assert not screen.query_one("#filter", Input).has_class("-open")
        await press(pilot, "slash", "2", "home", "backspace")
        assert (screen.table.filter_text, screen.table.has_focus) == ("", True)


@pytest.mark.usefixtures("working_directory")
async def test_dialogs_with_a_line_to_type_in_go_back_one_level_too(state: Path) -> None:
    async with configure(state) as hand:
        await hand.press("ctrl+o")
        await hand.until(lambda: isinstance(hand.app.screen, PickScreen))
        await hand.press("slash", "x", "escape")
        assert isinstance(hand.app.screen, PickScreen)
        await hand.press("slash", "backspace")
        assert isinstance(hand.app.screen, PickScreen)
        await hand.press("escape")
        assert hand.app.screen is hand.screen
        await hand.press("colon")
        await hand.until(lambda: isinstance(hand.app.screen, Palette))
        await hand.press("x", "backspace")
        assert isinstance(hand.app.screen, Palette)
        await hand.press("backspace")
        assert hand.app.screen is hand.screen


async def test_esc_in_a_burst_of_keys_comes_in_its_turn(maker: RunMaker, state: Path) -> None:
    app = attached(maker, state)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.controller.snapshot is not None and isinstance(app.screen, WatchScreen))
        await until(pilot, lambda: app.front is not None and app.front.is_there)
        burst(app, "slash", "2", "escape", "escape", "1")
        await until(pilot, lambda: front(app) == "configure" and app.front is not None and app.front.is_there)


WAYS = "Esc Back 1 Conf 2 Watch 3 Runs ? Help q Quit"


async def test_every_screen_says_its_name_the_way_back_and_to_the_three_at_80_columns(
    maker: RunMaker, state: Path
) -> None:
    app = attached(maker, state)

    def first_and_last() -> tuple[str, str]:
        lines = screen_text(app).splitlines()
        return lines[0], lines[-1]

    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.controller.snapshot is not None and isinstance(app.screen, WatchScreen))
        for keys, name, title in (
            (("2",), "watch", "Watch"),
            (("enter",), "model", "Model"),
            (("1",), "configure", "Configure"),
            (("3",), "runs", "Runs"),
        ):
            await press(pilot, *keys)
            await until(pilot, lambda name=name: front(app) == name and app.front is not None and app.front.is_there)
            await pilot.pause()
            header, footer = first_and_last()
            assert header.startswith(f"{title} · ")
            assert footer.endswith(WAYS), footer
        await until(pilot, lambda: "1123-planner" in screen_text(app))
        await press(pilot, "space", "C")
        if front(app) == "compare":
            assert first_and_last()[1].endswith(WAYS)
