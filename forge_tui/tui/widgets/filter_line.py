"""The line that filters a list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input


class Filtered(Protocol):
    """A list that can be filtered."""

    @property
    def filter_text(self) -> str:
        """The words of the filter; empty: everything is shown."""

    def set_filter(self, text: str) -> None:
        """Show only matching rows."""

    def focus(self) -> object:
        """Get the keyboard focus."""


class FilterLine(Input):
    """Filters a list during typing. Enter keeps the filter, Esc and Backspace at its start clear it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "clear_filter", show=False)]

    @dataclass
    class Closed(Message):
        """The list has the focus again."""

    def __init__(self, filtered: Filtered, placeholder: str, *, id: str | None = None) -> None:
        super().__init__(id=id, placeholder=placeholder)
        self._filtered = filtered

    @property
    def narrows(self) -> bool:
        """Whether a filter narrows the list."""
        return bool(self._filtered.filter_text)

    def widen(self) -> None:
        """Show everything again."""
        self._close("")

    def action_filter(self) -> None:
        """Open the line."""
        self.value = self._filtered.filter_text
        self.add_class("-open")
        self.focus()

    async def action_submit(self) -> None:
        """Keep the filter."""
        self._close(self.value)

    def action_clear_filter(self) -> None:
        """Show everything again."""
        self._close("")

    def action_delete_left(self) -> None:
        """Delete a character; at the start, show everything again."""
        if self.cursor_position or not self.selection.is_empty:
            super().action_delete_left()
        else:
            self._close("")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while typing."""
        event.stop()
        if self.has_class("-open"):
            self._filtered.set_filter(event.value)

    def _close(self, text: str) -> None:
        self.remove_class("-open")
        self._filtered.set_filter(text)
        self._filtered.focus()
        self.post_message(self.Closed())
