"""A run of somebody else in the UI: what of it would run is shown, and runs only if that is answered."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from run_directories import RunMaker
from textual.pilot import Pilot
from tui_host import screen_text, until

from forge_tui import client
from forge_tui.client.run import Run
from forge_tui.errors import UntrustedCode
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.settings.files import write_settings
from forge_tui.settings.schema import RunSettings, Settings, TrainingConfig
from forge_tui.tui.app import ForgeApp
from forge_tui.tui.choices import UiChoices
from forge_tui.tui.dialogs.questions import Question

WHAT = (
    "/there: this is a run that you have not started here. It would run code:\n  --model-type \x1b[2Jnet.py\nLook at it"
)


@pytest.fixture
def theirs(maker: RunMaker) -> Path:
    return maker.make("theirs", RunState.DIED, [maker.model(1, TrainingPhase.TRAINING, epoch=5)])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, theirs: Path) -> list[tuple[Path, int | None, bool]]:
    """What was to be resumed, and whether its code was trusted; without that it is refused."""
    found: list[tuple[Path, int | None, bool]] = []

    def resume(path: Path, *, epochs: int | None, detach: bool, trust_code: bool) -> Run:
        assert threading.current_thread() is not threading.main_thread()
        found.append((path, epochs, trust_code))
        if not trust_code:
            raise UntrustedCode(WHAT)
        return Run(path)

    monkeypatch.setattr(client, "resume", resume)
    return found


def app_on(run: Path, tmp_path: Path) -> ForgeApp:
    return ForgeApp(run=Run(run), host="ada@server", choices=UiChoices(tmp_path / "ui.json"), monitor=False)


async def ask_to_resume(app: ForgeApp, pilot: Pilot[Any], asked: list[Any]) -> None:
    """Press R and its answer, until it is said what would run."""
    before = len(asked)
    await pilot.press("R")
    await until(pilot, lambda: isinstance(app.screen, Question))
    await pilot.press("enter")
    await until(pilot, lambda: len(asked) > before and isinstance(app.screen, Question))


async def test_resume_shows_what_would_run_and_enter_runs_nothing(
    theirs: Path, asked: list[tuple[Path, int | None, bool]], tmp_path: Path
) -> None:
    app = app_on(theirs, tmp_path)
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: app.controller.snapshot is not None)
        await ask_to_resume(app, pilot, asked)
        shown = screen_text(app)
        assert "you have not started here" in shown
        assert "--model-type  [2Jnet.py" in shown  # nothing in it steers the terminal
        await pilot.press("enter")
        await until(pilot, lambda: not isinstance(app.screen, Question))
        assert asked == [(theirs, None, False)]
        await ask_to_resume(app, pilot, asked)
        await pilot.press("t")
        await until(pilot, lambda: len(asked) == 3)
        assert asked[-1] == (theirs, None, True)


async def test_new_settings_from_it_say_what_they_would_run(theirs: Path, tmp_path: Path) -> None:
    settings = Settings(
        training=TrainingConfig(model_type="/their/net.py"), run=RunSettings(on_finish=("touch", "/tmp/x"))
    )
    write_settings(settings, theirs / "settings.toml")
    app = app_on(theirs, tmp_path)
    async with app.run_test(size=(160, 30)) as pilot:
        await until(pilot, lambda: app.controller.snapshot is not None)
        await pilot.press("n")
        await until(pilot, lambda: "you have not started that run" in app.status.plain)
        assert '--model-type /their/net.py; on_finish ["touch", "/tmp/x"]' in app.status.plain


async def test_settings_without_code_are_said_nothing_of(theirs: Path, tmp_path: Path) -> None:
    write_settings(Settings(), theirs / "settings.toml")
    app = app_on(theirs, tmp_path)
    async with app.run_test(size=(160, 30)) as pilot:
        await until(pilot, lambda: app.controller.snapshot is not None)
        await pilot.press("n")
        await until(pilot, lambda: "new settings from those of the run" in app.status.plain)
