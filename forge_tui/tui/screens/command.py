"""A command to copy: shown in full, copied by the terminal, or printed on the plain screen with the mouse released."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult, SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Label, Static


class CommandScreen(ModalScreen[None]):
    """Shows a command from the first column on, without a frame, so that it can be marked with the mouse."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,backspace,Y", "back", "Back", show=False),
        Binding("c", "copy", "Copy", show=False),
        Binding("p", "plain", "Plain screen", show=False),
    ]
    DEFAULT_CSS = """
    CommandScreen { align: left bottom; }
    CommandScreen > VerticalScroll {
        width: 100%; height: auto; max-height: 100%; background: $surface; border-top: solid $primary;
    }
    CommandScreen Static { width: 100%; text-style: bold; }
    CommandScreen Label { width: 100%; color: $foreground 60%; }
    """

    def __init__(self, command: str) -> None:
        super().__init__()
        self.command = command

    def compose(self) -> ComposeResult:
        """The command and the keys."""
        with VerticalScroll():
            yield Label(Content("The same run without the screen:"))
            yield Static(Content(self.command))
            yield Label(Content("p print it on the plain screen, in one line · c copy by the terminal · Enter back"))

    def action_plain(self) -> None:
        """Print it on the normal screen and wait for Enter; the terminal's own mouse marks it there."""
        try:
            with self.app.suspend():
                print(self.command)
                input("\nEnter goes back to the screen ")
        except SuspendNotSupported:
            self.query(Label).last().update(Content("there is no plain screen here · c copy · Enter back"))
        except EOFError:
            self.dismiss(None)

    def action_copy(self) -> None:
        """Hand it to the terminal's clipboard (OSC 52), which tmux drops unless it is told otherwise."""
        self.app.copy_to_clipboard(self.command)
        self.query(Label).last().update(Content("copied, if this terminal allows it · p plain screen · Enter back"))

    def action_back(self) -> None:
        """Close."""
        self.dismiss(None)
