"""A log of the run's messages. Limited in length; follows its end."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Literal

from rich.segment import Segment
from rich.style import Style
from textual.events import Resize
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from forge_tui.tui.widgets import cells

KEPT = 2_000
_STYLES = {"warning": Style(color="yellow"), "error": Style(color="red", bold=True), "output": Style(dim=True)}


class LogPane(ScrollView, can_focus=True):
    """Lines with a severity; only visible ones are drawn."""

    def __init__(self, *, only_ascii: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self._only_ascii = only_ascii
        self._lines: deque[tuple[str, str]] = deque(maxlen=KEPT)
        self._follows = True

    @property
    def lines(self) -> tuple[str, ...]:
        """The texts of all lines kept."""
        return tuple(text for text, _ in self._lines)

    def clear(self) -> None:
        """Forget all lines."""
        self._lines.clear()
        self._follows = True
        self._fit()

    def add(self, lines: Iterable[tuple[str, str]]) -> None:
        """Append (text, severity) lines; follows the end unless scrolled up."""
        new = [(cells.clean(text, self._only_ascii), severity) for text, severity in lines]
        if new:
            self._lines.extend(new)
            self._fit()

    def show(self, lines: Iterable[tuple[str, str]], *, from_end: bool) -> None:
        """Replace all lines; `from_end` scrolls to the last one, otherwise only if it was in view."""
        self._follows = self._follows or from_end
        self._lines.clear()
        self.add(lines)

    def move(self, by: int) -> None:
        """Scroll by `by` lines."""
        self.scroll_relative(y=by, animate=False)

    def page(self, direction: int) -> None:
        """Scroll by a page, up (-1) or down (1); one line stays in view."""
        self.move(direction * max(1, self.size.height - 1))

    def move_to(self, end: Literal["first", "last"]) -> None:
        """Scroll to the first or the last line."""
        if end == "first":
            self.scroll_home(animate=False)
        else:
            self.scroll_end(animate=False)

    def on_resize(self, event: Resize) -> None:
        """Stay at the end, or at the scrolled position."""
        self._fit()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Follow the end while it is in view."""
        super().watch_scroll_y(old_value, new_value)
        self._follows = new_value >= self.max_scroll_y

    def _fit(self) -> None:
        follows = self._follows
        self.virtual_size = Size(self.size.width, len(self._lines))
        if follows:
            # Forced: before the next layout Textual does not know that there is something to scroll.
            self.scroll_to(y=self.max_scroll_y, animate=False, force=True, immediate=True)
            self._follows = True
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One visible line."""
        width = self.size.width
        number = y + self.scroll_offset.y
        if number >= len(self._lines):
            return Strip.blank(width, self.rich_style)
        text, severity = self._lines[number]
        style = self.rich_style + _STYLES.get(severity, Style())
        return Strip([Segment(cells.left(text, width, "~" if self._only_ascii else "…"), style)]).adjust_cell_length(
            width, self.rich_style
        )
