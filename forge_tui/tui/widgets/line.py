"""One line of text that changes often: repainted only if it differs, without a new layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.cells import cell_len
from rich.text import Text
from textual.events import Click
from textual.geometry import Region
from textual.message import Message
from textual.widget import Widget

from forge_tui.safe_io.printing import in_ascii


class Spot(NamedTuple):
    """Cells of a line, from `start` up to (not including) `end`, where a click runs an action of the screen."""

    start: int
    end: int
    action: str


class Line(Widget):
    """A single line, cut at the right with an ellipsis. Parts of it may be clicked."""

    DEFAULT_CSS = """
    Line { height: 1; width: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    @dataclass
    class Clicked(Message):
        """A part of a line was clicked that stands for an action (its id in the table of actions)."""

        action: str

    def __init__(self, text: str | Text = "", *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._text = _plain(text)
        self._spots: tuple[Spot, ...] = ()

    @property
    def text(self) -> Text:
        """The displayed text."""
        return self._text

    @property
    def spots(self) -> tuple[Spot, ...]:
        """The parts that may be clicked."""
        return self._spots

    def show(self, text: str | Text, spots: Sequence[Spot] = ()) -> None:
        """Show another text; markup in it is not interpreted. A click on one of `spots` posts `Clicked`."""
        self._spots = tuple(spots)
        new, old = _plain(text), self._text
        if new != old or new.spans != old.spans:
            self._text = new
            self.refresh(*_differing(old, new, self.size.width))

    def on_click(self, event: Click) -> None:
        """Report a click on one of the spots."""
        place = event.get_content_offset(self)
        for spot in self._spots:
            if place is not None and spot.start <= place.x < spot.end:
                event.stop()
                self.post_message(self.Clicked(spot.action))
                return

    def render(self) -> Text:
        """The text; in ASCII if the app is."""
        if not self.app.has_class("-ascii"):
            return self._text
        plain = self._text.copy()
        if plain.cell_len > self.size.width:
            plain.truncate(max(0, self.size.width - 1), overflow="crop")
            plain.append("~")
        plain.plain = in_ascii(plain.plain)
        return plain


def _differing(old: Text, new: Text, width: int) -> tuple[Region, ...]:
    """The part of the line in which two texts differ; nothing (all of it) where styles or places may differ too."""
    before, after = old.plain, new.plain
    if (
        (old.spans, old.style) != (new.spans, new.style)
        or len(before) != len(after)
        or old.cell_len != new.cell_len
        or new.cell_len > width
    ):
        return ()
    first = next(at for at, (one, other) in enumerate(zip(before, after, strict=True)) if one != other)
    last = next(at for at in range(len(after), 0, -1) if before[at - 1] != after[at - 1])
    start, end = cell_len(after[:first]), cell_len(after[:last])
    return (Region(start, 0, end - start, 1),)


def _plain(text: str | Text) -> Text:
    if isinstance(text, str):
        text = Text(text)
    text.no_wrap = True
    text.overflow = "ellipsis"
    text.end = ""
    return text


def joined_ends(left: Text, right: Text, width: int) -> Text:
    """`left` and `right` at the two ends of a line of `width` cells; the left is shortened if both do not fit."""
    room = width - right.cell_len
    if room < 8:
        return right if right.cell_len >= left.cell_len else left
    left = left.copy()
    if left.cell_len > room:
        left.truncate(room - 1, overflow="ellipsis")
    left.append(" " * (room - left.cell_len))
    left.append_text(right)
    return left
