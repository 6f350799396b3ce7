"""The list of settings with its editor, which covers the edited value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.message import Message
from textual.widgets import Input

from forge_tui.tui.form.settings_list import SettingsList
from forge_tui.tui.widgets.glyphs import UNICODE, Glyphs


class ValueEditor(Input):
    """Edits one value. Left and right step numbers that have steps."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "put_back", "Put back", show=False)]
    DEFAULT_CSS = """
    ValueEditor { layer: above; display: none; height: 1; border: none; padding: 0; background: $boost; }
    ValueEditor:focus { border: none; background: $boost; background-tint: $foreground 10%; }
    ValueEditor:ansi, ValueEditor:ansi:focus { background: ansi_default; text-style: underline; }
    ValueEditor:nocolor:focus { text-style: underline; }
    """

    @dataclass
    class Stepped(Message):
        """Requests the next larger (1) or smaller (-1) value."""

        by: int

    @dataclass
    class PutBack(Message):
        """Requests the old value and to close the editor."""

    def __init__(self) -> None:
        super().__init__(compact=True, select_on_focus=False)
        self.stepping = False

    def action_cursor_left(self, select: bool = False) -> None:
        """Step down, or move the text cursor."""
        if self.stepping:
            self.post_message(self.Stepped(-1))
        else:
            super().action_cursor_left(select)

    def action_cursor_right(self, select: bool = False) -> None:
        """Step up, or move the text cursor."""
        if self.stepping:
            self.post_message(self.Stepped(1))
        else:
            super().action_cursor_right(select)

    def action_put_back(self) -> None:
        """Close without the change."""
        self.post_message(self.PutBack())


class SettingsPane(Container):
    """A `SettingsList` and, while a value is edited, a `ValueEditor` over it."""

    DEFAULT_CSS = """
    SettingsPane { layers: base above; height: 1fr; }
    """

    @dataclass
    class Left(Message):
        """The editor lost the focus; the typed value is kept."""

    def __init__(self, glyphs: Glyphs = UNICODE, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.settings = SettingsList(glyphs)
        self.editor = ValueEditor()

    def compose(self) -> ComposeResult:
        """The list, and the editor over it."""
        yield self.settings
        yield self.editor

    @property
    def is_open(self) -> bool:
        """Whether a value is being edited."""
        return bool(self.editor.display)

    def open_editor(self, text: str, *, stepping: bool, replace: bool) -> None:
        """Edit the selected setting's value, starting with `text`; with `replace` typing replaces it."""
        self.settings.scroll_to_selection()
        self.editor.stepping = stepping
        with self.editor.prevent(Input.Changed):
            self.editor.value = text
        self.editor.cursor_position = len(text)
        self.editor.display = True
        self.place_editor()
        self.editor.focus(scroll_visible=False)
        if replace:
            self.editor.select_all()

    def put_text(self, text: str) -> None:
        """Show another value in the open editor."""
        with self.editor.prevent(Input.Changed):
            self.editor.value = text
        self.editor.cursor_position = len(text)

    def close_editor(self) -> str | None:
        """Close the editor and return its text; None if it was not open."""
        if not self.is_open:
            return None
        self.editor.display = False
        self.settings.focus(scroll_visible=False)
        return self.editor.value

    def place_editor(self) -> None:
        """Move the editor over the selected value."""
        region = self.settings.editor_region()
        if not self.is_open or region is None:
            return
        self.editor.styles.offset = (region.x, region.y)
        self.editor.styles.width = region.width

    def on_settings_list_moved(self) -> None:
        """Move the editor with the lines."""
        self.place_editor()

    def on_descendant_blur(self, event: events.DescendantBlur) -> None:
        """Close the editor after a click elsewhere; not when the terminal loses the focus."""
        if event.widget is self.editor and self.is_open and self.app.app_focus:
            self.post_message(self.Left())
