"""Watch's lists: moving in the table and the log, marks, order and filter."""

from __future__ import annotations

from textual.events import Key
from textual.widgets import Input

from forge_tui.tui.screens.watch_panes import WatchPanes


class WatchLists(WatchPanes):
    """The actions on the rows of the table and the lines of the log."""

    def list_looks_different(self) -> None:
        """Called when order, filter or what is followed have changed, for what is written beside the table."""

    def chosen_models(self) -> set[str]:
        """The marked models, or the selected one."""
        table = self.table
        return set(table.marks) or ({table.selected} if table.selected is not None else set())

    def _in_log(self) -> bool:
        return self.focused is self.log_pane

    def _move(self, by: int) -> None:
        if self._in_log():
            self.log_pane.scroll_relative(y=by, animate=False)
        else:
            self.table.move(by)

    def action_up(self) -> None:
        """One up."""
        self._move(-1)

    def action_down(self) -> None:
        """One down."""
        self._move(1)

    def _page(self, direction: int) -> None:
        if self._in_log():
            log = self.log_pane
            log.scroll_relative(y=direction * max(1, log.size.height - 1), animate=False)
        else:
            self.table.page(direction)

    def action_page_up(self) -> None:
        """One page up."""
        self._page(-1)

    def action_page_down(self) -> None:
        """One page down."""
        self._page(1)

    def action_first(self) -> None:
        """To the first row or line."""
        if self._in_log():
            self.log_pane.scroll_home(animate=False)
        else:
            self.table.move_to("first")

    def action_last(self) -> None:
        """To the last row or line."""
        if self._in_log():
            self.log_pane.scroll_end(animate=False)
        else:
            self.table.move_to("last")

    def action_open(self) -> None:
        """Open the selected model."""
        self.table.open_selected()

    def action_mark(self) -> None:
        """Mark or unmark the selected model and go on to the next."""
        self.table.toggle_mark()
        self.table.move(1)

    def action_mark_all(self) -> None:
        """Mark all that are shown."""
        self.table.mark_all()

    def action_mark_none(self) -> None:
        """Clear all marks."""
        self.table.clear_marks()

    def action_sort(self) -> None:
        """Sort by the next column."""
        self.forge.choices.put("sort", self.table.next_sort())
        self.list_looks_different()

    def action_reverse(self) -> None:
        """Reverse the order."""
        self.table.reverse_sort()
        self.forge.choices.put("sort_reversed", self.table.sort_reversed)
        self.list_looks_different()

    def action_follow_best(self) -> None:
        """Let the selection follow the best model, or not."""
        self.table.follow_best = not self.table.follow_best
        if self.table.follow_best and self.forge.snapshot is not None:
            self.table.show(tuple(self.forge.snapshot.models))
        self.list_looks_different()

    def action_scroll_to_selection(self) -> None:
        """Scroll to the selection."""
        self.table.scroll_to_selection()

    def action_filter(self) -> None:
        """Open the line for the filter."""
        entry = self.query_one("#filter", Input)
        entry.value = self.table.filter_text
        entry.add_class("-open")
        entry.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while typing."""
        if event.input.id == "filter" and event.input.has_class("-open"):
            self.table.set_filter(event.value)
            self.list_looks_different()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep the filter and close the line."""
        self._close_filter(event.input)

    def on_key(self, event: Key) -> None:
        """Esc closes the line of the filter and clears it."""
        if event.key != "escape" or not self.is_there:
            return
        entry = self.query_one("#filter", Input)
        if entry.has_focus:
            event.stop()
            self.table.set_filter("")
            self._close_filter(entry)

    def _close_filter(self, entry: Input) -> None:
        entry.remove_class("-open")
        self.table.focus()
        self.list_looks_different()
