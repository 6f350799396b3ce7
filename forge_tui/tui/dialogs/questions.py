"""Questions, texts and one-line input above a screen. Letters and Enter answer; Esc is never needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.events import Click, Key
from textual.screen import ModalScreen
from textual.widgets import Input, Static


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer: the key that gives it, its label, and the value that is returned."""

    key: str
    label: str
    value: str


class Question(ModalScreen[str | None]):
    """A question with a few answers: arrows select, Enter gives the selected one, a letter answers at once."""

    def __init__(self, question: str, choices: Sequence[Choice], default: str | None = None) -> None:
        super().__init__()
        self._question = question
        self._choices = tuple(choices)
        values = [choice.value for choice in self._choices]
        self._selected = values.index(default) if default in values else 0

    def compose(self) -> ComposeResult:
        """The question and its answers."""
        with Vertical(classes="dialog"):
            yield Static(Text(self._question), markup=False, classes="dialog-text")
            yield Static(self._answers(), markup=False, id="answers")

    def _answers(self) -> Text:
        text = Text()
        for number, choice in enumerate(self._choices):
            text.append("\n" if number else "")
            cursor = "> " if number == self._selected else "  "
            text.append(
                f"{cursor}{choice.key}  {choice.label}", style="bold reverse" if number == self._selected else ""
            )
        return text

    def on_key(self, event: Key) -> None:
        """Select, or answer."""
        event.stop()
        event.prevent_default()
        # Answers first: "j" and "k" may be answers' letters.
        for choice in self._choices:
            if event.character == choice.key:
                self.dismiss(choice.value)
                return
        if event.key in ("up", "k", "shift+tab", "left"):
            self._move(-1)
        elif event.key in ("down", "j", "tab", "right"):
            self._move(1)
        elif event.key == "enter":
            self.dismiss(self._choices[self._selected].value)
        elif event.key in ("escape", "backspace", "q", "ctrl+c", "ctrl+q"):
            self.dismiss(None)

    def on_click(self, event: Click) -> None:
        """Give the answer that was clicked on."""
        place = event.get_content_offset(self.query_one("#answers", Static))
        if place is not None and place.y < len(self._choices):
            event.stop()
            self.dismiss(self._choices[place.y].value)

    def _move(self, by: int) -> None:
        self._selected = (self._selected + by) % len(self._choices)
        self.query_one("#answers", Static).update(self._answers())


class Reading(ModalScreen[None]):
    """A text to read: help, a command to copy. Enter, q, Backspace or Esc closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll(-1)", show=False),
        Binding("down,j", "scroll(1)", show=False),
        Binding("pageup", "scroll(-10)", show=False),
        Binding("pagedown,space", "scroll(10)", show=False),
        Binding("home,g", "to_end(False)", show=False),
        Binding("end,G", "to_end(True)", show=False),
        Binding("q,enter,backspace,escape,question_mark,ctrl+c", "close", show=False),
    ]

    def __init__(self, text: Text, *, whole_width: bool = False) -> None:
        super().__init__()
        self.text = text
        self._whole_width = whole_width

    def compose(self) -> ComposeResult:
        """The text, scrollable."""
        with VerticalScroll(classes="reading-whole" if self._whole_width else "reading", can_focus=False):
            yield Static(self.text, markup=False)

    def action_scroll(self, by: int) -> None:
        """Scroll by lines."""
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)

    def action_to_end(self, last: bool) -> None:
        """Scroll to the first or the last line."""
        scroll = self.query_one(VerticalScroll)
        scroll.scroll_end(animate=False) if last else scroll.scroll_home(animate=False)

    def action_close(self) -> None:
        """Close."""
        self.dismiss(None)


class Ask(ModalScreen[str | None]):
    """One line of input; Enter gives it, Esc or Ctrl+C gives None."""

    AUTO_FOCUS = "Input"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,ctrl+c", "close", show=False, priority=True)]

    def __init__(self, question: str, value: str = "", *, selected: bool = False) -> None:
        """`selected`: typing replaces `value`."""
        super().__init__()
        self._question = question
        self._value = value
        self._selected = selected

    def compose(self) -> ComposeResult:
        """The question and the line."""
        with Vertical(classes="dialog"):
            yield Static(Text(self._question), markup=False, classes="dialog-text")
            yield Input(self._value, select_on_focus=self._selected)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Return the line."""
        event.stop()
        self.dismiss(event.value)

    def action_close(self) -> None:
        """Return None."""
        self.dismiss(None)
