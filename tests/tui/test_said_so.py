"""What the keys act on, which messages are shown in full, and what is drawn in ASCII."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from configuring import configure
from run_directories import RunMaker
from textual.pilot import Pilot
from textual.widgets import OptionList
from tui_host import burst, screen_text, until

from forge_tui import client
from forge_tui.client.run import Run
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.runs import commands
from forge_tui.settings.schema import Settings
from forge_tui.tui.app import ForgeApp
from forge_tui.tui.choices import UiChoices
from forge_tui.tui.dialogs.pick import PickScreen
from forge_tui.tui.dialogs.questions import Question, Reading
from forge_tui.tui.options import UiOptions
from forge_tui.tui.screens.watch import WatchScreen


@pytest.fixture
def live(maker: RunMaker) -> Path:
    return maker.make(
        "1123-planner", RunState.RUNNING, [maker.model(index, TrainingPhase.TRAINING, epoch=9) for index in (1, 2, 3)]
    )


def at(path: Path, state: Path, **options: Any) -> ForgeApp:
    return ForgeApp(run=Run(path), host="ada@server", choices=UiChoices(state), monitor=False, **options)


async def watch_of(app: ForgeApp, pilot: Pilot[Any]) -> WatchScreen:
    await until(pilot, lambda: app.controller.snapshot is not None and app.front is not None and app.front.is_there)
    screen = app.front
    assert isinstance(screen, WatchScreen)
    await until(pilot, lambda: screen.table.models)
    return screen


async def press(pilot: Pilot[Any], *keys: str) -> None:
    await pilot.press(*keys)
    await pilot.pause()


def sent(path: Path) -> list[str]:
    return sorted(command.arguments["model"] for command in commands.take(path))


async def test_marks_for_the_chart_are_no_targets_and_x_selects_several(live: Path, state: Path) -> None:
    app = at(live, state)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await watch_of(app, pilot)
        await press(pilot, "a", "x")
        await until(pilot, lambda: isinstance(app.screen, Question))
        assert "Cancel cognate_planner_1?" in screen_text(app)
        await press(pilot, "x")
        await until(pilot, lambda: list((live / "commands").glob("*.json")))
        assert sent(live) == ["cognate_planner_1"]
        await press(pilot, "j", "X", "X")
        assert screen.table.chosen == {"cognate_planner_2", "cognate_planner_3"}
        await press(pilot, "g")
        shown = screen_text(app)
        assert "2 selected (X)" in shown
        assert "2×cognate_planner_2" in shown  # its curve is the second, and it is selected
        await press(pilot, "x")
        await until(pilot, lambda: isinstance(app.screen, Question))
        assert "Cancel cognate_planner_2, cognate_planner_3?" in screen_text(app)
        await press(pilot, "x")
        await until(pilot, lambda: len(list((live / "commands").glob("*.json"))) == 2)
        assert sent(live) == ["cognate_planner_2", "cognate_planner_3"]
        await press(pilot, "A")
        assert not screen.table.chosen
        assert not screen.table.marks


async def test_keys_typed_while_a_run_starts_go_nowhere(
    live: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begins = threading.Event()
    monkeypatch.setattr(client, "start", lambda settings, **_: begins.wait(30) and Run(live))
    app = ForgeApp(host="ada@server", choices=UiChoices(state), monitor=False)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.draft.form is not None)
        before = app.draft.form
        app.start_run(Settings())
        await press(pilot, "right", "u", "x", "K", "s")
        burst(app, "K", "x", "enter", "t", "w")
        await pilot.pause()
        begins.set()
        await until(
            pilot, lambda: isinstance(app.front, WatchScreen) and app.front.is_there and app.controller.snapshot
        )
        await pilot.pause()

        assert app.draft.form is not None
        assert before is not None
        assert app.draft.form.plain() == before.plain()
        assert app.screen is app.front  # no question, no model
        assert commands.take(live) == []
        await press(pilot, "s")  # from now on they act
        await until(pilot, lambda: isinstance(app.screen, Question))


async def test_messages_are_read_in_full(live: Path, state: Path) -> None:
    app = at(live, state)
    long = "the reason " * 60 + "the end of it"
    async with app.run_test(size=(80, 24)) as pilot:
        await watch_of(app, pilot)
        app.tell(long, "error")
        for number in range(40):
            app.tell(f"message {number}")
        app.tell("message 39")  # said twice is said once
        await press(pilot, "M")
        assert isinstance(app.screen, Reading)
        assert app.screen.text.plain.count("message 39") == 1
        assert "message 39" in screen_text(app)
        assert "the end of it" not in screen_text(app)
        await press(pilot, "G")
        assert "the end of it" in screen_text(app)
        await press(pilot, "g", "escape")
        assert app.screen is app.front


async def test_the_mouse_says_where_it_cannot_be_switched(live: Path, state: Path) -> None:
    app = at(live, state, options=UiOptions(mouse=False))
    async with app.run_test(size=(80, 24)) as pilot:  # drawn by another driver than ours
        await watch_of(app, pilot)
        await until(pilot, lambda: app.status.messages)
        told = "mouse: it cannot be switched here, only on a terminal"
        assert [text for _, text, _ in app.status.messages] == [told]
        app.status.messages.clear()
        await press(pilot, "m")
        assert [text for _, text, _ in app.status.messages] == [told]


@pytest.mark.usefixtures("working_directory")
async def test_first_and_last_in_a_list_to_choose_from(state: Path) -> None:
    async with configure(state) as hand:
        await hand.press("ctrl+o")
        await hand.until(lambda: isinstance(hand.app.screen, PickScreen))
        options = hand.app.screen.query_one(OptionList)
        await hand.press("G")
        last = options.highlighted
        await hand.press("g")
        assert (last, options.highlighted) == (options.option_count - 1, 0)


@pytest.mark.parametrize("only_ascii", [False, True])
async def test_the_sentence_of_a_tiny_terminal_fits_into_30_by_10(live: Path, state: Path, only_ascii: bool) -> None:
    app = at(live, state, only_ascii=only_ascii)
    async with app.run_test(size=(30, 10)) as pilot:
        cross = "x" if only_ascii else "×"
        await until(pilot, lambda: screen_text(app).strip() == f"forge-tui needs 60{cross}15 cells.")


@pytest.mark.parametrize(
    "keys", [(), ("l",), ("enter",), ("question_mark",), ("colon",), ("s",), ("3",), ("1",), ("i",)]
)
async def test_in_ascii_nothing_else_is_drawn_on_any_screen(
    keys: tuple[str, ...], maker: RunMaker, state: Path
) -> None:
    models = [
        maker.model(1, TrainingPhase.TRAINING, epoch=9, reason="modèle 漢字", trend=(3.0, 2.0, None, 1.0)),
        maker.failed(2),
    ]
    path = maker.make("1123-planner", RunState.RUNNING, models, limit_reason="½ of 4 – no more")
    app = at(path, state, only_ascii=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await watch_of(app, pilot)
        await press(pilot, *keys)
        for _ in range(3):
            await pilot.pause()
            await asyncio.sleep(0)
        assert drawn(app).isascii()
        assert drawn(app).strip()


def drawn(app: ForgeApp) -> str:
    """What reaches the terminal: with the app's filters, as Textual's compositor applies them."""
    rows = app.screen._compositor.render_strips()
    background = app.screen.background_colors[1]
    filters = app.get_line_filters()
    texts: list[str] = []
    for row in rows:
        strip = row
        for each in filters:
            strip = strip.apply_filter(each, background)
        texts.append(strip.text)
    return "\n".join(texts)
