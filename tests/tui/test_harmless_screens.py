"""No screen lets a name, a reason or a log steer the terminal, whoever forgot to clean it."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from rich.segment import Segment
from rich.text import Text
from run_directories import RunMaker
from textual.app import App, ComposeResult
from textual.widgets import Static
from tui_host import Host, until

from forge_tui.client.run import Run
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.tui.screens.model import ModelScreen
from forge_tui.tui.screens.watch import WatchScreen
from forge_tui.tui.terminal.terminal_app import _HARMLESS, TerminalApp

NAME = "run\x1b]0;owned\x07\x9b31m\u202egpj\u2028\n[/b]"


def written(app: App[object]) -> str:
    """All text that is on its way to the terminal."""
    strips = app.screen._compositor.render_strips()
    return "".join(segment.text for strip in strips for segment in strip if not segment.control)


def is_clean(text: str) -> bool:
    return all(unicodedata.category(one) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for one in text)


@pytest.fixture
def path(maker: RunMaker) -> Path:
    models = [
        maker.model(1, TrainingPhase.TRAINING, epoch=5, reason=NAME, device=NAME),
        maker.failed(2, name="failed", config={NAME: NAME}),
    ]
    return maker.make(NAME, RunState.RUNNING, models, reason=NAME, limit_reason=NAME, model_type=NAME)


async def test_watch_model_and_runs_show_hostile_names_as_text(path: Path) -> None:
    app = Host(WatchScreen, run=Run(path))
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.controller.snapshot is not None and "[/b]" in written(app))
        assert is_clean(written(app))
        app.navigation.open_model("failed")
        await until(pilot, lambda: isinstance(app.screen, ModelScreen) and "ATTEMPTS" in written(app))
        assert is_clean(written(app))
        app.navigation.go_to("runs")
        await until(pilot, lambda: "PROGRESS" in written(app) and "> ● live" in written(app))
        assert is_clean(written(app))


class Careless(TerminalApp):
    """Shows text as it is."""

    def compose(self) -> ComposeResult:
        yield Static(Text(f"before{NAME}after"), markup=False)


async def test_what_a_widget_draws_uncleaned_does_not_reach_the_terminal() -> None:
    app = Careless()
    async with app.run_test(size=(60, 5)) as pilot:
        await pilot.pause()
        assert "beforerun]0;owned31mgpj" in written(app)
        assert is_clean(written(app))


def test_only_what_is_harmful_is_left_out_and_clean_lines_cost_no_copy() -> None:
    clean = [Segment("é計 plain", None), Segment("\x1b[5n", None, [(1,)])]  # type: ignore[list-item]
    assert _HARMLESS.apply(clean, None) is clean  # type: ignore[arg-type]
    (found,) = _HARMLESS.apply([Segment("a\x9b\u202eb\u00a0c", None)], None)  # type: ignore[arg-type]
    assert found.text == "ab\u00a0c"
