"""A text and a curve on one screen, either of which can be zoomed."""

from __future__ import annotations

from collections.abc import Callable

from textual.screen import Screen

ACTIONS = ("chart_pane", "zoom_pane")


class TextAndCurve:
    """Their layout, as classes of the screen: `-no-curve`, `-zoom-text`, `-zoom-curve`."""

    def __init__(
        self, screen: Screen[None], is_worth: Callable[[], bool], changed: Callable[[], None] = lambda: None
    ) -> None:
        """`is_worth`: whether to show the curve, until the user chooses. `changed` is called after a new layout."""
        self._screen, self._is_worth, self._changed = screen, is_worth, changed
        self._wanted: bool | None = None

    @property
    def narrows(self) -> bool:
        """Whether either is zoomed."""
        return self._screen.has_class("-zoom-text") or self._screen.has_class("-zoom-curve")

    def widen(self) -> None:
        """Show both again."""
        self._screen.remove_class("-zoom-text", "-zoom-curve")

    def fit(self) -> None:
        """Show the curve if the user has chosen it, or if there is one worth showing."""
        wanted = self._is_worth() if self._wanted is None else self._wanted
        self._screen.set_class(not wanted, "-no-curve")

    def action_chart_pane(self) -> None:
        """Show or hide the curve."""
        self.widen()
        self._wanted = self._screen.has_class("-no-curve")
        self.fit()
        self._changed()

    def action_zoom_pane(self) -> None:
        """Zoom the text, then the curve, then show both again."""
        text, curve = self._screen.has_class("-zoom-text"), self._screen.has_class("-zoom-curve")
        self.widen()
        if text:
            self._screen.add_class("-zoom-curve")
        elif not curve:
            self._screen.add_class("-zoom-text")
        self._changed()
