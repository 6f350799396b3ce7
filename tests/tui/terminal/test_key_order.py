"""Keys that come at once act as if typed one by one."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Key
from textual.widgets import Input

from forge_tui.tui.terminal import key_order
from forge_tui.tui.terminal.terminal_app import TerminalApp


class _Slow(Input):
    """Handles every key for longer than the queue waits before it looks again; `x` removes it."""

    async def on_key(self, event: Key) -> None:
        await asyncio.sleep(0.02)
        if event.key == "x":
            event.prevent_default()
            await self.remove()


class _Form(TerminalApp):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("slash", "line"), Binding("q", "quit")]

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def compose(self) -> ComposeResult:
        yield _Slow(id="line", disabled=True)

    async def action_line(self) -> None:
        await asyncio.sleep(0.02)
        line = self.query_one(_Slow)
        line.disabled = False
        line.focus()

    def on_key(self, event: Key) -> None:
        self.seen.append(event.key)


def _burst(app: App[Any], *keys: str) -> None:
    for key in keys:
        app.post_message(Key(key, key if len(key) == 1 else None))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_order, "_LOST_SECONDS", 0.001)


async def _until(pilot: Any, condition: Any) -> None:
    for _ in range(500):
        if condition():
            return
        await pilot.pause(0.01)
    pytest.fail("waited in vain")


@pytest.mark.usefixtures("impatient")
async def test_a_key_that_is_handled_slowly_keeps_its_turn() -> None:
    async with _Form().run_test() as pilot:
        _burst(pilot.app, "slash", *"qak", "backspace", *"qq", "f5")
        await _until(pilot, lambda: "f5" in pilot.app.seen)
        assert pilot.app.query_one(_Slow).value == "qaqq"


@pytest.mark.usefixtures("impatient")
async def test_a_widget_that_a_key_removes_gives_up_its_turn() -> None:
    async with _Form().run_test() as pilot:
        _burst(pilot.app, "slash", "x", "b", "c")
        await _until(pilot, lambda: pilot.app.seen[-2:] == ["b", "c"])
        assert not pilot.app.query(_Slow)
