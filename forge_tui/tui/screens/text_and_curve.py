"""A text and a curve on one screen, either of which may have all the room."""

from __future__ import annotations

from collections.abc import Callable

from textual.screen import Screen

ACTIONS = ("chart_pane", "zoom_pane")


class TextAndCurve:
    """How they share the room. Classes of the screen show it: `-no-curve`, `-zoom-text`, `-zoom-curve`."""

    def __init__(
        self, screen: Screen[None], is_worth: Callable[[], bool], changed: Callable[[], None] = lambda: None
    ) -> None:
        """`is_worth`: whether there is a curve to see, until a person says. `changed`: others have the room."""
        self._screen, self._is_worth, self._changed = screen, is_worth, changed
        self._wanted: bool | None = None

    @property
    def narrows(self) -> bool:
        """Whether either has all the room."""
        return self._screen.has_class("-zoom-text") or self._screen.has_class("-zoom-curve")

    def widen(self) -> None:
        """Share the room again."""
        self._screen.remove_class("-zoom-text", "-zoom-curve")

    def fit(self) -> None:
        """Show the curve where it is wanted, or where there is one worth the room."""
        wanted = self._is_worth() if self._wanted is None else self._wanted
        self._screen.set_class(not wanted, "-no-curve")

    def action_chart_pane(self) -> None:
        """Show or hide the curve."""
        self.widen()
        self._wanted = self._screen.has_class("-no-curve")
        self.fit()
        self._changed()

    def action_zoom_pane(self) -> None:
        """All room to the text, then to the curve, then shared again."""
        text, curve = self._screen.has_class("-zoom-text"), self._screen.has_class("-zoom-curve")
        self.widen()
        if text:
            self._screen.add_class("-zoom-curve")
        elif not curve:
            self._screen.add_class("-zoom-text")
        self._changed()
