"""The shell is painted before its body; nothing heavy is imported or worked out until then."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tui_host import Host, until

from forge_tui.tui.choices import UiChoices
from forge_tui.tui.screens.runs import RunsScreen
from forge_tui.tui.screens.watch import WatchScreen
from forge_tui.tui.stylesheet import KeptStylesheet
from forge_tui.tui.widgets.line import Line

_AFTER_IT = (
    "psutil",
    "forge_tui.resources.manager",
    "forge_tui.protocol.events",
    "forge_tui.settings.schema",
    "forge_tui.tui.dialogs.questions",
    "forge_tui.tui.chart.chart_widget",
    "forge_tui.tui.form.panel",
    "forge_tui.tui.lists.model_table",
)


class LateWatch(WatchScreen):
    """Its body comes when it is told to."""

    async def fill_body(self) -> None:
        """Not yet."""

    def fill_now(self) -> None:
        self.call_later(super().fill_body)


def test_what_the_first_paint_does_not_need_is_not_imported_before_it() -> None:
    code = (
        "import sys, forge_tui.tui.app, forge_tui.tui.screens.watch, forge_tui.tui.screens.configure\n"
        f"from forge_tui import client; print([name for name in {_AFTER_IT} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_keys_before_the_body_is_there_do_no_harm(tmp_path: Path) -> None:
    app = Host(LateWatch, choices=UiChoices(tmp_path / "ui.json"))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = app.front
        assert isinstance(screen, LateWatch)
        assert len(app.screen_stack) == 1
        assert screen.query_one("#header", Line).text.plain.startswith("Watch · forge-tui · ada@gpu7")
        assert not screen.query("#table")
        await pilot.press("j", "enter", "o", "slash", "c", "escape", "m")
        assert screen.query_one("#status", Line).text.plain.startswith("! mouse: ")
        screen.fill_now()
        await until(pilot, lambda: screen.is_there)
        assert screen.query("#table")


async def test_another_screen_may_come_before_the_body(tmp_path: Path) -> None:
    app = Host(LateWatch, choices=UiChoices(tmp_path / "ui.json"))
    async with app.run_test(size=(80, 24)) as pilot:
        first = app.front
        assert isinstance(first, LateWatch)
        await pilot.press("3")
        await until(pilot, lambda: isinstance(app.front, RunsScreen))
        first.fill_now()
        await until(pilot, lambda: app.front is not None and app.front.is_there)
        assert not first.is_there


def test_rules_once_parsed_are_kept_until_the_colours_change() -> None:
    sheet = KeptStylesheet(variables={"ink": "#010203"})
    sheet.add_source("Screen { color: $ink; }")
    first = sheet.rules[0]
    sheet.set_variables({"ink": "#010203"})
    sheet.reparse()
    assert sheet.rules[0] is first
    sheet.set_variables({"ink": "#040506"})
    sheet.reparse()
    assert sheet.rules[0].styles.color.hex == "#040506"
