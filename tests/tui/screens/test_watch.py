"""Watch and the shell: every action by its keys, on run directories as a runner leaves them."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from run_directories import RunMaker
from textual.actions import parse
from textual.pilot import Pilot
from tui_host import burst, screen_text

from forge_tui import client
from forge_tui.client.run import Run
from forge_tui.errors import UsageError
from forge_tui.protocol.events import ResourceWarned
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.runs import commands
from forge_tui.settings.files import write_settings
from forge_tui.settings.schema import RunSettings, Settings, TrainingConfig
from forge_tui.tui.app import ForgeApp
from forge_tui.tui.bindings import ACTIONS, action_text, actions_of
from forge_tui.tui.choices import UiChoices
from forge_tui.tui.dialogs.palette import Palette
from forge_tui.tui.dialogs.questions import Question, Reading
from forge_tui.tui.screens.base import ForgeScreen
from forge_tui.tui.screens.compare import CompareScreen
from forge_tui.tui.screens.configure import ConfigureScreen
from forge_tui.tui.screens.model import ModelScreen
from forge_tui.tui.screens.runs import RunsScreen
from forge_tui.tui.screens.watch import WatchScreen
from forge_tui.tui.terminal.terminal_app import ending
from forge_tui.tui.widgets.line import Line
from forge_tui.tui.widgets.log_pane import LogPane


class Hand:
    """A person at the keyboard."""

    def __init__(self, app: ForgeApp, pilot: Pilot[int]) -> None:
        self.app, self.pilot = app, pilot

    @property
    def watch(self) -> WatchScreen:
        found = self.app.front
        assert isinstance(found, WatchScreen)
        return found

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def until(self, condition: Callable[[], Any]) -> None:
        for _ in range(500):
            if condition():
                return
            await self.pilot.pause()
            await asyncio.sleep(0.02)
        pytest.fail("waited in vain")

    def status(self) -> str:
        return self.watch.query_one("#status", Line).text.plain


@asynccontextmanager
async def at(path: Path, state: Path, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Hand]:
    app = ForgeApp(run=Run(path), host="ada@server", choices=UiChoices(state), monitor=False)
    async with app.run_test(size=size) as pilot:
        hand = Hand(app, pilot)
        await hand.until(lambda: app.controller.snapshot is not None and hand.watch.table.models)
        yield hand


@pytest.fixture
def live(maker: RunMaker) -> Path:
    models = [
        maker.model(1, TrainingPhase.TRAINING, epoch=61),
        maker.model(2, TrainingPhase.TRAINING, epoch=12),
        maker.failed(3),
        maker.model(4, TrainingPhase.QUEUED),
    ]
    return maker.make("1123-planner", RunState.RUNNING, models)


async def test_top_lines_and_table_tell_how_the_run_stands(live: Path, tmp_path: Path) -> None:
    async with at(live, tmp_path / "ui.json") as hand:
        header = hand.watch.query_one("#header", Line).text.plain
        # The name is shortened where a busy machine shows how old the data is, too.
        assert re.match(r"Watch · ada@server .*23-planner ● live ", header)
        assert "0/4 done" in header
        overall = hand.watch.query_one("#overall", Line).text.plain
        assert overall.endswith("2 training 1 queued 1 failed")
        assert hand.watch.table.shown_names[0] == "cognate_planner_1"


async def test_a_live_run_whose_directory_is_moved_is_shown_no_longer_and_the_reason_stands_below(
    live: Path, tmp_path: Path
) -> None:
    async with at(live, tmp_path / "ui.json", size=(200, 24)) as hand:
        os.rename(live, live.with_name("elsewhere"))
        await hand.until(lambda: hand.app.controller.run is None and "moved or deleted" in hand.status())
        told = "run 1123-planner was moved or deleted"
        assert hand.status() == f"! {told}: Esc goes back"
        assert f"{told}. Esc goes back, 3 shows the known runs." in screen_text(hand.app)
        assert hand.watch.query_one("#header", Line).text.plain.startswith("Watch · forge-tui · ada@server")


async def test_moving_marking_filtering_and_sorting(live: Path, tmp_path: Path) -> None:
    async with at(live, tmp_path / "ui.json") as hand:
        table = hand.watch.table
        await hand.press("j", "down")
        assert table.selected == "cognate_planner_3"
        await hand.press("g", "space", "space")
        assert table.marks == {"cognate_planner_1", "cognate_planner_2"}
        await hand.press("A")
        assert not table.marks
        await hand.press("a")
        assert len(table.marks) == 4
        await hand.press("slash", *"failed", "enter")
        assert table.shown_names == ("cognate_planner_3",)
        await hand.press("slash", "escape")
        assert len(table.shown_names) == 4
        await hand.press("o")
        assert table.sort_key != "index"
        assert hand.app.choices.get("sort") == table.sort_key
        before = table.sort_reversed
        await hand.press("O")
        assert table.sort_reversed is not before
        await hand.press("b")
        assert table.follow_best


async def test_keys_that_come_in_one_burst_with_the_filter_are_its_text(live: Path, tmp_path: Path) -> None:
    async with at(live, tmp_path / "ui.json") as hand:
        table = hand.watch.table
        burst(hand.app, "slash", *"qak", "backspace", "backspace", "backspace", *"failed", "enter", "space")
        await hand.until(lambda: table.marks)
        assert table.shown_names == ("cognate_planner_3",)
        assert table.marks == {"cognate_planner_3"}
        assert isinstance(hand.app.screen, WatchScreen)  # the q, a and k of the filter were no commands
        burst(hand.app, "slash", *"_3", "escape", "down")
        await hand.until(lambda: table.selected == "cognate_planner_4")
        assert len(table.shown_names) == 4


async def test_panes_are_shown_hidden_zoomed_and_focused(live: Path, tmp_path: Path) -> None:
    async with at(live, tmp_path / "ui.json") as hand:
        watch = hand.watch
        assert watch.chart.display
        assert not watch.query_one("#log").display
        await hand.press("l")
        assert watch.query_one("#log").display
        assert not watch.chart.display
        await hand.press("tab")
        assert isinstance(watch.focused, LogPane)
        await hand.press("z")
        assert not watch.table.display
        await hand.press("z", "c")
        assert watch.table.display
        assert watch.chart.display
        await hand.press("c")
        assert not watch.chart.display


async def test_tall_terminals_show_chart_and_log_and_the_sidebar(live: Path, tmp_path: Path) -> None:
    async with at(live, tmp_path / "ui.json", (120, 40)) as hand:
        assert hand.watch.chart.display
        assert hand.watch.query_one("#log").display
        assert hand.watch.query_one("#sidebar").display
        await hand.press("i")
        assert not hand.watch.query_one("#sidebar").display


def printed(run: Path, model: str, *lines: str) -> None:
    log = run / "logs" / f"{model}.log"
    log.parent.mkdir(exist_ok=True)
    log.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


async def test_the_selected_model_s_output_is_beside_the_chart(live: Path, tmp_path: Path) -> None:
    printed(live, "cognate_planner_1", "first \x1b[31mred", "last")
    async with at(live, tmp_path / "ui.json", (120, 40)) as hand:
        watch = hand.watch
        assert not watch.output.display, "built-in loops print little"
        await hand.press("L")
        await hand.until(lambda: watch.output.lines[-1:] == ("last",))
        assert watch.chart.display
        assert watch.output.region.y == watch.chart.region.y
        assert "\x1b" not in watch.output.lines[0]
        assert "[L Output]" in screen_text(hand.app)
        await hand.press("down")
        await hand.until(lambda: watch.output.lines == ("no output yet",))
        printed(live, "cognate_planner_2", *(f"line {number}" for number in range(600)))
        await hand.until(lambda: watch.output.lines[-1:] == ("line 599",))
        assert len(watch.output.lines) == 500
        await hand.press("tab", "tab", "z")
        assert watch.focused is watch.output
        assert not watch.chart.display
        assert not watch.table.display
        await hand.press("g")
        await hand.until(lambda: "line 100" in screen_text(hand.app))


async def test_a_narrow_terminal_has_the_chart_or_the_output(live: Path, tmp_path: Path) -> None:
    printed(live, "cognate_planner_1", "hello")
    async with at(live, tmp_path / "ui.json") as hand:
        watch = hand.watch

        def shown() -> tuple[bool, bool, bool]:
            panes = watch.panes
            return panes.chart_shown, panes.output_shown, panes.log_shown

        seen = [shown()]
        for key in "LclL":
            await hand.press(key)
            seen.append(shown())
        await hand.until(lambda: watch.output.lines == ("hello",))
        assert seen == [
            (True, False, False), (False, True, False), (True, False, False), (False, False, True),
            (False, True, False),
        ]  # fmt: skip


@pytest.mark.parametrize(("size", "shown"), [((120, 40), True), ((80, 40), False)])
async def test_a_training_function_has_its_output_beside_the_chart_where_there_is_room(
    maker: RunMaker, tmp_path: Path, size: tuple[int, int], shown: bool
) -> None:
    models = [maker.model(1, TrainingPhase.TRAINING, epoch=61)]
    path = maker.make("own", RunState.RUNNING, models, train="loop.py")
    printed(path, "cognate_planner_1", "hello")
    async with at(path, tmp_path / "ui.json", size) as hand:
        await hand.until(lambda: hand.watch.panes.output_shown is shown)
        assert hand.watch.panes.chart_shown
        if shown:
            await hand.until(lambda: hand.watch.output.lines == ("hello",))


async def test_chart_keys(live: Path, tmp_path: Path) -> None:
    async with at(live, tmp_path / "ui.json") as hand:
        chart = hand.watch.chart
        await hand.until(lambda: chart.series)
        assert chart.series[0].points[-1][0] == 61
        log = chart.log_y
        await hand.press("y")
        assert chart.log_y is not log
        await hand.press("plus")
        assert chart.is_zoomed
        left = chart.window
        await hand.press("left")
        assert chart.window < left
        await hand.press("right", "minus", "0")
        assert not chart.is_zoomed
        kinds = chart.kinds
        await hand.press("v")
        assert chart.kinds != kinds


async def test_marked_models_share_the_chart(live: Path, tmp_path: Path) -> None:
    async with at(live, tmp_path / "ui.json") as hand:
        await hand.press("space", "space")
        await hand.until(lambda: len({series.label for series in hand.watch.chart.series}) == 2)


async def test_enter_opens_the_model_and_backspace_returns(live: Path, tmp_path: Path) -> None:
    async with at(live, tmp_path / "ui.json") as hand:
        await hand.press("enter")
        await hand.until(lambda: isinstance(hand.app.front, ModelScreen))
        await hand.press("backspace")
        await hand.until(lambda: isinstance(hand.app.front, WatchScreen))


async def test_the_command_of_the_watched_run_is_shown_and_printed_on_leaving(live: Path, tmp_path: Path) -> None:
    write_settings(
        Settings(training=TrainingConfig(epochs=7), run=RunSettings(output=str(live))), live / "settings.toml"
    )
    async with at(live, tmp_path / "ui.json") as hand:
        await hand.press("Y")
        await hand.until(lambda: isinstance(hand.app.screen, Question))
        await hand.press("c")
        await hand.until(lambda: isinstance(hand.app.screen, Reading))
        assert "forge-tui --no-ui --epochs 7" in screen_text(hand.app)
        assert ending(hand.app) == "forge-tui --no-ui --epochs 7\n"


async def test_every_key_of_a_screen_does_something(live: Path, tmp_path: Path) -> None:
    async with at(live, tmp_path / "ui.json") as hand:
        app = hand.app
        screens: list[ForgeScreen] = [hand.watch]
        others = (ConfigureScreen(app.draft), RunsScreen(), ModelScreen("cognate_planner_1"), CompareScreen([live]))
        for screen in others:
            app.push_screen(screen)
            await hand.until(lambda screen=screen: screen.is_there)
            screens.append(screen)
        for screen in screens:
            for action in actions_of(screen.name_of_screen):
                where, name, given = parse(action_text(action.id, type(screen)))
                owner: object = app if where == "app" else screen
                if name == "part":
                    part, name = map(str, given)
                    owner = getattr(owner, part)
                assert callable(getattr(owner, f"action_{name}", None)), (screen, action.id)


@pytest.mark.parametrize(("key", "answer", "command"), [("s", "s", "stop"), ("K", "k", "kill")])
async def test_stop_and_kill_ask_and_send_a_command(
    key: str, answer: str, command: str, live: Path, tmp_path: Path
) -> None:
    async with at(live, tmp_path / "ui.json") as hand:
        await hand.press(key)
        await hand.until(lambda: isinstance(hand.app.screen, Question))
        await hand.press("b")
        await hand.until(lambda: hand.app.screen is hand.watch)
        assert commands.take(live) == []
        await hand.press(key)
        await hand.until(lambda: isinstance(hand.app.screen, Question))
        await hand.press(answer)
        await hand.until(lambda: list((live / "commands").glob("*.json")))
        (sent,) = commands.take(live)
        assert (sent.name, sent.sender) == (command, "ui ada@server")


async def test_leaving_an_attached_run_asks_nothing_and_tells_how_to_come_back(live: Path, tmp_path: Path) -> None:
    async with at(live, tmp_path / "ui.json") as hand:
        await hand.press("q")
        await hand.until(lambda: hand.app.return_code is not None)
        assert f"forge-tui attach {live}" in hand.app.farewell


@pytest.mark.parametrize("key", ["d", "enter"])
async def test_leaving_a_run_started_here_asks_and_detaches(key: str, live: Path, tmp_path: Path) -> None:
    async with at(live, tmp_path / "ui.json") as hand:
        hand.app.controller.started_here = True
        await hand.press("q")
        await hand.until(lambda: isinstance(hand.app.screen, Question))
        await hand.press(key)
        await hand.until(lambda: hand.app.return_code is not None)
        assert commands.take(live) == []


@pytest.mark.parametrize("key", ["q", "d"])
async def test_leaving_while_a_run_starts_waits_until_it_has_begun(
    key: str, live: Path, maker: RunMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begins = threading.Event()

    def starts(settings: Settings, **_: Any) -> Run:
        assert begins.wait(30)
        return Run(live)

    monkeypatch.setattr(client, "start", starts)
    async with at(maker.make("old", RunState.COMPLETED), tmp_path / "ui.json") as hand:
        hand.app.start_run(Settings())
        await hand.press(key)
        assert "leaving once it has begun" in hand.status()
        assert hand.app.return_code is None
        begins.set()
        await hand.until(lambda: hand.app.return_code is not None)
        assert f"forge-tui attach {live}" in hand.app.farewell


async def test_a_start_that_is_refused_keeps_the_screen(
    maker: RunMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuses = threading.Event()

    def starts(settings: Settings, **_: Any) -> Run:
        assert refuses.wait(30)
        raise UsageError("no such data")

    monkeypatch.setattr(client, "start", starts)
    async with at(maker.make("old", RunState.COMPLETED), tmp_path / "ui.json") as hand:
        hand.app.start_run(Settings())
        await hand.press("q")
        refuses.set()
        await hand.until(lambda: "no such data" in hand.status())
        assert hand.app.return_code is None
        await hand.press("q")
        await hand.until(lambda: hand.app.return_code == 0)


async def test_asked_twice_it_leaves_at_once(live: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begins = threading.Event()
    monkeypatch.setattr(client, "start", lambda settings, **_: begins.wait(30) and Run(live))
    async with at(live, tmp_path / "ui.json") as hand:
        hand.app.start_run(Settings())
        await hand.press("q", "q")
        await hand.until(lambda: hand.app.return_code == 0)
        assert "`forge-tui attach` shows it once it has begun" in hand.app.farewell
        begins.set()


async def test_a_run_starts_still_when_another_is_looked_at_meanwhile(
    live: Path, maker: RunMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begins = threading.Event()
    monkeypatch.setattr(client, "start", lambda settings, **_: begins.wait(30) and Run(live))
    old, other = (maker.make(name, RunState.COMPLETED) for name in ("old", "other"))
    async with at(old, tmp_path / "ui.json") as hand:
        hand.app.start_run(Settings())
        hand.app.controller.attach(other)
        await hand.until(lambda: hand.app.controller.run is not None and hand.app.controller.run.path == other)
        assert hand.app.controller.is_starting
        begins.set()
        await hand.until(lambda: not hand.app.controller.is_starting)


async def test_a_finished_run_says_so_and_leaves_at_once(maker: RunMaker, tmp_path: Path) -> None:
    path = maker.make("done", RunState.COMPLETED)
    async with at(path, tmp_path / "ui.json") as hand:
        hand.app.controller.started_here = True
        assert "● completed" in hand.watch.query_one("#header", Line).text.plain
        await hand.press("s")
        assert "Nothing to stop" in hand.status()
        await hand.press("q")
        await hand.until(lambda: hand.app.return_code == 0)


async def test_a_failed_run_leaves_with_status_1(maker: RunMaker, tmp_path: Path) -> None:
    path = maker.make("broken", RunState.FAILED, [maker.failed(1), maker.model(2)])
    async with at(path, tmp_path / "ui.json") as hand:
        await hand.press("q")
        await hand.until(lambda: hand.app.return_code == 1)


async def test_a_run_that_died_is_shown_as_died_and_can_be_resumed(maker: RunMaker, tmp_path: Path) -> None:
    path = maker.make("dead", RunState.DIED, [maker.model(1, TrainingPhase.TRAINING, epoch=5)])
    async with at(path, tmp_path / "ui.json") as hand:
        assert "died" in hand.watch.query_one("#header", Line).text.plain
        await hand.press("R")
        await hand.until(lambda: isinstance(hand.app.screen, Question))
        await hand.press("b")


async def test_help_lists_every_action_of_the_screen(live: Path, tmp_path: Path) -> None:
    async with at(live, tmp_path / "ui.json", (120, 60)) as hand:
        await hand.press("question_mark")
        await hand.until(lambda: isinstance(hand.app.screen, Reading))
        screen = hand.app.screen
        assert isinstance(screen, Reading)
        for action in actions_of("watch"):
            assert action.help in " ".join(screen.text.plain.split())


async def test_palette_does_an_action_by_its_name(live: Path, tmp_path: Path) -> None:
    async with at(live, tmp_path / "ui.json") as hand:
        await hand.press("colon")
        await hand.until(lambda: isinstance(hand.app.screen, Palette))
        await hand.press(*"mark", "space", *"all", "enter")
        await hand.until(lambda: len(hand.watch.table.marks) == 4)


async def test_theme_is_changed_and_kept(live: Path, tmp_path: Path) -> None:
    async with at(live, tmp_path / "ui.json") as hand:
        before = hand.app.appearance.theme_name
        await hand.press("t")
        assert hand.app.appearance.theme_name != before
        assert UiChoices(tmp_path / "ui.json").get("theme") == hand.app.appearance.theme_name


async def test_tiny_terminals_get_one_sentence(live: Path, tmp_path: Path) -> None:
    async with at(live, tmp_path / "ui.json") as hand:
        await hand.pilot.resize_terminal(50, 10)
        await hand.pilot.pause()
        assert hand.watch.query_one("#tiny").display
        assert not hand.watch.query_one("#middle").display
        before = hand.watch.table.selected
        await hand.press("p", "question_mark", "down", "3")  # what cannot be seen is not steered
        assert commands.take(live) == []
        assert hand.watch.table.selected == before
        assert isinstance(hand.app.screen, WatchScreen)
        await hand.pilot.resize_terminal(80, 24)
        await hand.pilot.pause()
        assert hand.watch.query_one("#middle").display
        await hand.press("question_mark")
        await hand.until(lambda: isinstance(hand.app.screen, Reading))
        await hand.press("escape")
        await hand.pilot.resize_terminal(50, 10)
        await hand.press("q")
        await hand.until(lambda: hand.app.return_code is not None)


async def test_text_of_a_run_is_never_markup(maker: RunMaker, tmp_path: Path) -> None:
    nasty = "[/b]\x1b[31m漢字e\u0301" + "x" * 300
    texts = {"reason": nasty, "device": nasty, "combination": {nasty: nasty}, "config": {nasty: nasty}}
    model = maker.model(1, TrainingPhase.TRAINING, epoch=5, name="cognate_" + "x" * 300, **texts)
    path = maker.make("nasty", RunState.RUNNING, [model], reason=nasty, limit_reason=nasty)
    async with at(path, tmp_path / "ui.json") as hand:
        await hand.press("l", "enter")
        await hand.pilot.pause()
        assert hand.app.return_code is None


async def test_the_log_is_still_there_after_another_screen(maker: RunMaker, tmp_path: Path) -> None:
    path = maker.make("told", RunState.COMPLETED, events=[ResourceWarned(time=1.0, kind="disk", message="of old")])
    async with at(path, tmp_path / "ui.json", (120, 40)) as hand:
        await hand.until(lambda: any("of old" in line for line in hand.watch.log_pane.lines))
        await hand.press("3", "2")
        await hand.until(lambda: isinstance(hand.app.front, WatchScreen) and hand.watch.is_there)
        await hand.until(lambda: any("of old" in line for line in hand.watch.log_pane.lines))
        assert "of old" in screen_text(hand.app)


async def test_curves_of_models_that_did_not_change_are_not_read_again(live: Path, tmp_path: Path) -> None:
    class Counted(Run):
        reads = 0

        def series(self, index: int, column: str, buckets: int) -> list[tuple[int, float | None, float | None]]:
            self.reads += 1
            return super().series(index, column, buckets)

    run = Counted(live)
    app = ForgeApp(run=run, host="ada@server", choices=UiChoices(tmp_path / "ui.json"), monitor=False)
    async with app.run_test(size=(80, 24)) as pilot:
        hand = Hand(app, pilot)
        await hand.until(lambda: app.controller.snapshot is not None and hand.watch.chart.series)
        await hand.until(lambda: not any(each.group == "io" for each in app.workers))
        before = run.reads
        hand.watch._refresh_slowly()
        assert not any(each.group == "io" for each in app.workers)
        assert run.reads == before > 0
        await hand.press("j")
        await hand.until(lambda: run.reads == before + 2)


@pytest.mark.parametrize("set_by", [0.0, 3600.0, -3600.0])
async def test_a_warning_is_told_when_it_comes_however_the_clocks_are_set(
    live: Path, tmp_path: Path, maker: RunMaker, set_by: float
) -> None:
    async with at(live, tmp_path / "ui.json") as hand:
        (store,) = maker._stores
        store._clock = lambda: time.time() + set_by  # the runner's, from now on
        store.append(ResourceWarned(time=time.time() + set_by, kind="disk", message="little room is left"))
        assert store.flush()
        await hand.until(lambda: "little room is left" in hand.status())
        hand.app.tell("")
        await hand.press("3", "2")  # the screen is made anew: what is old is no news
        store.append(ResourceWarned(time=time.time() + set_by - 600.0, kind="disk", message="of old"))
        assert store.flush()
        await hand.until(lambda: "of old" in str(hand.app.controller.history))
        assert "of old" not in hand.status()


async def test_zero_models_name_no_error(maker: RunMaker, tmp_path: Path) -> None:
    path = maker.make("none", RunState.COMPLETED, [])
    app = ForgeApp(run=Run(path), choices=UiChoices(tmp_path / "ui.json"), monitor=False)
    async with app.run_test(size=(80, 24)) as pilot:
        hand = Hand(app, pilot)
        await hand.until(lambda: app.controller.snapshot is not None)
        await hand.press("j", "enter", "space", "c", "l", "z")
        assert app.return_code is None


def test_no_two_actions_of_a_screen_share_a_key() -> None:
    for screen in ("configure", "watch", "runs", "model", "compare", "data"):
        keys = [key for action in actions_of(screen) for key in action.keys]
        assert len(keys) == len(set(keys)), screen
    assert all(action.help for action in ACTIONS)


async def test_the_ui_has_not_imported_torch(live: Path, tmp_path: Path) -> None:
    import subprocess

    heavy = ("torch", "pydantic", "numpy", "polars")
    code = f"import forge_tui.tui.app, forge_tui.tui.screens.data, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_a_deleted_working_directory_is_survived(
    live: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    app = ForgeApp(choices=UiChoices(tmp_path / "ui.json"), monitor=False)
    async with app.run_test(size=(120, 40)) as pilot:
        gone.rmdir()
        app.watch_run(Run(live))
        hand = Hand(app, pilot)
        await hand.until(lambda: app.controller.snapshot is not None and isinstance(app.front, WatchScreen))
        await hand.until(lambda: hand.watch.is_there)
        await hand.press("e")
        assert "working directory" in hand.status()
        app.navigation.go_to("runs")
        await pilot.pause()
        assert app.return_code is None


async def test_the_sidebar_tells_how_many_models_a_worker_trains_together(maker: RunMaker, tmp_path: Path) -> None:
    run = maker.make("grouped", fuse=3, threads=1)
    async with at(run, tmp_path / "ui.json", (120, 40)) as hand:
        drawn = screen_text(hand.app)
        assert "WORKERS 2 of 6, 1 thread" in drawn
        assert "up to 3 models together each" in drawn
    run = maker.make("alone")
    async with at(run, tmp_path / "ui.json", (120, 40)) as hand:
        assert "together each" not in screen_text(hand.app)


async def test_curves_that_were_asked_for_earlier_and_come_later_replace_no_newer_ones(
    live: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a chart that had no width yet."""
    from forge_tui.tui.chart import fetching

    read: list[int] = []
    is_shown = threading.Event()

    def fetch(*_: Any) -> tuple[int, ...]:
        read.append(len(read) + 1)
        number = read[-1]
        if number == 1:
            assert is_shown.wait(60.0)
        return (number,)

    async with at(live, tmp_path / "ui.json") as hand:
        await hand.until(lambda: not [worker for worker in hand.app.workers if worker.group == "io"])
        shown: list[tuple[int, ...]] = []

        def show(series: tuple[int, ...]) -> None:
            shown.append(series)
            is_shown.set()

        monkeypatch.setattr(fetching, "fetch_series", fetch)
        monkeypatch.setattr(hand.watch.chart, "show", show)
        hand.watch.chart.on_chart_view_changed()
        await hand.until(lambda: read)
        hand.watch.chart.on_chart_view_changed()
        await hand.until(lambda: shown)
        await hand.until(lambda: not [worker for worker in hand.app.workers if worker.group == "io"])
        await hand.pilot.pause()
        assert (1,) not in shown
        assert (2,) in shown
