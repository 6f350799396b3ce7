"""A scrollable text of many lines: wrapped to the width; only visible lines are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from forge_tui.tui.widgets import cells
from forge_tui.tui.widgets.cells import Piece

# A longer word, such as a path, is broken at the end of the line.
_LONGEST_WORD = 24
_NAMES = ("heading", "text", "label", "quiet", "active", "done", "warning", "failed")


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Pieces of text in their styles (one of heading, text, label, quiet, active, done, warning, failed).

    Continuation lines are indented by `hang` cells. `anchor` names a place to go to.
    """

    pieces: tuple[Piece, ...] = ()
    hang: int = 0
    anchor: str = ""


Builder = Callable[[int], Sequence[Paragraph]]
"""Makes the text for a width in cells."""


class Document(ScrollView, can_focus=True, inherit_bindings=False):
    """Text from anywhere, never interpreted. It binds no keys: the screen calls its methods.

    While its end is in view and there is more above, it follows the end: new lines of a log push the old ones up.
    """

    ALLOW_MAXIMIZE = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"document--{name}" for name in _NAMES}
    DEFAULT_CSS = """
    Document {
        scrollbar-size: 0 0; overflow-x: hidden; overflow-y: scroll;
        & > .document--heading { color: $primary-lighten-2; text-style: bold; }
        & > .document--text { color: $foreground; }
        & > .document--label { color: $foreground 60%; }
        & > .document--quiet { color: $foreground 75%; }
        & > .document--active { color: $primary-lighten-2; }
        & > .document--done { color: $success; }
        & > .document--warning { color: $warning; }
        & > .document--failed { color: $error-lighten-2; }
        &:light > .document--heading { color: $primary-darken-1; }
        &:light > .document--active { color: $primary-darken-1; }
        &:light > .document--failed { color: $error; }
        &:ansi > .document--label { color: ansi_default; text-style: dim; }
        &:ansi > .document--quiet { color: ansi_default; }
    }
    """

    def __init__(self, *, only_ascii: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self._only_ascii = only_ascii
        self._build: Builder | None = None
        self._paragraphs: Sequence[Paragraph] = ()
        self._lines: list[list[Piece]] = []
        self._anchors: dict[str, int] = {}
        self._styles: dict[str, Style] = {}

    def show(self, build: Builder) -> None:
        """Show the text of `build`, now and for every other width."""
        self._build = build
        self._lay_out()

    @property
    def text(self) -> str:
        """All lines."""
        return "\n".join("".join(text for text, _ in line) for line in self._lines)

    @property
    def anchors(self) -> tuple[str, ...]:
        """The names of the anchors, from the top."""
        return tuple(self._anchors)

    def move(self, by: int) -> None:
        """Scroll by `by` lines."""
        self._scroll(self.scroll_offset.y + by)

    def page(self, direction: int) -> None:
        """Scroll by a page, up (-1) or down (1); one line stays in view."""
        self.move(direction * max(1, self.size.height - 1))

    def move_to(self, end: Literal["first", "last"]) -> None:
        """Scroll to the first or the last line."""
        self._scroll(0 if end == "first" else len(self._lines))

    def go_to(self, anchor: str) -> bool:
        """Scroll an anchor to the top of the view, if there is enough text below; False if it does not exist."""
        line = self._anchors.get(anchor)
        if line is not None:
            self._scroll(line)
        return line is not None

    def to_next_anchor(self) -> None:
        """Go to the next anchor below the top of the view, from the last one to the first."""
        top = self.scroll_offset.y
        below = [line for line in self._anchors.values() if line > top]
        self._scroll(below[0] if below and top < self._last_top else 0)

    @property
    def _last_top(self) -> int:
        return max(0, len(self._lines) - self.size.height)

    def _scroll(self, line: int) -> None:
        self.scroll_to(y=min(max(0, line), self._last_top), animate=False, force=True, immediate=True)

    def _lay_out(self, anew: bool = False) -> None:
        width = self.size.width
        if self._build is None or width <= 0:
            return
        paragraphs = self._build(width)
        if paragraphs == self._paragraphs and not anew:
            return
        followed = 0 < self._last_top <= self.scroll_offset.y
        self._paragraphs = paragraphs
        lines: list[list[Piece]] = []
        anchors: dict[str, int] = {}
        for paragraph in paragraphs:
            if paragraph.anchor:
                anchors[paragraph.anchor] = len(lines)
            lines += wrapped(paragraph, width, self._only_ascii)
        self._lines, self._anchors = lines, anchors
        size = Size(width, len(lines))
        if size != self.virtual_size:
            self.virtual_size = size
        if followed or self.scroll_offset.y > self._last_top:
            self._scroll(self._last_top)
        self.refresh(self.size.region)

    def on_resize(self, event: events.Resize) -> None:
        """Wrap to the new width."""
        self._lay_out(anew=True)

    def notify_style_update(self) -> None:
        """Redraw with the new colours."""
        super().notify_style_update()
        self._styles.clear()

    def render_line(self, y: int) -> Strip:
        """A visible line."""
        number = y + self.scroll_offset.y
        line = self._lines[number] if number < len(self._lines) else []
        strip = Strip([Segment(text, self._style(name)) for text, name in line])
        return strip.adjust_cell_length(self.size.width, self._style("text"))

    def _style(self, name: str) -> Style:
        style = self._styles.get(name)
        if style is None:
            style = self._styles[name] = self.get_component_rich_style(f"document--{name}")
        return style


def wrapped(paragraph: Paragraph, width: int, only_ascii: bool = False) -> list[list[Piece]]:
    """The lines of a paragraph, each at most `width` cells; broken at a space if one is near the end of a line."""
    lines: list[list[Piece]] = [[]]
    room = width
    hang = min(paragraph.hang, max(0, width - 8))
    for text, style in paragraph.pieces:
        rest = cells.clean(text, only_ascii)
        while cells.width_of(rest) > room:
            part = _first_part(rest, room, may_be_empty=bool(lines[-1]) and room < width - hang)
            if part.strip():
                lines[-1].append((part, style))
            rest = rest[len(part) :].lstrip(" ")
            lines.append([(" " * hang, style)] if hang else [])
            room = width - hang
        if rest:
            lines[-1].append((rest, style))
            room -= cells.width_of(rest)
    return lines


def _first_part(text: str, room: int, may_be_empty: bool) -> str:
    part = cells.head(text, room)
    blank = part.rfind(" ") if not text[len(part) :].startswith(" ") else len(part)
    if len(part) - blank <= _LONGEST_WORD and part[: max(0, blank)].strip():
        return part[:blank]
    return part if part or may_be_empty else text[:1]
