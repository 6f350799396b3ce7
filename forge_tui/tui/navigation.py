"""The screen in front, and switching to another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from forge_tui.tui.screens.base import ForgeScreen
from forge_tui.tui.way_back import WayBack

if TYPE_CHECKING:
    from textual.app import App

    from forge_tui.tui.form.source import Draft


class Navigation:
    """Switches between screens; dialogs above them do not count.

    A screen's code is imported when the screen is first needed. `makers` creates each of the three by its name.
    """

    def __init__(self, app: App[Any], opens_on: str, draft: Callable[[], Draft], tell: Callable[[str], None]) -> None:
        """`opens_on` is the name of the first screen; `draft` returns the settings of the next run."""
        self.opens_on = opens_on
        self.way_back = WayBack(opens_on)
        self.makers: dict[str, Callable[[], ForgeScreen]] = {
            "configure": lambda: _configure(draft()),
            "watch": _watch,
            "runs": _runs,
        }
        self._app, self._tell = app, tell

    @property
    def front(self) -> ForgeScreen | None:
        """The screen in front, below any dialog."""
        for screen in reversed(self._app.screen_stack):
            if isinstance(screen, ForgeScreen):
                return screen
        return None

    def screens(self) -> Iterator[ForgeScreen]:
        """The screens that can be drawn, including those behind another one."""
        return (each for each in list(self._app.screen_stack) if isinstance(each, ForgeScreen) and each.is_there)

    def draw_front(self) -> None:
        """Redraw header, resources and status."""
        if self.front is not None:
            self.front.draw_shell()

    def first_screen(self) -> ForgeScreen:
        """The screen that the app opens on."""
        screen = self.makers[self.opens_on]()
        screen._push_result_callback(self._app, None)  # as `push_screen` does: `switch_screen` removes it again
        return screen

    def go_to(self, name: str) -> None:
        """Bring one of the three screens to the front."""
        app = self._app
        self.way_back.go(name)
        while len(app.screen_stack) > 1 and not isinstance(app.screen, ForgeScreen):
            app.pop_screen()
        if self.front is not None and self.front.name_of_screen == name:
            self.front.draw_all()
            return
        while len(app.screen_stack) > 1:
            app.pop_screen()
        app.switch_screen(self.makers[name]())

    def go_back(self) -> None:
        """Go from one of the three screens to the previous one."""
        name = self.way_back.back()
        if name is None:
            self._tell("there is no previous screen: 1, 2 and 3 lead to the others, q leaves")
        else:
            self.go_to(name)

    def open_model(self, name: str) -> None:
        """Show one model of the watched run."""
        from forge_tui.tui.screens.model import ModelScreen

        self._app.push_screen(ModelScreen(name))

    def action_show_configure(self) -> None:
        """Bring Configure to the front."""
        self.go_to("configure")

    def action_show_watch(self) -> None:
        """Bring Watch to the front."""
        self.go_to("watch")

    def action_show_runs(self) -> None:
        """Bring Runs to the front."""
        self.go_to("runs")


def _configure(draft: Draft) -> ForgeScreen:
    from forge_tui.tui.screens.configure import ConfigureScreen

    return ConfigureScreen(draft)


def _watch() -> ForgeScreen:
    from forge_tui.tui.screens.watch import WatchScreen

    return WatchScreen()


def _runs() -> ForgeScreen:
    from forge_tui.tui.screens.runs import RunsScreen

    return RunsScreen()
