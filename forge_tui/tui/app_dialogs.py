"""Dialogs above any screen: help, messages, the palette, a text to copy, a question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from rich.text import Text

from forge_tui.errors import ForgeError
from forge_tui.safe_io.printing import printable
from forge_tui.tui.bindings import action_text
from forge_tui.tui.copies import Copy
from forge_tui.tui.dialogs.help import HelpScreen
from forge_tui.tui.dialogs.palette import Palette
from forge_tui.tui.dialogs.questions import Choice, Question, Reading
from forge_tui.tui.offered import Surroundings
from forge_tui.tui.screens.base import ForgeScreen
from forge_tui.tui.screens.watch_text import messages_text

if TYPE_CHECKING:
    from forge_tui.tui.app_interface import CallInThread
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
        call_in_thread: CallInThread,
    ) -> None:
        self._app, self._navigation, self._appearance, self._status = app, navigation, appearance, status
        self._surroundings, self._call_in_thread = surroundings, call_in_thread

    async def ask(self, question: str, choices: Sequence[Choice], default: str | None = None) -> str | None:
        """Ask; returns the chosen value or None. Await it in a worker."""
        return await self._app.push_screen_wait(Question(printable(question), choices, default))

    # --- copying

    def action_copy(self) -> None:
        """Copy one of the texts that the screen offers."""
        front = self._navigation.front
        copies = () if front is None else front.copies()
        if not copies:
            self._status.tell("nothing to copy here: no run is watched or selected", "warning")
        elif len(copies) == 1:
            self._copy(copies[0])
        else:
            self._app.run_worker(self._choose_copy(copies), group="dialog", exclusive=True)

    async def _choose_copy(self, copies: Sequence[Copy]) -> None:
        choices = [Choice(copy.key, _capital(copy.what), copy.key) for copy in copies]
        chosen = await self.ask("Copy", [*choices, Choice("b", "Back", "back")])
        for copy in copies:
            if copy.key == chosen:
                self._copy(copy)

    def _copy(self, copy: Copy) -> None:
        if not copy.reads:
            self._deliver(copy, copy.text())
            return

        def read(text: str | ForgeError) -> None:
            if isinstance(text, ForgeError):
                self._status.tell(str(text), "error")
            else:
                self._deliver(replace(copy, text=lambda: text), text)

        self._call_in_thread(copy.text, then=read)

    def _deliver(self, copy: Copy, text: str) -> None:
        """Send a text to the clipboard, and show it unwrapped, with the mouse left to the terminal until it closes.

        Whether a terminal takes the text (OSC 52) is not known: what is shown can be selected there.
        """
        self._app.copy_to_clipboard(text)
        body = Text(f"{_capital(copy.what)}:\n\n", style="bold")
        body.append(f"{text}\n\n", style="not bold")
        if self._surroundings.in_browser:
            body.append("Sent to the browser's clipboard. Enter goes back.", style="dim")
            self._app.push_screen(Reading(body, whole_width=True))
            return
        from forge_tui.tui.terminal.tmux import put_into_buffer  # imports subprocess, for this only

        self._call_in_thread(partial(put_into_buffer, text), then=lambda _: None)
        hint = "Sent to the clipboard (OSC 52). Not there? Select it here: the mouse is the terminal's until Enter."
        if copy.prints:
            self._app.plain_text = copy.text
            hint += " It is also printed when you leave."
        body.append(hint, style="dim")
        had_mouse = self._appearance.mouse_on
        self._appearance.release_mouse()
        self._app.push_screen(
            Reading(body, whole_width=True), lambda _: self._appearance.take_mouse() if had_mouse else None
        )

    # --- texts

    def action_messages(self) -> None:
        """The last messages of the status line, in full."""
        self._app.push_screen(Reading(messages_text(self._status.messages)))

    def action_help(self) -> None:
        """All keys."""
        front = self._navigation.front
        if front is not None:
            self._app.push_screen(HelpScreen(front.name_of_screen, self._app.size.width, self._surroundings))

    def action_palette(self) -> None:
        """Choose an action by its name."""
        front = self._navigation.front
        if front is not None:
            self._app.run_worker(self._choose_action(front), group="dialog", exclusive=True)

    async def _choose_action(self, screen: ForgeScreen) -> None:
        chosen = await self._app.push_screen_wait(Palette(screen.name_of_screen, self._surroundings))
        if chosen is not None:
            await self._app.run_action(action_text(chosen, type(screen)), screen)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
