"""A dialog that asks for one line of text."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Label


class AskTextScreen(ModalScreen[str | None]):
    """Returns the text (Enter), or None (Esc, or Enter on an empty line)."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "back", "Back", show=False)]
    DEFAULT_CSS = """
    AskTextScreen { align: center middle; }
    AskTextScreen > Vertical {
        width: 90%; max-width: 96; height: auto; padding: 0 1; border: round $primary; background: $surface;
    }
    AskTextScreen Label { width: 100%; height: auto; }
    AskTextScreen .ask--hint { color: $foreground 60%; }
    """

    def __init__(self, question: str, hint: str = "", text: str = "") -> None:
        super().__init__()
        self._question, self._hint, self._text = question, hint, text

    def compose(self) -> ComposeResult:
        """The question, the line and the keys."""
        with Vertical():
            yield Label(Content(self._question))
            yield Input(self._text, compact=True)
            yield Label(
                Content(f"{self._hint}\nEnter takes it; an empty line, or Esc, goes back".strip()), classes="ask--hint"
            )

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Return the text."""
        self.dismiss(event.value.strip() or None)

    def action_back(self) -> None:
        """Return nothing."""
        self.dismiss(None)
