"""The layout of Watch's panes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.screen import Screen

if TYPE_CHECKING:
    from textual.widget import Widget

    from forge_tui.tui.choices import UiChoices
    from forge_tui.tui.lists.model_table import ModelTable

TALL = 34
PANES = ("table", "chart", "log")
ACTIONS = ("chart_pane", "log_pane", "zoom_pane", "next_pane")


class WatchPanes:
    """Table, chart and log of a screen; below 34 lines either the chart or the log. Classes of the screen show them."""

    def __init__(self, screen: Screen[None], choices: UiChoices, changed: Callable[[], None]) -> None:
        """`changed` is called when panes or their sizes change."""
        self._screen, self._choices, self._changed = screen, choices, changed

    @property
    def chart_shown(self) -> bool:
        """Whether the chart is shown."""
        zoomed = self.zoomed
        return zoomed == "chart" or (zoomed is None and not self._screen.has_class("-no-chart"))

    @property
    def log_shown(self) -> bool:
        """Whether the log is shown."""
        zoomed = self.zoomed
        return zoomed == "log" or (zoomed is None and not self._screen.has_class("-no-log"))

    @property
    def zoomed(self) -> str | None:
        """The pane that has the whole screen."""
        return next((pane for pane in PANES if self._screen.has_class(f"-zoom-{pane}")), None)

    @property
    def narrows(self) -> bool:
        """Whether a zoomed pane hides the others."""
        return self.zoomed is not None

    def widen(self) -> None:
        """Show all panes again."""
        self.action_zoom_pane()

    def choose(self) -> None:
        """Show the user's choice, as far as it fits the terminal."""
        tall = self._screen.app.size.height >= TALL
        chart, log = self._choices.get("chart", True), self._choices.get("log", tall)
        self._screen.set_class(not chart, "-no-chart")
        self._screen.set_class(not log or (chart and not tall), "-no-log")

    def fit_table(self, table: ModelTable) -> None:
        """Limit the table to the number of models: chart and log get the rest of its share."""
        room = self._screen.query_one("#body").size.height - len(("overall", "divider"))
        others = self.chart_shown + self.log_shown
        if room < 1 or not others or self.zoomed is not None:
            table.styles.height = "1fr"
            return
        share = room // 2 if others == 1 else room * 2 // 5
        table.styles.height = max(3, min(len(table.models) + 1, share))

    def action_chart_pane(self) -> None:
        """Show or hide the chart."""
        self._toggle("chart", "log")

    def action_log_pane(self) -> None:
        """Show or hide the log."""
        self._toggle("log", "chart")

    def _toggle(self, pane: str, other: str) -> None:
        screen = self._screen
        self._unzoom()
        shown = not screen.has_class(f"-no-{pane}")
        self._choices.put(pane, not shown)
        screen.set_class(shown, f"-no-{pane}")
        if not shown and screen.app.size.height < TALL:
            self._choices.put(other, False)
            screen.set_class(True, f"-no-{other}")
        self._changed()

    def action_zoom_pane(self) -> None:
        """Give the focused pane the whole screen, or take it back."""
        zoomed, focused = self.zoomed, self._screen.focused
        self._unzoom()
        if zoomed is None:
            pane = focused.id if focused is not None and focused.id in PANES else "table"
            self._screen.add_class(f"-zoom-{pane}")
        self._changed()

    def _unzoom(self) -> None:
        self._screen.remove_class(*(f"-zoom-{pane}" for pane in PANES))

    def action_next_pane(self) -> None:
        """Focus the next pane that is shown."""
        found: list[Widget] = [self._screen.query_one(f"#{name}") for name in PANES]
        panes = [pane for pane in found if pane.display]
        if panes:
            now = panes.index(self._screen.focused) if self._screen.focused in panes else -1
            panes[(now + 1) % len(panes)].focus()
