"""A list of any length with one selected row: draws only visible lines that changed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from forge_tui.tui.widgets import cells
from forge_tui.tui.widgets.cells import Piece
from forge_tui.tui.widgets.glyphs import UNICODE, Glyphs


class RowSource(Protocol):
    """The rows of a list and its selection."""

    row: int
    """The selected row, or -1. The source keeps it on its item when rows move."""

    def __len__(self) -> int:
        """The number of rows."""

    def key_of(self, row: int) -> Any:
        """The key of the item in a row."""

    @property
    def total(self) -> int:
        """The number of rows without a filter."""


@dataclass
class _FromList(Message):
    list: VirtualList

    @property
    def control(self) -> VirtualList:
        """The list it happened in."""
        return self.list


class VirtualList(ScrollView, can_focus=True, inherit_bindings=False):
    """Fixed lines of titles, and rows below them. It binds no keys: the screen calls its methods.

    A subclass provides the rows (`RowSource`) and draws: `draw_title`, `draw_line`. A row takes one line, or more if
    the subclass overrides `line_count`, `lines_of`, `row_at`, `row_near`.
    """

    ALLOW_MAXIMIZE = False
    PREFIX: ClassVar[str] = ""
    """The prefix of its component classes."""
    TITLE_LINES: ClassVar[int] = 1
    PAGE_OVERLAP: ClassVar[int] = 1
    """Lines that stay in view when the selection moves by a page."""

    @dataclass
    class Selected(_FromList):
        """Another item is selected, or None."""

        key: Any

    @dataclass
    class Opened(_FromList):
        """An item was opened, by a double click or a key."""

        key: Any

    @dataclass
    class Arranged(_FromList):
        """Order, filter, marks or another property that a screen shows have changed."""

    @dataclass
    class RangeChanged(_FromList):
        """The visible rows or their number have changed; `text` as `VirtualList.visible_range`."""

        text: str

        def can_replace(self, message: Message) -> bool:
            """Only the newest range counts."""
            return isinstance(message, VirtualList.RangeChanged) and message.list is self.list

    def __init__(
        self, rows: RowSource, *, glyphs: Glyphs = UNICODE, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.glyphs = glyphs
        self.empty_text = ""
        """The text if there are no rows."""
        self.no_match_text = ""
        """The text if a filter hides all rows."""
        self._source = rows
        self._styles: dict[str, Style] = {}
        self._told: tuple[Any, str] = (None, "")

    # --- lines and rows

    @property
    def line_count(self) -> int:
        """The number of lines of the rows."""
        return len(self._source)

    def lines_of(self, row: int) -> range:
        """The lines of a row."""
        return range(row, row + 1)

    def lines_around(self, row: int) -> range:
        """The lines to show with a selected row."""
        return self.lines_of(row)

    def row_near(self, line: int) -> int:
        """The row at a line, or the nearest one."""
        return line

    def row_at(self, line: int) -> int | None:
        """The row that a click on a line selects."""
        return line if line < len(self._source) else None

    @property
    def lines_in_view(self) -> int:
        """The number of lines that fit, at least one."""
        return max(1, self.size.height - self.TITLE_LINES)

    @property
    def visible_lines(self) -> range:
        """The lines in view."""
        top = self.scroll_offset.y
        return range(top, min(self.line_count, top + max(0, self.size.height - self.TITLE_LINES)))

    @property
    def visible_range(self) -> str:
        """The visible rows, as `rows 5–12 of 12`, with the total if a filter hides some."""
        total, shown, visible = self._source.total, len(self._source), self.visible_lines
        if not visible:
            return f"0 of {total}" if total else ""
        span = f"{visible[0] + 1}{self.glyphs.dash_range}{visible[-1] + 1}"
        return f"rows {span} of {shown}" + (f" ({total} in all)" if shown != total else "")

    # --- the selection

    @property
    def selected_key(self) -> Any:
        """The key of the selected item, or None."""
        row = self._source.row
        return self._source.key_of(row) if 0 <= row < len(self._source) else None

    def select_row(self, row: int) -> None:
        """Select a row, or the nearest one, and scroll to it."""
        source, before = self._source, self._source.row
        source.row = min(max(row, 0), len(source) - 1)
        self.refresh_rows((before, source.row))
        self.scroll_to_selection()
        self.tell_changes()

    def moved_by_hand(self) -> None:
        """Called before the user moves the selection."""

    def move(self, by: int) -> None:
        """Move the selection by `by` rows."""
        self.moved_by_hand()
        self.select_row(self._source.row + by)

    def move_to(self, end: Literal["first", "last"]) -> None:
        """Move the selection to the first or the last row."""
        self.moved_by_hand()
        self.select_row(0 if end == "first" else len(self._source) - 1)

    def page(self, direction: int) -> None:
        """Move the selection by a page, up (-1) or down (1)."""
        if not len(self._source):
            return
        self.moved_by_hand()
        lines = max(1, self.lines_in_view - self.PAGE_OVERLAP)
        line = self.lines_of(self._source.row)[0] + direction * lines
        self.select_row(self.row_near(min(max(line, 0), self.line_count - 1)))

    def scroll_to_selection(self) -> None:
        """Scroll just enough to show the selected row."""
        row, top = self._source.row, self.scroll_offset.y
        if not 0 <= row < len(self._source):
            return
        lines = self.lines_around(row)
        target = min(max(top, lines[-1] - self.lines_in_view + 1), lines[0])
        if target != top:
            self.scroll_to(y=target, animate=False, force=True)

    def action_open(self) -> None:
        """Post `Opened` for the selected item."""
        if (key := self.selected_key) is not None:
            self.post_message(self.Opened(self, key))

    def action_scroll_to_selection(self) -> None:
        """Scroll to the selection."""
        self.scroll_to_selection()

    # --- redrawing

    def refresh_rows(self, rows: Sequence[int]) -> None:
        """Redraw these rows if they are visible."""
        size, top = self.size, self.scroll_offset.y - self.TITLE_LINES
        lines = [line - top for row in rows if 0 <= row < len(self._source) for line in self.lines_of(row)]
        if regions := [Region(0, line, size.width, 1) for line in lines if self.TITLE_LINES <= line < size.height]:
            self.refresh(*regions)

    def redraw(self) -> None:
        """Redraw everything: rows or columns have changed."""
        size = Size(self.size.width, self.line_count + self.TITLE_LINES)
        if size != self.virtual_size:
            self.virtual_size = size
        self.refresh(self.size.region)

    def rows_changed(self) -> None:
        """Redraw after changed rows, with the selected one in view."""
        self.redraw()
        self.scroll_to_selection()
        self.tell_changes()

    def tell_changes(self) -> None:
        """Post changes of selection and range."""
        key, text = self.selected_key, self.visible_range
        before, self._told = self._told, (key, text)
        if key != before[0]:
            self.post_message(self.Selected(self, key))
        if text != before[1]:
            self.post_message(self.RangeChanged(self, text))

    def width_changed(self) -> None:
        """Lay out the columns for the new width."""

    def on_resize(self) -> None:
        """Lay out for the new width."""
        self.width_changed()
        self.rows_changed()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Redraw after scrolling."""
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self.tell_changes()

    def watch_has_focus(self, value: bool) -> None:
        """Redraw the selected row, which looks different with the focus."""
        super().watch_has_focus(value)
        self.refresh_rows((self._source.row,))

    def notify_style_update(self) -> None:
        """Redraw with the new colours."""
        super().notify_style_update()
        self._styles.clear()

    def on_click(self, event: events.Click) -> None:
        """Select the clicked row; a double click opens it."""
        place = event.get_content_offset(self)
        if place is None:
            return
        if place.y < self.TITLE_LINES:
            self.title_clicked(place.x)
            return
        row = self.row_at(self.scroll_offset.y + place.y - self.TITLE_LINES)
        if row is not None:
            self.moved_by_hand()
            self.select_row(row)
            if event.chain == 2 or self.opens_at_once(row):
                self.action_open()

    def opens_at_once(self, row: int) -> bool:
        """Whether one click opens a row."""
        return False

    def title_clicked(self, x: int) -> None:
        """A title was clicked, at cell `x`."""

    # --- drawing

    def render_line(self, y: int) -> Strip:
        """The lines of titles, then the rows."""
        if y < self.TITLE_LINES:
            return self.draw_title()
        line = self.scroll_offset.y + y - self.TITLE_LINES
        if line < self.line_count:
            return self.draw_line(line)
        text = self.no_match_text if self._source.total else self.empty_text
        if not text or y > self.TITLE_LINES or len(self._source):
            return Strip.blank(self.size.width, self.rich_style)
        return self.strip([(cells.left(f"  {text}", self.size.width, self.glyphs.ellipsis), "empty")])

    def draw_title(self) -> Strip:
        """The line of titles."""
        return Strip.blank(self.size.width, self.rich_style)

    @abstractmethod
    def draw_line(self, line: int) -> Strip:
        """A line of the rows."""

    def strip(self, pieces: Sequence[Piece]) -> Strip:
        """Pieces of text, each in the style of a component class, cut or filled to the width."""
        strip = Strip([Segment(text, self.style(name)) for text, name in pieces])
        return strip.adjust_cell_length(self.size.width, self.style(pieces[-1][1]) if pieces else self.rich_style)

    def style(self, name: str) -> Style:
        """The style of a component class."""
        style = self._styles.get(name)
        if style is None:
            style = self._styles[name] = self.get_component_rich_style(f"{self.PREFIX}{name}")
        return style
