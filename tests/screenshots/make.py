"""Make the pictures of the documentation from a real run: `python tests/screenshots/make.py` (about half a minute).

Trains four planners on the synthetic data in a temporary directory and takes SVG screenshots of the UI meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from textual.pilot import Pilot

from forge_tui import client
from forge_tui.settings.schema import ResourceSettings, RunSettings, Settings, TrainingConfig
from forge_tui.tui.app import ForgeApp
from forge_tui.tui.choices import UiChoices
from forge_tui.tui.options import UiOptions
from forge_tui.tui.screens.model import ModelScreen
from forge_tui.tui.screens.runs import RunsScreen

HERE = Path(__file__).resolve().parent
PLACE = Path("/tmp/forge-demo")
EPOCHS = 400


def settings(name: str, epochs: int, models: int) -> Settings:
    """A run of planners, two at once."""
    return Settings(
        training=TrainingConfig(epochs=epochs, training_mode="parallel", max_parallel_workers=2),
        run=RunSettings(models=models, output=f"runs/{name}"),
        resources=ResourceSettings(policy="dedicated", threads=1),
    )


async def until(pilot: Pilot[int], condition: Callable[[], object]) -> None:
    """Wait for something to be seen."""
    while not condition():
        await pilot.pause()
        await asyncio.sleep(0.1)


def farthest(app: ForgeApp) -> int:
    """The last epoch of the model that is farthest; -1 while nothing is known."""
    snapshot = app.controller.snapshot
    return -1 if snapshot is None else max(model.epoch for model in snapshot.models)


async def shoot(run: client.Run | None, width: int, height: int, name: str, *keys: str, epoch: int = 0) -> None:
    """Attach at a size, or open without a run; press keys, and save what is shown."""
    app = ForgeApp(run=run, host="you@server", choices=UiChoices(PLACE / "ui.json"), options=UiOptions(theme="dark"))
    async with app.run_test(size=(width, height)) as pilot:
        await until(pilot, lambda: app.machine.resources is not None)
        if run is not None:
            await until(pilot, lambda: farthest(app) >= epoch)
        for key in keys:
            await pilot.press(key)
        for _ in range(30):
            await pilot.pause()
            await asyncio.sleep(0.1)
        if "enter" in keys:
            await until(pilot, lambda: isinstance(app.front, ModelScreen))
        if "3" in keys:
            await until(pilot, lambda: isinstance(app.front, RunsScreen))
        app.save_screenshot(f"{name}.svg", path=str(HERE))


async def take() -> None:
    """All pictures."""
    with client.start(settings("20261123-140355-planner", 20, 3)) as first:
        first.wait()
    with client.start(settings("20261123-150210-planner", EPOCHS, 4)) as run:
        await shoot(client.attach(run.path), 120, 40, "watch", "space", "space", "up", "up", epoch=EPOCHS // 4)
        await shoot(client.attach(run.path), 80, 24, "watch-80x24", epoch=EPOCHS // 3)
        await shoot(client.attach(run.path), 100, 30, "runs", "3")
        await shoot(client.attach(run.path), 100, 30, "model", "enter")
        run.stop()
        run.wait()
    await shoot(None, 100, 30, "configure")


def main() -> None:
    """Train, look, and clean up."""
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(mode=0o700)
    os.environ["XDG_STATE_HOME"], os.environ["XDG_CONFIG_HOME"] = str(PLACE / "state"), str(PLACE / "config")
    os.chdir(PLACE)
    try:
        asyncio.run(take())
    finally:
        os.chdir(HERE)
        shutil.rmtree(PLACE)


if __name__ == "__main__":
    main()
