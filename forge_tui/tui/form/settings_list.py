"""A list of settings: a line each, what must be said of one under it, and at most one editor open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from rich.segment import Segment
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from forge_tui.tui.form.settings_rows import Detail, Heading, Item, RowLine, Tone, arrange
from forge_tui.tui.widgets import cells
from forge_tui.tui.widgets.glyphs import UNICODE, Glyphs

_MARGIN = 3  # cursor, mark of a changed setting, a space
_LONGEST_TITLE = 22
_NOTE_CELLS = 20
_LONGEST_VALUE = 60  # notes stay near their values on wide terminals


class SettingsList(ScrollView, can_focus=True, inherit_bindings=False):
    """Draws headings and items. It binds no keys: the screen calls its methods."""

    ALLOW_MAXIMIZE = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"settings-list--{name}" for name in ("title", "heading", "note", "cursor", "cursor-blurred", "mark", *Tone)
    }
    DEFAULT_CSS = """
    SettingsList {
        height: 1fr; scrollbar-size: 0 0; overflow-x: hidden; overflow-y: scroll;
        & > .settings-list--title { color: $foreground; }
        & > .settings-list--heading { color: $primary-lighten-2; text-style: bold; }
        & > .settings-list--note { color: $foreground 50%; }
        & > .settings-list--mark { color: $warning; text-style: bold; }
        & > .settings-list--plain { color: $foreground; text-style: bold; }
        & > .settings-list--quiet { color: $foreground 55%; }
        & > .settings-list--good { color: $success; }
        & > .settings-list--warning { color: $warning; }
        & > .settings-list--error { color: $error-lighten-2; text-style: bold; }
        & > .settings-list--cursor { background: $primary; color: $text; text-style: bold; }
        & > .settings-list--cursor-blurred { background: $surface-lighten-2; }
        &:light > .settings-list--heading { color: $primary-darken-1; }
        &:light > .settings-list--error { color: $error; }
        &:light > .settings-list--good { color: $success-darken-2; }
        &:light > .settings-list--warning { color: $warning-darken-3; }
        &:ansi > .settings-list--note { color: ansi_default; text-style: dim; }
        &:ansi > .settings-list--quiet { color: ansi_default; text-style: dim; }
        &:ansi > .settings-list--cursor {
            background: ansi_default; color: ansi_default; text-style: reverse bold;
        }
        &:ansi > .settings-list--cursor-blurred { background: ansi_default; text-style: bold; }
        &:nocolor > .settings-list--cursor { text-style: reverse bold; }
        &:nocolor > .settings-list--cursor-blurred { text-style: bold; }
    }
    """

    @dataclass
    class Selected(Message):
        """Another setting is selected."""

        list: SettingsList
        name: str

        @property
        def control(self) -> SettingsList:
            """The list it happened in."""
            return self.list

    @dataclass
    class Opened(Message):
        """A setting was opened with the mouse."""

        list: SettingsList
        name: str

        @property
        def control(self) -> SettingsList:
            """The list it happened in."""
            return self.list

    @dataclass
    class Moved(Message):
        """Lines stand elsewhere now: scrolled, resized, or others have come."""

        list: SettingsList

        @property
        def control(self) -> SettingsList:
            """The list it happened in."""
            return self.list

    def __init__(self, glyphs: Glyphs = UNICODE, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.glyphs = glyphs
        self._rows: tuple[Heading | Item, ...] = ()
        self._items: tuple[Item, ...] = ()
        self._lines: tuple[RowLine, ...] = ()
        self._cursor = 0

    def show(self, rows: Sequence[Heading | Item]) -> None:
        """Show these; the selection stays on the setting it was on."""
        if tuple(rows) == self._rows:
            return
        selected = self.selected
        self._rows = tuple(rows)
        self._items = tuple(row for row in rows if isinstance(row, Item))
        names = [item.name for item in self._items]
        self._cursor = names.index(selected) if selected in names else 0
        self._arrange()
        if selected != self.selected and self.selected is not None:
            self.post_message(self.Selected(self, self.selected))

    @property
    def selected(self) -> str | None:
        """The full name of the selected setting."""
        return self._items[self._cursor].name if self._items else None

    @property
    def rows(self) -> tuple[Heading | Item, ...]:
        """What is shown."""
        return self._rows

    def select(self, name: str) -> None:
        """Select a setting by its full name and bring it into view with what stands under it."""
        for place, item in enumerate(self._items):
            if item.name == name:
                self._select(place)

    def move(self, by: int) -> None:
        """Move the selection by so many settings."""
        self._select(self._cursor + by)

    def move_to(self, end: Literal["first", "last"]) -> None:
        """Move the selection to the first or the last setting."""
        self._select(0 if end == "first" else len(self._items) - 1)

    def page(self, direction: int) -> None:
        """Move the selection by a page, up (-1) or down (1)."""
        lines = max(1, self.size.height - 2)
        target = self._line_of(self._cursor) + direction * lines
        target = min(max(target, 0), len(self._lines) - 1)
        if self._lines:
            self._select(max(0, self._lines[target].item))

    def editor_region(self) -> Region | None:
        """Where the editor of the selected setting stands, from this list's top left; None if it is out of view."""
        if not self._items or not self.size.width:
            return None
        y = self._line_of(self._cursor) - self.scroll_offset.y
        if not 0 <= y < self.size.height:
            return None
        x, width = self._value_place
        # One more than the value: the text cursor stands behind the last character.
        return Region(x, y, min(width, self._items[self._cursor].editor_cells or width), 1)

    @property
    def _value_place(self) -> tuple[int, int]:
        """Column and width of the values."""
        titles = max((cells.width_of(item.title) for item in self._items), default=0)
        x = _MARGIN + min(titles, _LONGEST_TITLE) + 1
        return x, min(_LONGEST_VALUE, max(8, self.size.width - x - self._note_cells - 1))

    @property
    def _note_cells(self) -> int:
        return _NOTE_CELLS + max(0, self.size.width - 80) // 3 if self.size.width >= 66 else 0

    def _line_of(self, place: int) -> int:
        return next(
            (number for number, line in enumerate(self._lines) if line.item == place and isinstance(line.row, Item)), 0
        )

    def _select(self, place: int) -> None:
        place = min(max(place, 0), len(self._items) - 1)
        if place < 0:
            return
        before, self._cursor = self._cursor, place
        self.scroll_to_selection()
        if before != place:
            self.refresh()
            self.post_message(self.Selected(self, self._items[place].name))

    def scroll_to_selection(self) -> None:
        """Scroll as little as brings the selected setting and its details into view."""
        if not self._lines:
            return
        first = self._line_of(self._cursor)
        last = max(number for number, line in enumerate(self._lines) if line.item == self._cursor and line.row)
        if self._cursor == 0:
            first = 0
        elif isinstance(self._lines[first - 1].row, Heading):
            first -= 1
        top, height = self.scroll_offset.y, self.size.height
        target = max(top, last - height + 1)
        target = min(target, first)
        if target != top:
            self.scroll_to(y=target, animate=False, force=True)

    def _arrange(self) -> None:
        """Break everything into lines for the present width."""
        self._lines = arrange(self._rows, max(10, self.size.width - _MARGIN - 2), self.glyphs.ascii)
        self.virtual_size = Size(self.size.width, len(self._lines))
        self.scroll_to_selection()
        self.refresh()
        self.post_message(self.Moved(self))

    def on_resize(self) -> None:
        """Break the lines anew."""
        self._arrange()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Other lines came into view."""
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self.post_message(self.Moved(self))

    def watch_has_focus(self, value: bool) -> None:
        """The selected line looks different with the focus."""
        super().watch_has_focus(value)
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Select the setting clicked; a double click opens it."""
        place = event.get_content_offset(self)
        if place is None:
            return
        number = self.scroll_offset.y + place.y
        if number >= len(self._lines) or self._lines[number].item < 0 or self._lines[number].row is None:
            return
        self._select(self._lines[number].item)
        if event.chain == 2 and self.selected is not None:
            self.post_message(self.Opened(self, self.selected))

    def render_line(self, y: int) -> Strip:
        """One line of the list."""
        width = self.size.width
        number = self.scroll_offset.y + y
        if number >= len(self._lines):
            return Strip.blank(width, self.rich_style)
        line = self._lines[number]
        match line.row:
            case Heading(title):
                return self._strip([(cells.left(title, width), "heading")])
            case Detail(_, tone):
                # The margin by itself: SVG renderers drop the spaces a text begins with.
                return self._strip([(" " * _MARGIN, tone.value), (cells.left(line.text, width - _MARGIN), tone.value)])
            case Item() as item:
                return self._item_strip(item, line.item == self._cursor)
        return Strip.blank(width, self.rich_style)

    def _item_strip(self, item: Item, selected: bool) -> Strip:
        glyphs = self.glyphs
        x, value_cells = self._value_place
        note_cells = max(0, self.size.width - x - value_cells - 1)
        ellipsis = glyphs.ellipsis
        value = cells.middle(cells.clean(item.value, glyphs.ascii), value_cells, ellipsis)
        parts = [
            (glyphs.cursor if selected else " ", "mark"),
            (glyphs.mark if item.changed else " ", "mark"),
            (" " + cells.left(item.title, x - _MARGIN - 1, ellipsis) + " ", "title"),
            (value, item.tone.value),
            (" " + cells.left(cells.clean(item.note, glyphs.ascii), note_cells, ellipsis), "note"),
        ]
        if selected:
            cursor = "cursor" if self.has_focus else "cursor-blurred"
            parts = [(text, cursor) for text, _ in parts]
        return self._strip(parts)

    def _strip(self, parts: Sequence[tuple[str, str]]) -> Strip:
        segments = [Segment(text, self.get_component_rich_style(f"settings-list--{name}")) for text, name in parts]
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)
