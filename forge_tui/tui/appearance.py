"""How the app looks: theme, sidebar, mouse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forge_tui.tui import themes
from forge_tui.tui.options import THEMES, UiOptions

if TYPE_CHECKING:
    from forge_tui.tui.choices import UiChoices
    from forge_tui.tui.navigation import Navigation
    from forge_tui.tui.status import Status
    from forge_tui.tui.terminal.terminal_app import TerminalApp

NO_MOUSE_SWITCH = "mouse: it cannot be switched here, only on a terminal"
_WIDE = 100


class Appearance:
    """The user's choices, and the actions that change them."""

    def __init__(
        self, app: TerminalApp, options: UiOptions, choices: UiChoices, navigation: Navigation, status: Status
    ) -> None:
        self.mouse_on = options.mouse
        self.sidebar_hidden = False
        """Whether the sidebar is hidden on a wide terminal."""
        self.sidebar_whole = False
        """Whether the sidebar fills the screen on a narrow terminal."""
        self._app, self._choices, self._navigation, self._tell = app, choices, navigation, status.tell
        for theme in themes.OURS:
            app.register_theme(theme)
        wanted = options.theme or choices.get("theme", "")
        self.theme_name = wanted if wanted in THEMES else "ansi" if app.console.color_system == "standard" else "dark"

    @property
    def textual_theme(self) -> str:
        """Textual's name of the theme."""
        return themes.TEXTUAL_NAMES[self.theme_name]

    def begin(self) -> None:
        """Leave the mouse to the terminal if the settings say so."""
        if not self.mouse_on and not self._app.set_mouse(False):
            self._tell(NO_MOUSE_SWITCH, "warning")

    def release_mouse(self) -> None:
        """Leave the mouse to the terminal, for selecting text, if that is possible."""
        self.mouse_on = not self._app.set_mouse(False) and self.mouse_on

    def take_mouse(self) -> None:
        """Use the mouse again."""
        self.mouse_on = self._app.set_mouse(True) or self.mouse_on

    def action_theme(self) -> None:
        """Switch to the next theme, and remember it."""
        name = self.theme_name = THEMES[(THEMES.index(self.theme_name) + 1) % len(THEMES)]
        self._app.theme = self.textual_theme
        self._choices.put("theme", name)
        self._tell(f"theme {name}")

    def action_mouse(self) -> None:
        """Use the mouse or leave it to the terminal."""
        if not self._app.set_mouse(not self.mouse_on):
            self._tell(NO_MOUSE_SWITCH, "warning")
            return
        self.mouse_on = not self.mouse_on
        self._tell("mouse: on" if self.mouse_on else "mouse: left to the terminal, for selecting text")

    def action_resources(self) -> None:
        """Wide terminal: show or hide the sidebar. Narrow: switch between full screen and one line."""
        width, height = self._app.size
        if width >= _WIDE:
            self.sidebar_hidden = not self.sidebar_hidden
        else:
            self.sidebar_whole = not self.sidebar_whole
        front = self._navigation.front
        if front is not None:
            front.fit(width, height)
            self._app.call_after_refresh(front.draw_shell)
