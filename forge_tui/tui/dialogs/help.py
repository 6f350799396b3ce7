"""The help: what a screen is for and all its keys, from the table of actions; searched with `/`."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Input, Static

from forge_tui.tui import word_filter
from forge_tui.tui.bindings import PURPOSES, TITLES, Action
from forge_tui.tui.dialogs.questions import Reading
from forge_tui.tui.offered import Surroundings, offered

# Cells for border, padding and scrollbar of a `Reading`, and its maximum width.
_FRAME, _WIDEST = 7, 90
_LEAST = 20


class HelpScreen(Reading):
    """The keys of one screen by group. While words are typed, only what matches them is shown."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "find", show=False),
        Binding("escape,backspace", "back", show=False),
    ]

    def __init__(self, screen: str, width: int, surroundings: Surroundings) -> None:
        """`width` is that of the terminal in cells."""
        self._screen_name, self._width = screen, width
        self._actions = offered(screen, surroundings)
        super().__init__(self._text(self._actions))

    def compose(self) -> ComposeResult:
        """The keys, scrollable, and the line to search them."""
        yield from super().compose()
        line = Input(placeholder="find: words of the help, or a key (Enter keeps, Esc shows all)", classes="find")
        line.display = False
        yield line

    def action_find(self) -> None:
        """Open the line to search."""
        line = self.query_one(Input)
        line.display = True
        line.focus()

    def action_back(self) -> None:
        """Show all keys again; then close."""
        line = self.query_one(Input)
        if line.value or line.has_focus:
            line.value = ""
            line.display = False
            self._show("")
        else:
            self.action_close()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show what matches."""
        event.stop()
        self._show(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep what was found."""
        event.stop()
        self.set_focus(None)

    def _show(self, words: str) -> None:
        found = word_filter.find(words, self._actions, _has, lambda action: action.label)
        self.text = self._text([self._actions[place] for place in found.places])
        self.query_one(Static).update(self.text)
        self.query_one(VerticalScroll).scroll_home(animate=False)

    def _text(self, actions: Sequence[Action]) -> Text:
        text = Text()
        text.append(f"{TITLES[self._screen_name]}: keys", style="bold")
        text.append("   (arrows scroll, / finds, Enter closes)\n")
        text.append(f"{PURPOSES[self._screen_name]}\n", style="dim")
        keys = max(len(action.key_text) for action in self._actions)
        room = max(_LEAST, min(_WIDEST, int(0.98 * self._width)) - _FRAME - keys - 4)
        for group in dict.fromkeys(action.group for action in actions):
            text.append(f"\n{group}\n", style="bold underline")
            for action in actions:
                if action.group == group:
                    text.append(f"  {action.key_text.ljust(keys)}", style="bold")
                    lines = textwrap.wrap(action.help, room)
                    text.append("  " + f"\n{' ' * (keys + 4)}".join(lines) + "\n")
        if not actions:
            text.append("\nNo key has that in its help.\n")
        return text


def _has(action: Action, word: str) -> bool:
    words = f"{action.label} {action.help} {action.group}".casefold()
    return word in words or word in action.key_text.casefold().split()
