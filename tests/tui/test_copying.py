"""Copying: what each screen offers, what reaches the clipboard, and what is shown where none is reached."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from configuring import configure
from run_directories import TRACEBACK, RunMaker
from tui_host import Host, screen_text, until

from forge_tui.client.run import Run
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.settings.files import write_settings
from forge_tui.settings.schema import RunSettings, Settings, TrainingConfig
from forge_tui.tui.choices import UiChoices
from forge_tui.tui.dialogs.questions import Question, Reading
from forge_tui.tui.offered import Surroundings
from forge_tui.tui.screens.model import ModelScreen
from forge_tui.tui.screens.runs import RunsScreen
from forge_tui.tui.screens.watch import WatchScreen
from forge_tui.tui.terminal.tmux import put_into_buffer


class Copying(Host):
    """Notes what was sent to the clipboard, and whether the mouse is used."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self.sent: list[str] = []
        self.mouse: list[bool] = []

    def copy_to_clipboard(self, text: str) -> None:
        self.sent.append(text)

    def set_mouse(self, on: bool) -> bool:
        self.mouse.append(on)
        return True


@pytest.fixture(autouse=True)
def no_tmux(monkeypatch: pytest.MonkeyPatch) -> None:
    """The session that the tests run in is not written to."""
    monkeypatch.delenv("TMUX", raising=False)


def has_run(app: Copying) -> bool:
    """Whether a run is watched."""
    return isinstance(app.front, WatchScreen) and app.front.is_there and app.front.forge.controller.snapshot is not None


@pytest.fixture
def run(maker: RunMaker) -> Path:
    models = [maker.failed(1), maker.model(2, TrainingPhase.TRAINING, epoch=9)]
    path = maker.make("1123-planner", RunState.RUNNING, models)
    write_settings(
        Settings(training=TrainingConfig(epochs=7), run=RunSettings(output=str(path))), path / "settings.toml"
    )
    return path


@pytest.mark.parametrize(
    ("key", "expected"),
    [("c", "forge-tui --no-ui --epochs 7"), ("p", "{run}"), ("a", "forge-tui attach {run}"), ("t", TRACEBACK)],
)
async def test_watch_copies_of_the_run_and_of_the_selected_model(
    run: Path, state: Path, key: str, expected: str
) -> None:
    app = Copying(WatchScreen, run=Run(run), choices=UiChoices(state))
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: has_run(app))
        await until(pilot, lambda: app.front.table.selected is not None)  # type: ignore[union-attr]
        await pilot.press("Y")
        await until(pilot, lambda: isinstance(app.screen, Question))
        await pilot.press(key)
        await until(pilot, lambda: isinstance(app.screen, Reading))
        assert app.sent == [expected.format(run=run)]
        assert app.sent[0].splitlines()[-1][-60:] in screen_text(app)
        assert app.mouse == [False]  # for selecting it where the clipboard is not reached
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is app.front)
        assert app.mouse == [False, True]
        assert app.appearance.mouse_on
        assert app.plain_text() == ("" if key != "c" else "forge-tui --no-ui --epochs 7")


async def test_only_what_there_is_can_be_copied(run: Path, state: Path) -> None:
    app = Copying(WatchScreen, run=Run(run), choices=UiChoices(state))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.front, WatchScreen) and app.front.is_there)
        await until(pilot, lambda: app.front.table.selected is not None)  # type: ignore[union-attr]
        await pilot.press("j", "Y")
        await until(pilot, lambda: isinstance(app.screen, Question))
        text = screen_text(app)
        assert "traceback" not in text  # the second model has not failed
        assert "resumes" not in text  # the run is live
        await pilot.press("b")
        await until(pilot, lambda: app.screen is app.front)
        assert app.sent == []


async def test_without_a_run_it_says_so(state: Path) -> None:
    app = Copying(WatchScreen, choices=UiChoices(state))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.front is not None and app.front.is_there)
        await pilot.press("2")
        await until(pilot, lambda: isinstance(app.front, WatchScreen) and app.front.is_there)
        await pilot.press("Y")
        assert app.status.plain == "! nothing to copy here: no run is watched or selected"


async def test_runs_copies_of_the_selected_run(maker: RunMaker, state: Path) -> None:
    path = maker.make("it's done", RunState.STOPPED)
    app = Copying(RunsScreen, choices=UiChoices(state))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.front, RunsScreen) and app.front.is_there and app.front.runs.looks)
        await pilot.press("Y")
        await until(pilot, lambda: isinstance(app.screen, Question))
        await pilot.press("r")
        await until(pilot, lambda: app.sent)
        assert shlex.split(app.sent[0]) == ["forge-tui", "resume", str(path)]


async def test_a_model_s_traceback_is_copied_without_control_characters(maker: RunMaker, state: Path) -> None:
    from dataclasses import replace

    failed = maker.failed(1)
    nasty = replace(failed.failures[-1], traceback="one\n\x1b]52;c;aGk=\x07two\n\tthree")
    path = maker.make("run", RunState.FAILED, [replace(failed, failures=(*failed.failures[:-1], nasty))])
    app = Copying(WatchScreen, run=Run(path), choices=UiChoices(state))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: has_run(app))
        await until(pilot, lambda: app.front.table.selected is not None)  # type: ignore[union-attr]
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.front, ModelScreen) and app.front.is_there)
        await pilot.press("Y")
        await until(pilot, lambda: isinstance(app.screen, Question))
        await pilot.press("t")
        await until(pilot, lambda: app.sent)
        assert app.sent == ["one\n ]52;c;aGk= two\n\tthree"]


@pytest.mark.usefixtures("working_directory")
async def test_configure_copies_the_command_at_once(state: Path) -> None:
    async with configure(state) as hand:
        await hand.press("right", "Y")
        await hand.until(lambda: isinstance(hand.app.screen, Reading))
        assert hand.app.clipboard == "forge-tui --no-ui --mode parallel"


async def test_a_browser_has_its_own_clipboard(run: Path, state: Path) -> None:
    app = Copying(WatchScreen, run=Run(run), choices=UiChoices(state), surroundings=Surroundings(in_browser=True))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: has_run(app))
        await pilot.press("Y")
        await until(pilot, lambda: isinstance(app.screen, Question))
        await pilot.press("p")
        await until(pilot, lambda: "Sent to the browser's clipboard" in screen_text(app))
        assert (app.sent, app.mouse) == ([str(run)], [])


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a program in a tmux of its own."""
    if shutil.which("tmux") is None:
        pytest.skip("needs tmux")
    socket = tmp_path / "tmux"
    command = ["tmux", "-S", str(socket), "-f", os.devnull]
    subprocess.run([*command, "new-session", "-d", "sleep 600"], check=True, env={**os.environ, "TERM": "xterm"})
    yield {**os.environ, "TMUX": f"{socket},0,0"}
    subprocess.run([*command, "kill-server"], check=True)


def test_in_tmux_the_text_is_its_newest_buffer(tmux: dict[str, str]) -> None:
    text = "forge-tui attach 'it'\"'\"'s done'\nand äöü"
    assert put_into_buffer(text, tmux)
    shown = subprocess.run(["tmux", "show-buffer"], capture_output=True, text=True, env=tmux, check=True)
    assert shown.stdout == text


def test_outside_tmux_or_where_it_is_gone_nothing_happens(tmp_path: Path) -> None:
    assert not put_into_buffer("x", {"PATH": os.environ["PATH"]})
    assert not put_into_buffer("x", {"PATH": os.environ["PATH"], "TMUX": f"{tmp_path / 'gone'},0,0"})
    assert not put_into_buffer("x", {"PATH": str(tmp_path), "TMUX": "anything"})
