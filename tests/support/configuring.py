"""Configure on a machine of four CPUs, and a person at its keyboard."""

from __future__ import annotations

import inspect
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from forge_tui.protocol.phases import RunState
from forge_tui.protocol.run_info import RunInfo
from forge_tui.protocol.snapshot import Snapshot
from forge_tui.resources.hardware import SystemResources
from forge_tui.settings.files import write_settings
from forge_tui.settings.schema import RunSettings, Settings, TrainingConfig
from forge_tui.tui.app import ForgeApp
from forge_tui.tui.choices import UiChoices
from forge_tui.tui.form.fields import MODE
from forge_tui.tui.form.form_values import Form
from forge_tui.tui.form.kinds import KIND
from forge_tui.tui.form.panel import FormPanel
from forge_tui.tui.form.settings_rows import Item
from forge_tui.tui.form.source import FormSource
from forge_tui.tui.screens.configure import ConfigureScreen
from forge_tui.tui.widgets.line import Line

MACHINE = SystemResources(
    cpu_count=4,
    memory_gb=64.0,
    available_memory_gb=60.0,
    cpu_usage_percent=2.0,
    recommended_workers=2,
    memory_per_worker_gb=8.0,
    others_cpu_percent=1.0,
)


_KEYS = {" ": "space", "/": "slash", ".": "full_stop", "_": "underscore", "{": "left_curly_bracket",
         "}": "right_curly_bracket"}  # fmt: skip


class App(ForgeApp):
    """The app on a machine of four CPUs; it notes what it should start instead of starting it."""

    CSS_PATH = Path(inspect.getfile(ForgeApp)).parent / "styles.tcss"

    def __init__(self, state: Path, given: FormSource | None = None) -> None:
        super().__init__(host="ada@server", choices=UiChoices(state), monitor=False, given=given)
        self.started: list[tuple[Settings, str]] = []
        self.machine.detected = MACHINE

    def start_run(self, settings: Settings, previous: str = "refuse") -> None:
        self.started.append((settings, previous))


class Hand:
    """A person at the keyboard of the screen."""

    def __init__(self, app: App, pilot: Pilot[int]) -> None:
        self.app, self.pilot = app, pilot

    @property
    def screen(self) -> ConfigureScreen:
        found = self.app.front
        assert isinstance(found, ConfigureScreen)
        return found

    @property
    def panel(self) -> FormPanel:
        return self.screen.panel

    @property
    def form(self) -> Form:
        found = self.panel.form
        assert found is not None
        return found

    @property
    def status(self) -> str:
        return self.app.status.plain

    @property
    def title(self) -> str:
        return self.panel.query_one("#form-title", Line).text.plain

    def item(self, name: str) -> Item:
        return next(row for row in self.panel.pane.settings.rows if isinstance(row, Item) and row.name == name)

    def details(self, name: str) -> list[str]:
        return [detail.text for detail in self.item(name).details]

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def type(self, text: str) -> None:
        for character in text:
            await self.pilot.press(_KEYS.get(character, character))
        await self.pilot.pause()

    async def select(self, name: str) -> None:
        self.panel.reveal(name)
        await self.pilot.pause()

    async def until(self, true: Callable[[], Any]) -> None:
        deadline = time.monotonic() + 10
        while not true():
            assert time.monotonic() < deadline, f"did not come about; status: {self.status!r}"
            await self.pilot.pause(0.01)


@asynccontextmanager
async def configure(
    state: Path, size: tuple[int, int] = (80, 24), given: FormSource | None = None
) -> AsyncIterator[Hand]:
    """Configure with its cursor on the mode."""
    app = App(state, given)
    async with app.run_test(size=size) as pilot:
        hand = Hand(app, pilot)
        await hand.until(lambda: app.draft.form is not None and app.draft.form.dataset_found is not None)
        await pilot.pause()
        assert hand.panel.pane.settings.selected == KIND
        await hand.select(MODE)
        yield hand


def snapshot(path: Path, state: RunState = RunState.RUNNING) -> Snapshot:
    run = RunInfo(
        run=path.name,
        path=str(path),
        mode="series",
        policy="shared",
        model_type="planner",
        models=1,
        epochs=7,
        state=state,
        created=0.0,
    )
    return Snapshot(run=run, models=(), state=state, revision=1, time=0.0)


def lines(hand: Hand) -> list[str]:
    """The text on the terminal, line by line."""
    width, height = hand.app.size
    rows = hand.app.screen._compositor.render_strips()
    assert len(rows) == height
    return ["".join(segment.text for segment in row)[:width] for row in rows]


def stored(path: Path) -> Path:
    """A run directory with the settings of a run."""
    path.mkdir()
    write_settings(
        Settings(training=TrainingConfig(epochs=7, max_parallel_workers=2), run=RunSettings(output=str(path))),
        path / "settings.toml",
    )
    return path
