"""The line that filters a list, the same on every screen that has one."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input

from forge_tui.tui.screens.base import ForgeScreen

if TYPE_CHECKING:
    from forge_tui.tui.lists.model_table import ModelTable
    from forge_tui.tui.lists.run_list import RunList


class FilterLine(Input):
    """Enter keeps what is written, Esc and Backspace at its start clear it; the next key is the list's."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "clear_filter", show=False)]

    async def action_submit(self) -> None:
        """Keep the filter."""
        self._close(self.value)

    def action_clear_filter(self) -> None:
        """Show everything again."""
        self._close("")

    def action_delete_left(self) -> None:
        """Delete a character; where there is none to the left, show everything again."""
        if self.cursor_position or not self.selection.is_empty:
            super().action_delete_left()
        else:
            self._close("")

    def _close(self, text: str) -> None:
        screen = self.screen
        assert isinstance(screen, FilterScreen)
        screen.close_filter(text)


class FilterScreen(ForgeScreen):
    """A screen with a list and, as `#filter`, the line for its filter."""

    @property
    def filtered(self) -> ModelTable | RunList:
        """The list: the screen says which."""
        raise AttributeError(f"{type(self).__name__} has no list")

    def list_looks_different(self) -> None:
        """Called when order, filter or what is followed have changed, for what is written beside the list."""

    @property
    def narrowed(self) -> bool:
        """A filter narrows the list."""
        return super().narrowed or bool(self.filtered.filter_text)

    def widen(self) -> None:
        """Show all rows again."""
        if super().narrowed:
            super().widen()
        else:
            self.close_filter("")

    def action_filter(self) -> None:
        """Open the line for the filter."""
        entry = self.query_one("#filter", Input)
        entry.value = self.filtered.filter_text
        entry.add_class("-open")
        entry.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while typing."""
        if event.input.has_class("-open"):
            self.filtered.set_filter(event.value)
            self.list_looks_different()

    def close_filter(self, text: str) -> None:
        """Filter by `text` and go back to the list."""
        self.query_one("#filter", Input).remove_class("-open")
        self.filtered.set_filter(text)
        self.filtered.focus()
        self.list_looks_different()
        self.draw_shell()
