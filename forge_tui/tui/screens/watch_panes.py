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
WIDE = 100
PANES = ("table", "chart", "output", "log")
ACTIONS = ("chart_pane", "output_pane", "log_pane", "zoom_pane", "next_pane")
_CHOSEN = PANES[1:]


class WatchPanes:
    """Table, chart, output and log of a screen. Classes of the screen show them.

    Chart and output are beside each other; below 100 columns there is only one of them, and below 34 lines either they
    or the log.
    """

    def __init__(self, screen: Screen[None], choices: UiChoices, changed: Callable[[], None]) -> None:
        """`changed` is called when panes or their sizes change."""
        self._screen, self._choices, self._changed = screen, choices, changed
        self._prints = False

    @property
    def chart_shown(self) -> bool:
        """Whether the chart is shown."""
        return self._is_shown("chart")

    @property
    def output_shown(self) -> bool:
        """Whether the selected model's output is shown."""
        return self._is_shown("output")

    @property
    def log_shown(self) -> bool:
        """Whether the log is shown."""
        return self._is_shown("log")

    def _is_shown(self, pane: str) -> bool:
        zoomed = self.zoomed
        return zoomed == pane or (zoomed is None and not self._screen.has_class(f"-no-{pane}"))

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

    def expect_output(self, prints: bool) -> None:
        """Whether the run's models are trained by code that prints: then there is output beside the chart."""
        if prints != self._prints:
            self._prints = prints
            self.choose()
            self._changed()

    def choose(self) -> None:
        """Show the user's choice, as far as it fits the terminal."""
        size = self._screen.app.size
        defaults = {"chart": True, "output": self._prints and size.width >= WIDE, "log": size.height >= TALL}
        taken: set[str] = set()
        for pane in _CHOSEN:
            shown = bool(self._choices.get(pane, defaults[pane])) and pane not in taken
            taken |= self._instead_of(pane) if shown else set()
            self._show(pane, shown)

    def _instead_of(self, pane: str) -> set[str]:
        """The panes for which there is no room beside this one."""
        size, middle = self._screen.app.size, {"chart", "output"}
        found = {"log"} if pane in middle else set(middle)
        if size.height >= TALL:
            found = set()
        return found | (middle - {pane} if pane in middle and size.width < WIDE else set())

    def _show(self, pane: str, shown: bool) -> None:
        screen = self._screen
        screen.set_class(not shown, f"-no-{pane}")
        screen.set_class(screen.has_class("-no-chart") and screen.has_class("-no-output"), "-no-views")

    def fit_table(self, table: ModelTable) -> None:
        """Limit the table to the number of models: chart and log get the rest of its share."""
        room = self._screen.query_one("#body").size.height - len(("overall", "divider"))
        others = (self.chart_shown or self.output_shown) + self.log_shown
        if room < 1 or not others or self.zoomed is not None:
            table.styles.height = "1fr"
            return
        share = room // 2 if others == 1 else room * 2 // 5
        table.styles.height = max(3, min(len(table.models) + 1, share))

    def action_chart_pane(self) -> None:
        """Show or hide the chart."""
        self._toggle("chart")

    def action_output_pane(self) -> None:
        """Show or hide the selected model's output."""
        self._toggle("output")

    def action_log_pane(self) -> None:
        """Show or hide the log."""
        self._toggle("log")

    def _toggle(self, pane: str) -> None:
        self._unzoom()
        shown = self._screen.has_class(f"-no-{pane}")
        for name in self._instead_of(pane) if shown else set():
            self._choices.put(name, False)
            self._show(name, False)
        self._choices.put(pane, shown)
        self._show(pane, shown)
        self._changed()

    def action_zoom_pane(self) -> None:
        """Give the focused pane the whole screen, or take it back."""
        zoomed, focused = self.zoomed, self._screen.focused
        self._unzoom()
        if zoomed is None:
            widget = "table" if focused is None else focused.id
            pane = next((name for name in PANES if self._widget_of(name) == widget), "table")
            self._screen.add_class(f"-zoom-{pane}")
        self._changed()

    def _unzoom(self) -> None:
        self._screen.remove_class(*(f"-zoom-{pane}" for pane in PANES))

    def _widget_of(self, pane: str) -> str:
        """The id of the pane's widget: a grid takes the place of the chart."""
        return "grid" if pane == "chart" and self._screen.has_class("-grid") else pane

    def action_next_pane(self) -> None:
        """Focus the next pane that is shown."""
        shown = ["table"] if self.zoomed in (None, "table") else []
        shown += [name for name in _CHOSEN if self._is_shown(name)]
        panes: list[Widget] = [self._screen.query_one(f"#{self._widget_of(name)}") for name in shown]
        if panes:
            now = panes.index(self._screen.focused) if self._screen.focused in panes else -1
            panes[(now + 1) % len(panes)].focus()
