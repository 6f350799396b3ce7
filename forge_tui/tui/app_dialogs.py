"""Dialogs above any screen: help, messages, the palette, a text to copy, a question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from forge_tui.safe_io.printing import printable
from forge_tui.tui.bindings import action_text
from forge_tui.tui.dialogs.help import help_screen
from forge_tui.tui.dialogs.palette import Palette
from forge_tui.tui.dialogs.questions import Choice, Question, Reading
from forge_tui.tui.offered import Surroundings
from forge_tui.tui.screens.base import ForgeScreen
from forge_tui.tui.screens.watch_text import messages_text

if TYPE_CHECKING:
    from forge_tui.tui.appearance import Appearance
    from forge_tui.tui.navigation import Navigation
    from forge_tui.tui.status import Status
    from forge_tui.tui.terminal.terminal_app import TerminalApp


class AppDialogs:
    """Opens dialogs above the screen in front."""

    def __init__(
        self,
        app: TerminalApp,
        navigation: Navigation,
        appearance: Appearance,
        status: Status,
        surroundings: Surroundings,
    ) -> None:
        self._app, self._navigation, self._appearance, self._status = app, navigation, appearance, status
        self._surroundings = surroundings

    async def ask(self, question: str, choices: Sequence[Choice], default: str | None = None) -> str | None:
        """Ask; returns the chosen value or None. Await it in a worker."""
        return await self._app.push_screen_wait(Question(printable(question), choices, default))

    def show_plainly(self, title: str, text_now: Callable[[], str]) -> None:
        """Show a text to copy: unwrapped, with the mouse released. It is printed again when the app leaves.

        In a browser it is put into the browser's clipboard.
        """
        text = printable(text_now())
        body = Text(f"{title}\n\n", style="bold")
        body.append(f"{text}\n\n", style="not bold")
        if self._surroundings.in_browser:
            self._app.copy_to_clipboard(text)
            hint = "Sent to the browser's clipboard. Enter goes back."
        else:
            self._appearance.release_mouse()
            self._app.plain_text = text_now
            mouse = "" if self._appearance.mouse_on else " The mouse is left to the terminal until m."
            hint = f"Enter goes back.{mouse} The command is also printed when you leave."
        body.append(hint, style="dim")
        self._app.push_screen(Reading(body, whole_width=True))

    def action_messages(self) -> None:
        """The last messages of the status line, in full."""
        self._app.push_screen(Reading(messages_text(self._status.messages)))

    def action_help(self) -> None:
        """All keys."""
        front = self._navigation.front
        if front is not None:
            self._app.push_screen(help_screen(front.name_of_screen, self._app.size.width, self._surroundings))

    def action_palette(self) -> None:
        """Choose an action by its name."""
        front = self._navigation.front
        if front is not None:
            self._app.run_worker(self._choose_action(front), group="dialog", exclusive=True)

    async def _choose_action(self, screen: ForgeScreen) -> None:
        chosen = await self._app.push_screen_wait(Palette(screen.name_of_screen, self._surroundings))
        if chosen is not None:
            await self._app.run_action(action_text(chosen, type(screen)), screen)
