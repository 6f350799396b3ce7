"""The app for tests: no machine is looked at, nothing is trained, and waiting is for conditions."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual.events import Key
from textual.pilot import Pilot

import forge_tui.tui.app as app_module
from forge_tui.tui.app import ForgeApp
from forge_tui.tui.screens.base import ForgeScreen


class Host(ForgeApp):
    """Opens on `first` and notes what was to be resumed; on a run it opens Watch."""

    CSS_PATH = str(Path(app_module.__file__).parent / "styles.tcss")

    def __init__(self, first: Callable[[], ForgeScreen], **options: Any) -> None:
        super().__init__(host="ada@gpu7", monitor=False, **options)
        self.navigation.makers["configure"] = first
        self.resumed: list[tuple[Path, int | None]] = []

    def resume_run(self, path: Path, epochs: int | None = None) -> None:
        self.resumed.append((path, epochs))


async def until(pilot: Pilot[Any], condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Let the app run until `condition` holds; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"the condition did not come true:\n{screen_text(pilot.app)}"
        await pilot.pause(0.01)


def burst(app: ForgeApp, *keys: str) -> None:
    """Press all the keys at once, as a terminal sends what was typed ahead."""
    for key in keys:
        app.post_message(Key(key, {"slash": "/", "space": " "}.get(key, key if len(key) == 1 else None)))


def screen_text(app: ForgeApp) -> str:
    """What stands on the terminal, line by line."""
    width, height = app.size
    return (
        "\n".join(
            "".join(segment.text for segment in strip).rstrip() for strip in app.screen._compositor.render_strips()
        )
        if width and height
        else ""
    )
