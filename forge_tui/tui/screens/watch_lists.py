"""Watch's lists: moving in the table and the log, marks, order and filter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forge_tui.tui.screens.filter_line import FilterScreen
from forge_tui.tui.screens.watch_panes import WatchPanes

if TYPE_CHECKING:
    from forge_tui.tui.lists.model_table import ModelTable


class WatchLists(FilterScreen, WatchPanes):
    """The actions on the rows of the table and the lines of the log."""

    @property
    def filtered(self) -> ModelTable:
        """The table."""
        return self.table

    def chosen_models(self) -> set[str]:
        """The models selected by X, or the one in the selected row. Marks are for the chart alone."""
        table = self.table
        return set(table.chosen) or ({table.selected} if table.selected is not None else set())

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
        """Clear all marks and what was selected."""
        self.table.clear_marks()
        self.table.clear_chosen()
        self.list_looks_different()

    def action_choose(self) -> None:
        """Select the model for x and r, or not, and go on to the next."""
        self.table.toggle_chosen()
        self.table.move(1)
        self.list_looks_different()

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
        if self.table.follow_best and self.forge.controller.snapshot is not None:
            self.table.show(tuple(self.forge.controller.snapshot.models))
        self.list_looks_different()

    def action_scroll_to_selection(self) -> None:
        """Scroll to the selection."""
        self.table.scroll_to_selection()
