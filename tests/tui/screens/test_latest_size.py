"""A screen settles on the terminal's size, even if older ones are still under way."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.events import Resize
from textual.geometry import Size
from textual.screen import Screen
from tui_host import Host, until

from forge_tui.tui.choices import UiChoices
from forge_tui.tui.screens.runs import RunsScreen

_SIZES = (Size(80, 24), Size(100, 30))
# Each size once, and what the layout says of it; alternating they are hundreds.
_MOST = 12


async def test_sizes_do_not_alternate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    laid_out: list[Size | None] = []
    original = Screen._refresh_layout

    def noted(self: Screen[object], size: Size | None = None, scroll: bool = False) -> None:
        laid_out.append(size)
        if len(laid_out) < 10 * _MOST:  # an end, if they alternate
            original(self, size, scroll)

    app = Host(RunsScreen, choices=UiChoices(tmp_path / "ui.json"))
    async with app.run_test(size=_SIZES[1]) as pilot:
        await until(pilot, lambda: app.front is not None and app.front.is_there)
        monkeypatch.setattr(Screen, "_refresh_layout", noted)
        for size in _SIZES:
            app.screen.post_message(Resize(size, size))
            app.screen.call_later(lambda: None)  # neighbours among events of this kind are merged
        for _ in range(100):
            await pilot._wait_for_screen()
        assert app.screen.size == _SIZES[1]
        sized = [size for size in laid_out if size is not None]
        assert len(sized) <= _MOST, sized
