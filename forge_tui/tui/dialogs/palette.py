"""The palette: choose an action of a screen by its name."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.events import Click, Key
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from forge_tui.tui import word_filter
from forge_tui.tui.bindings import Action
from forge_tui.tui.offered import Surroundings, offered

_SHOWN = 12


class Palette(ModalScreen[str | None]):
    """Type a part of a name, Enter runs the selected action; returns its id."""

    AUTO_FOCUS = "Input"

    def __init__(self, screen: str, surroundings: Surroundings) -> None:
        super().__init__()
        self._actions = offered(screen, surroundings)
        self._found: tuple[Action, ...] = self._actions
        self._selected = 0

    def compose(self) -> ComposeResult:
        """An input line and the matching actions."""
        with Vertical(classes="dialog"):
            yield Input(placeholder="an action, such as: zoom")
            yield Static(self._listed(), markup=False, id="found")

    @property
    def _first(self) -> int:
        """The number of the first action that is listed."""
        return max(0, min(self._selected - _SHOWN // 2, len(self._found) - _SHOWN))

    def _listed(self) -> Text:
        if not self._found:
            return Text("No action fits.")
        first = self._first
        text = Text(no_wrap=True, overflow="ellipsis")
        for number, action in enumerate(self._found[first : first + _SHOWN], first):
            text.append("\n" if number > first else "")
            style = "bold reverse" if number == self._selected else ""
            cursor = ">" if number == self._selected else " "
            text.append(f"{cursor} {action.label.ljust(12)} {action.key_text.ljust(10)} {action.help}", style=style)
        return text

    def on_input_changed(self, event: Input.Changed) -> None:
        """Find actions that match the typed words."""
        found = word_filter.find(event.value, self._actions, _has, lambda action: action.label)
        self._found = tuple(self._actions[place] for place in found.places)
        self._selected = 0
        self.query_one("#found", Static).update(self._listed())

    def on_click(self, event: Click) -> None:
        """Run the action that was clicked on."""
        place = event.get_content_offset(self.query_one("#found", Static))
        if place is not None and self._found:
            event.stop()
            number = self._first + place.y
            self.dismiss(self._found[number].id if number < len(self._found) else None)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Run the selected action."""
        event.stop()
        self.dismiss(self._found[self._selected].id if self._found else None)

    def on_key(self, event: Key) -> None:
        """Select with the arrows."""
        if event.key in ("up", "down") and self._found:
            event.stop()
            event.prevent_default()
            self._selected = (self._selected + (1 if event.key == "down" else -1)) % len(self._found)
            self.query_one("#found", Static).update(self._listed())
        elif event.key in ("escape", "ctrl+c") or (event.key == "backspace" and not self.query_one(Input).value):
            event.stop()
            event.prevent_default()
            self.dismiss(None)


def _has(action: Action, word: str) -> bool:
    return word in f"{action.label} {action.help} {action.group}".casefold()
