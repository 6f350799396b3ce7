"""The list of known runs: draws only the rows in view, however many runs there are."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from forge_tui.tui.lists import run_columns
from forge_tui.tui.lists.known_runs import RunLook
from forge_tui.tui.widgets.glyphs import UNICODE, Glyphs

_NAMES = ("header", "name", "number", "quiet", "active", "paused", "done", "failed", "mark", "cursor", "empty")


class RunList(ScrollView, can_focus=True, inherit_bindings=False):
    """One line a run, under a line of titles. It binds no keys: the screen calls its methods."""

    ALLOW_MAXIMIZE = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"run-list--{name}" for name in _NAMES}
    DEFAULT_CSS = """
    RunList {
        scrollbar-size: 0 0; overflow-x: hidden; overflow-y: scroll;
        & > .run-list--header { color: $foreground 60%; }
        & > .run-list--name { color: $foreground; }
        & > .run-list--number { color: $foreground; }
        & > .run-list--quiet { color: $foreground 60%; }
        & > .run-list--active { color: $primary-lighten-2; }
        & > .run-list--paused { color: $warning; }
        & > .run-list--done { color: $success; }
        & > .run-list--failed { color: $error-lighten-2; }
        & > .run-list--mark { color: $warning; text-style: bold; }
        & > .run-list--cursor { background: $primary; color: $text; text-style: bold; }
        & > .run-list--empty { color: $foreground; }
        &:light > .run-list--active { color: $primary-darken-1; }
        &:light > .run-list--failed { color: $error; }
        &:ansi > .run-list--header { color: ansi_default; text-style: dim; }
        &:ansi > .run-list--quiet { color: ansi_default; text-style: dim; }
        &:ansi > .run-list--empty { color: ansi_default; }
        &:ansi > .run-list--cursor { background: ansi_default; color: ansi_default; text-style: reverse bold; }
        &:nocolor > .run-list--cursor {
            background: $background; color: $foreground; text-style: reverse bold;
        }
    }
    """

    @dataclass
    class Selected(Message):
        """Another run is selected; None where the list is empty."""

        path: Path | None

    @dataclass
    class Opened(Message):
        """A run was opened by a double click."""

        path: Path

    @dataclass
    class Arranged(Message):
        """Other runs are marked, or the filter is another."""

    @dataclass
    class RangeChanged(Message):
        """Other rows are in view, or there are more or fewer; `text` as `RunList.visible_range`."""

        text: str

        def can_replace(self, message: Message) -> bool:
            """Only the newest range counts."""
            return isinstance(message, RunList.RangeChanged)

    def __init__(
        self, *, glyphs: Glyphs = UNICODE, now: Callable[[], float] = time.time, id: str | None = None
    ) -> None:
        """`now` (UNIX seconds) dates the runs."""
        super().__init__(id=id)
        self.empty_text = ""
        self.no_match_text = "No run matches the filter: / changes it."
        self.filter_text = ""
        self.glyphs = glyphs
        self.marks: tuple[Path, ...] = ()
        self._now = now
        self._looks: tuple[RunLook, ...] = ()
        self._shown: list[RunLook] = []
        self._row = -1
        self._layout: run_columns.RunLayout | None = None
        self._styles: dict[str, Style] = {}
        self._told: tuple[Path | None, str] = (None, "")

    # What is shown

    def show(self, looks: tuple[RunLook, ...]) -> None:
        """Show these runs, in this order; the selection and the marks stay with their runs."""
        self._looks = looks
        there = {look.entry.path for look in looks}
        self.marks = tuple(path for path in self.marks if path in there)
        self._arrange()

    @property
    def looks(self) -> tuple[RunLook, ...]:
        """All runs, shown or not."""
        return self._looks

    @property
    def shown(self) -> tuple[RunLook, ...]:
        """The runs that pass the filter, from the first row to the last."""
        return tuple(self._shown)

    def set_filter(self, text: str) -> None:
        """Show only runs in which every word of `text` occurs: in id, state, type, mode or path. Empty shows all."""
        self.filter_text = text
        self._arrange()
        self.post_message(self.Arranged())

    @property
    def visible_range(self) -> str:
        """Which rows are in view, as `rows 5–12 of 12`; says so where a filter hides some."""
        total, shown = len(self._looks), len(self._shown)
        top = self.scroll_offset.y
        bottom = min(shown, top + max(0, self.size.height - 1))
        if bottom <= top:
            return f"0 of {total}" if total else ""
        more = f" ({total} in all)" if shown != total else ""
        return f"rows {top + 1}{self.glyphs.dash_range}{bottom} of {shown}{more}"

    # Selection

    @property
    def selected(self) -> RunLook | None:
        """The selected run."""
        return self._shown[self._row] if 0 <= self._row < len(self._shown) else None

    def select(self, path: Path) -> bool:
        """Select the run in a directory; False where it is not shown."""
        row = next((row for row, look in enumerate(self._shown) if look.entry.path == path), None)
        if row is not None:
            self._select(row)
        return row is not None

    def move(self, by: int) -> None:
        """Move the selection by so many rows."""
        self._select(self._row + by)

    def move_to(self, end: Literal["first", "last"]) -> None:
        """Move the selection to the first or the last row."""
        self._select(0 if end == "first" else len(self._shown) - 1)

    def page(self, direction: int) -> None:
        """Move the selection by a page, up (-1) or down (1)."""
        self.move(direction * max(1, self._page - 1))

    def scroll_to_selection(self) -> None:
        """Scroll as little as brings the selected row into view."""
        row, top = self._row, self.scroll_offset.y
        target = row if row < top else row - self._page + 1 if row >= top + self._page else top
        if row >= 0 and target != top:
            self.scroll_to(y=target, animate=False, force=True)

    def _select(self, row: int) -> None:
        before = self._row
        self._row = min(max(row, 0), len(self._shown) - 1)
        for changed in (before, self._row):
            line = changed - self.scroll_offset.y + 1
            if 1 <= line < self.size.height:
                self.refresh(Region(0, line, self.size.width, 1))
        self.scroll_to_selection()
        self._tell()

    # Marks

    def toggle_mark(self) -> None:
        """Mark the selected run after those that are marked, or take its mark away."""
        if (selected := self.selected) is not None:
            path = selected.entry.path
            others = tuple(mark for mark in self.marks if mark != path)
            self.marks = others if path in self.marks else (*self.marks, path)
            self.refresh(self.size.region)
            self.post_message(self.Arranged())

    def clear_marks(self) -> None:
        """Take all marks away."""
        self.marks = ()
        self.refresh(self.size.region)
        self.post_message(self.Arranged())

    # Actions of the screen that shows it

    def action_mark(self) -> None:
        """Mark or unmark the selected run and go to the next."""
        self.toggle_mark()
        self.move(1)

    def action_mark_none(self) -> None:
        """Clear all marks."""
        self.clear_marks()

    def action_scroll_to_selection(self) -> None:
        """Scroll to the selection."""
        self.scroll_to_selection()

    # Keeping the drawing in step

    @property
    def _page(self) -> int:
        return max(1, self.size.height - 1)

    def _arrange(self) -> None:
        selected = self.selected
        words = self.filter_text.casefold().split()
        self._shown = [look for look in self._looks if not words or all(word in _words_of(look) for word in words)]
        self._row = min(max(self._row, 0), len(self._shown) - 1)
        if selected is not None:
            path = selected.entry.path
            self._row = next((row for row, look in enumerate(self._shown) if look.entry.path == path), self._row)
        self._layout = None
        size = Size(self.size.width, len(self._shown) + 1)
        if size != self.virtual_size:
            self.virtual_size = size
        self.refresh(self.size.region)
        self.scroll_to_selection()
        self._tell()

    def _tell(self) -> None:
        selected = self.selected
        path, text = None if selected is None else selected.entry.path, self.visible_range
        before, self._told = self._told, (path, text)
        if path != before[0]:
            self.post_message(self.Selected(path))
        if text != before[1]:
            self.post_message(self.RangeChanged(text))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Other rows came into view."""
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self._tell()

    def on_resize(self, event: events.Resize) -> None:
        """Lay the columns out for the new width."""
        self._arrange()

    def notify_style_update(self) -> None:
        """Colours changed: draw all anew."""
        super().notify_style_update()
        self._styles.clear()

    def on_click(self, event: events.Click) -> None:
        """Select the row clicked; open it at a double click."""
        place = event.get_content_offset(self)
        if place is None or place.y == 0:
            return
        row = self.scroll_offset.y + place.y - 1
        if row < len(self._shown):
            self._select(row)
            if event.chain == 2:
                self.post_message(self.Opened(self._shown[row].entry.path))

    # Drawing

    def render_line(self, y: int) -> Strip:
        """A visible line: the titles, a run, or nothing."""
        width = self.size.width
        if not self._shown:
            text = self.empty_text if not self._looks else self.no_match_text
            return self._strip([(f"  {text}" if y == 1 else "", "empty")], width)
        if self._layout is None:
            self._layout = run_columns.run_layout(width, self._looks)
        if y == 0:
            return self._strip(run_columns.titles(self._layout, self.glyphs), width)
        row = self.scroll_offset.y + y - 1
        if row >= len(self._shown):
            return self._strip([], width)
        runs = run_columns.run_row(self._shown[row], self._layout, self.glyphs, self._now())
        marked = self._shown[row].entry.path in self.marks
        if row == self._row:
            # One style for the whole row: every colour of a cell would need its contrast to the cursor's looked at.
            signs = self.glyphs.cursor + (self.glyphs.mark if marked else " ")
            return self._strip([(signs + "".join(text for text, _ in runs), "cursor")], width)
        return self._strip([(f"{self.glyphs.mark} ", "mark") if marked else ("  ", "name"), *runs], width)

    def _strip(self, runs: list[tuple[str, str]], width: int) -> Strip:
        strip = Strip([Segment(text, self._style(name)) for text, name in runs])
        return strip.adjust_cell_length(width, self._style(runs[-1][1] if runs else "name"))

    def _style(self, name: str) -> Style:
        style = self._styles.get(name)
        if style is None:
            style = self._styles[name] = self.get_component_rich_style(f"run-list--{name}")
        return style


def _words_of(look: RunLook) -> str:
    entry = look.entry
    words = (entry.run, look.state_word, "live" if look.is_live else "", entry.model_type, entry.mode, str(entry.path))
    return " ".join(words).casefold()
