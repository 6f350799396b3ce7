"""A dialog to choose one of a list, by arrows or by typing a part of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Label, OptionList
from textual.widgets.option_list import Option as Row

from forge_tui.tui.widgets import cells

# Others are found by typing a part of their name.
_MOST_SHOWN = 1_000


@dataclass(frozen=True, slots=True)
class Option:
    """One line of the list: value, label, and a detail."""

    value: str
    label: str
    detail: str = ""


class Part(Input):
    """Input for a part of a name. Backspace at its start goes back, as Esc does."""

    def action_delete_left(self) -> None:
        """Delete a character; at the start, go back to the list."""
        if self.cursor_position or not self.selection.is_empty:
            super().action_delete_left()
        else:
            self.screen.action_back()  # type: ignore[attr-defined]


class PickScreen(ModalScreen[str | None]):
    """Returns the value of the choice, or None for none."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "move(1)", "Down", show=False),
        Binding("k", "move(-1)", "Up", show=False),
        Binding("g", "to_end(False)", "First", show=False),
        Binding("G", "to_end(True)", "Last", show=False),
        Binding("slash", "filter", "Filter", show=False),
        Binding("escape,q,backspace", "back", "Back", show=False),
        Binding("down", "to_list", "List", show=False),
    ]
    DEFAULT_CSS = """
    PickScreen { align: center middle; }
    PickScreen > Vertical {
        width: 90%; max-width: 96; height: auto; max-height: 90%; padding: 0 1;
        border: round $primary; background: $surface;
    }
    PickScreen Label { width: 100%; height: auto; }
    PickScreen .pick--hint { color: $foreground 60%; height: 1; }
    PickScreen OptionList {
        height: auto; max-height: 70vh; border: none; padding: 0; background: $surface;
        scrollbar-size-vertical: 1; text-wrap: nowrap; text-overflow: ellipsis;
    }
    PickScreen OptionList:focus { border: none; }
    PickScreen Input { display: none; }
    """

    def __init__(self, title: str, choices: Sequence[Option], selected: str | None = None) -> None:
        super().__init__()
        self._title = title
        self._choices = tuple(choices)
        self._selected = selected
        self._shown: tuple[Option, ...] = ()

    def compose(self) -> ComposeResult:
        """Title, list and keys."""
        with Vertical():
            yield Label(Content(self._title))
            yield Part(placeholder="a part of the name", compact=True)
            yield OptionList(markup=False)
            yield Label(Content("Enter choose · / find · Esc back"), classes="pick--hint")

    def on_mount(self) -> None:
        """Fill the list; the current choice is selected."""
        self._show("")
        options = self.query_one(OptionList)
        for place, choice in enumerate(self._shown):
            if choice.value == self._selected:
                options.highlighted = place
        options.focus()

    def _show(self, part: str) -> None:
        words = part.casefold()
        found = [choice for choice in self._choices if words in choice.label.casefold()]
        self._shown = tuple(found[:_MOST_SHOWN])
        width = min(40, max((cells.width_of(choice.label) for choice in self._shown), default=0))
        options = self.query_one(OptionList)
        options.clear_options()
        width = width if any(choice.detail for choice in self._shown) else 0
        for one in self._shown:
            label = cells.clean(one.label)
            detail = f"  {cells.clean(one.detail)}" if one.detail else ""
            options.add_option(Row(Content((cells.left(label, max(width, cells.width_of(label))) + detail).rstrip())))
        if len(found) > len(self._shown):
            options.add_option(Row(f"… {len(found) - len(self._shown)} more: / finds them", disabled=True))
        if not found:
            options.add_option(Row("nothing has that in its name", disabled=True))
        options.highlighted = 0 if found else None

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show what matches."""
        self._show(event.value)

    def on_input_submitted(self) -> None:
        """Choose the selected line."""
        options = self.query_one(OptionList)
        if options.highlighted is not None:
            self.dismiss(self._shown[options.highlighted].value)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Choose."""
        self.dismiss(self._shown[event.option_index].value)

    def action_to_end(self, last: bool) -> None:
        """Select the first or the last one."""
        options = self.query_one(OptionList)
        options.action_last() if last else options.action_first()

    def action_move(self, by: int) -> None:
        """Select the next or the previous one."""
        options = self.query_one(OptionList)
        (options.action_cursor_down if by > 0 else options.action_cursor_up)()

    def action_filter(self) -> None:
        """Type a part of a name."""
        field = self.query_one(Input)
        field.display = True
        field.focus()

    def action_to_list(self) -> None:
        """Move the focus from the input to the list."""
        self.query_one(OptionList).focus()

    def action_back(self) -> None:
        """Choose nothing; while a part of a name is typed, show all again."""
        field = self.query_one(Input)
        if field.display:
            field.value = ""
            field.display = False
            self.query_one(OptionList).focus()
        else:
            self.dismiss(None)
