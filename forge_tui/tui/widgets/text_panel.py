"""A text of several lines that changes often: only changed lines are repainted."""

from __future__ import annotations

from rich.segment import Segment
from rich.text import Text
from textual.events import Resize
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget


class TextPanel(Widget):
    """Wraps its text to the width; cut at the bottom. Changes need no new layout."""

    DEFAULT_CSS = """
    TextPanel { width: 1fr; height: 1fr; }
    """

    def __init__(self, text: str | Text = "", *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._text = Text(text) if isinstance(text, str) else text
        self._lines: list[Text] = []

    def show(self, text: Text) -> None:
        """Show another text."""
        self._text = text
        before, self._lines = self._lines, self._wrapped()
        for y in range(min(self.size.height, max(len(before), len(self._lines)))):
            old = before[y] if y < len(before) else None
            new = self._lines[y] if y < len(self._lines) else None
            if old is None or new is None or old != new or old.spans != new.spans:
                self.refresh(Region(0, y, self.size.width, 1))

    def on_resize(self, event: Resize) -> None:
        """Wrap to the new width."""
        self._lines = self._wrapped()
        self.refresh()

    def _wrapped(self) -> list[Text]:
        if not self.size.width:
            return []
        return list(self._text.wrap(self.app.console, self.size.width))

    def render_line(self, y: int) -> Strip:
        """One line."""
        width, style = self.size.width, self.rich_style
        if y >= len(self._lines):
            return Strip.blank(width, style)
        segments = self._lines[y].render(self.app.console)
        painted = [Segment(text, style + part if part else style) for text, part, _ in segments if text != "\n"]
        return Strip(painted).adjust_cell_length(width, style)
