"""A list of settings: one line each, with details below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from forge_tui.tui.form.settings_rows import Detail, Heading, Item, RowLine, Tone, arrange
from forge_tui.tui.lists.keyed_rows import KeyedRows
from forge_tui.tui.lists.virtual_list import VirtualList
from forge_tui.tui.widgets import cells
from forge_tui.tui.widgets.glyphs import UNICODE, Glyphs

_MARGIN = 3  # cursor, mark of a changed setting, a space
_LONGEST_TITLE = 22
_NOTE_CELLS = 20
_LONGEST_VALUE = 60  # notes stay near their values on wide terminals


class SettingsList(VirtualList):
    """Headings and items; its rows are the items, by the full names of their settings, and headings that fold."""

    PREFIX = "settings-list--"
    TITLE_LINES = 0
    PAGE_OVERLAP = 2
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"settings-list--{name}"
        for name in ("title", "heading", "note", "cursor", "cursor-blurred", "mark", "empty", *Tone)
    }
    DEFAULT_CSS = """
    SettingsList {
        height: 1fr; scrollbar-size: 0 0; overflow-x: hidden; overflow-y: scroll;
        & > .settings-list--title { color: $foreground; }
        & > .settings-list--empty { color: $foreground; }
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
    class Moved(Message):
        """Lines have moved: by scrolling, resizing, or changed content."""

        list: SettingsList

        @property
        def control(self) -> SettingsList:
            """The list it happened in."""
            return self.list

    def __init__(self, glyphs: Glyphs = UNICODE, *, id: str | None = None) -> None:
        self._items = KeyedRows[Heading | Item](lambda row: row.name)
        super().__init__(self._items, glyphs=glyphs, id=id)
        self._rows: tuple[Heading | Item, ...] = ()
        self._lines: tuple[RowLine, ...] = ()
        self._line_of: list[int] = []

    def show(self, rows: Sequence[Heading | Item]) -> None:
        """Show these rows; the selection stays on its setting."""
        if tuple(rows) == self._rows:
            return
        self._rows = tuple(rows)
        self._items.show([row for row in rows if row.name])
        self.width_changed()
        self.rows_changed()

    @property
    def selected(self) -> str | None:
        """The full name of the selected setting."""
        key: str | None = self.selected_key
        return key

    @property
    def rows(self) -> tuple[Heading | Item, ...]:
        """The displayed rows."""
        return self._rows

    def select(self, name: str) -> bool:
        """Select a setting by its full name and scroll to it and its details; False if it is not listed."""
        row = self._items.row_of(name)
        if row is not None:
            self.select_row(row)
        return row is not None

    # --- lines: one per setting, and more for its details

    @property
    def line_count(self) -> int:
        """The number of lines of headings, settings and details."""
        return len(self._lines)

    def lines_of(self, row: int) -> range:
        """The line of a setting or of a heading."""
        return range(self._line_of[row], self._line_of[row] + 1)

    def lines_around(self, row: int) -> range:
        """The lines of a setting with its heading and its details."""
        first = last = self._line_of[row]
        while last + 1 < len(self._lines) and isinstance(self._lines[last + 1].row, Detail):
            last += 1
        if row == 0:
            first = 0
        elif isinstance(self._lines[first - 1].row, Heading):
            first -= 1
        return range(first, last + 1)

    def row_near(self, line: int) -> int:
        """The setting of a line, or the one above it."""
        return max(0, self._lines[line].item)

    def row_at(self, line: int) -> int | None:
        """The row of a line; a heading that does not fold belongs to the setting below it."""
        if line >= len(self._lines) or self._lines[line].item < 0 or self._lines[line].row is None:
            return None
        return self._lines[line].item

    @property
    def visible_range(self) -> str:
        """Empty: the range is not shown."""
        return ""

    def width_changed(self) -> None:
        """Break everything into lines for the current width."""
        self._lines = arrange(self._rows, max(10, self.size.width - _MARGIN - 2), self.glyphs.ascii)
        self._line_of = [
            number for number, line in enumerate(self._lines) if isinstance(line.row, Heading | Item) and line.row.name
        ]

    def rows_changed(self) -> None:
        """Redraw, with the selected setting in view."""
        super().rows_changed()
        self.post_message(self.Moved(self))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Report moved lines after scrolling."""
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self.post_message(self.Moved(self))

    # --- drawing

    def editor_region(self) -> Region | None:
        """The editor's region, relative to this list; None if the selected setting is out of view."""
        row = self._items.row
        if not 0 <= row < len(self._items) or not self.size.width:
            return None
        y = self._line_of[row] - self.scroll_offset.y
        if not 0 <= y < self.size.height:
            return None
        x, width = self._value_place
        item = self._items.shown[row]
        cells_wide = item.editor_cells if isinstance(item, Item) else None
        return Region(x, y, min(width, cells_wide or width), 1)

    @property
    def _value_place(self) -> tuple[int, int]:
        """Column and width of the values."""
        titles = max((cells.width_of(row.title) for row in self._items.shown), default=0)
        x = _MARGIN + min(titles, _LONGEST_TITLE) + 1
        return x, min(_LONGEST_VALUE, max(8, self.size.width - x - self._note_cells - 1))

    @property
    def _note_cells(self) -> int:
        return _NOTE_CELLS + max(0, self.size.width - 80) // 3 if self.size.width >= 66 else 0

    def draw_line(self, number: int) -> Strip:
        """A heading, a setting, or a part of a detail."""
        line, width = self._lines[number], self.size.width
        match line.row:
            case Heading() as heading:
                return self._draw_heading(heading, bool(heading.name) and line.item == self._items.row)
            case Detail(_, tone):
                # The margin as a separate piece: SVG renderers drop leading spaces.
                return self.strip([(" " * _MARGIN, tone.value), (cells.left(line.text, width - _MARGIN), tone.value)])
            case Item() as item:
                return self._draw_item(item, line.item == self._items.row)
        return Strip.blank(width, self.rich_style)

    def opens_at_once(self, row: int) -> bool:
        """A click on a heading opens the section, or folds it."""
        return isinstance(self._items.shown[row], Heading)

    def _draw_heading(self, heading: Heading, selected: bool) -> Strip:
        width, glyphs = self.size.width, self.glyphs
        if not heading.name:
            return self.strip([(cells.left(heading.title, width), "heading")])
        x, _ = self._value_place
        sign = glyphs.fold_open if heading.is_open else glyphs.fold_closed
        note = cells.left(heading.note, width - x, glyphs.ellipsis)
        parts = [
            (glyphs.cursor if selected else " ", "mark"),
            (f"{sign} ", "heading"),
            (cells.left(heading.title, x - _MARGIN, glyphs.ellipsis), "heading"),
            (note, "note"),
        ]
        if selected:
            cursor = "cursor" if self.has_focus else "cursor-blurred"
            parts = [(text, cursor) for text, _ in parts]
        return self.strip(parts)

    def _draw_item(self, item: Item, selected: bool) -> Strip:
        glyphs = self.glyphs
        x, value_cells = self._value_place
        if not item.note:  # its room is the value's
            value_cells = max(value_cells, self.size.width - x - 1)
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
        return self.strip(parts)
