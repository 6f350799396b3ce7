"""The line that filters a list, the same on every screen that has one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.events import Key
from textual.widgets import Input

from forge_tui.tui.screens.base import ForgeScreen

if TYPE_CHECKING:
    from forge_tui.tui.widgets.model_table import ModelTable
    from forge_tui.tui.widgets.run_list import RunList


class FilterScreen(ForgeScreen):
    """A screen with a list and, as `#filter`, the line for its filter."""

    @property
    def filtered(self) -> ModelTable | RunList:
        """The list: the screen says which."""
        raise AttributeError(f"{type(self).__name__} has no list")

    def list_looks_different(self) -> None:
        """Called when order, filter or what is followed have changed, for what is written beside the list."""

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

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep the filter and close its line."""
        self._close_filter(event.input)

    def on_key(self, event: Key) -> None:
        """Esc closes the line of the filter and clears it."""
        if event.key != "escape" or not self.is_there:
            return
        entry = self.query_one("#filter", Input)
        if entry.has_focus:
            event.stop()
            self.filtered.set_filter("")
            self._close_filter(entry)

    def _close_filter(self, entry: Input) -> None:
        entry.remove_class("-open")
        self.filtered.focus()
        self.list_looks_different()
