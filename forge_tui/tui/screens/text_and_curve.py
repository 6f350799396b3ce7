"""What the screens of one model and of a comparison share: text and curves, opened over another screen."""

from __future__ import annotations

from forge_tui.tui.screens.base import ForgeScreen
from forge_tui.tui.screens.chart_keys import ChartKeys


class TextAndCurve(ChartKeys, ForgeScreen):
    """A screen with a text and a curve below it, either of which may have all the room; Esc closes it."""

    @property
    def leads_back(self) -> bool:
        """It was opened from another screen."""
        return True

    @property
    def narrowed(self) -> bool:
        """Either text or curve may have all the room."""
        return super().narrowed or self.has_class("-zoom-text") or self.has_class("-zoom-curve")

    def widen(self) -> None:
        """Share the room again."""
        if super().narrowed:
            super().widen()
        else:
            self.share_room()

    def leave_screen(self) -> None:
        """Back to where it was opened."""
        self.app.pop_screen()

    def share_room(self) -> None:
        """Show text and curve."""
        self.remove_class("-zoom-text", "-zoom-curve")

    def action_zoom_pane(self) -> None:
        """All room to the text, then to the curve, then shared again."""
        text, curve = self.has_class("-zoom-text"), self.has_class("-zoom-curve")
        self.share_room()
        if text:
            self.add_class("-zoom-curve")
        elif not curve:
            self.add_class("-zoom-text")
