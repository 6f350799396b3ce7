"""Protocols of the app for screens, dialogs and panes, which do not import the app itself."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from textual.dom import DOMNode

    from forge_tui.protocol.snapshot import Snapshot
    from forge_tui.settings.schema import Settings
    from forge_tui.tui.choices import UiChoices
    from forge_tui.tui.machine import Machine
    from forge_tui.tui.offered import Surroundings
    from forge_tui.tui.run_controller import RunController
    from forge_tui.tui.status import Severity, Status
    from forge_tui.tui.way_back import WayBack
    from forge_tui.tui.widgets.glyphs import Glyphs


class Tell(Protocol):
    """Shows a message in the status line."""

    def __call__(
        self, message: str, severity: Severity = "information", *, holds: Callable[[Snapshot], bool] | None = None
    ) -> None:
        """Show a message; it is removed once `holds` is false for a snapshot."""


class CallInThread(Protocol):
    """Runs a function in a worker thread."""

    def __call__(self, function: Callable[[], Any], then: Callable[[Any], None], subject: str = "") -> None:
        """`then` gets the result of `function`, or the `ForgeError` it raised (`ThreadCalls.start`)."""


class Teller(Protocol):
    """Shows messages, asks questions, and runs work in threads."""

    @property
    def tell(self) -> Tell:
        """Show a message in the status line."""

    @property
    def call_in_thread(self) -> CallInThread:
        """Run a function in a worker thread."""

    @property
    def dialogs(self) -> DialogsInterface:
        """Questions above the screen."""


class DialogsInterface(Protocol):
    """Questions and texts above the screen in front."""

    async def ask(self, question: str, choices: Sequence[Any], default: str | None = None) -> str | None:
        """Ask; returns the chosen value or None. Await it in a worker."""


class SteeringInterface(Protocol):
    """Commands to the watched run."""

    def action_workers(self) -> None:
        """Ask for another number of workers."""


class NavigationInterface(Protocol):
    """Switching between screens."""

    @property
    def way_back(self) -> WayBack:
        """The history of screens for Esc."""

    def go_back(self) -> None:
        """Go from one of the three screens to the previous one."""

    def open_model(self, name: str) -> None:
        """Show one model of the watched run."""


class AppearanceInterface(Protocol):
    """How the app looks."""

    @property
    def sidebar_hidden(self) -> bool:
        """Whether the sidebar is hidden on a wide terminal."""

    @property
    def sidebar_whole(self) -> bool:
        """Whether the sidebar fills the screen on a narrow terminal."""

    def action_resources(self) -> None:
        """Show or hide the sidebar; on a narrow terminal, full screen."""


class AppInterface(Teller, Protocol):
    """The app as used by screens, dialogs and panes."""

    farewell: str

    # --- its parts

    @property
    def controller(self) -> RunController:
        """The run on Watch."""

    @property
    def machine(self) -> Machine:
        """The machine's state."""

    @property
    def status(self) -> Status:
        """The status line."""

    @property
    def navigation(self) -> NavigationInterface:
        """Switching between screens."""

    @property
    def appearance(self) -> AppearanceInterface:
        """How it looks."""

    @property
    def steering(self) -> SteeringInterface:
        """Commands to the watched run."""

    # --- its state

    @property
    def glyphs(self) -> Glyphs:
        """The characters to draw with."""

    @property
    def choices(self) -> UiChoices:
        """The user's choices in the UI."""

    @property
    def surroundings(self) -> Surroundings:
        """Whether it is in a browser, and whether it is read-only."""

    @property
    def clock(self) -> Callable[[], float]:
        """UNIX seconds."""

    @property
    def host(self) -> str:
        """The machine's name."""

    @property
    def starts_a_run(self) -> bool:
        """Whether it was opened to start a run that does not exist yet."""

    @property
    def shell_is_painted(self) -> bool:
        """Whether the first paint is done."""

    @property
    def front(self) -> ScreenInterface | None:
        """The screen in front, below any dialog."""

    # --- its actions

    @property
    def push_screen(self) -> Callable[..., Any]:
        """Textual's `App.push_screen`."""

    @property
    def push_screen_wait(self) -> Callable[..., Any]:
        """Textual's `App.push_screen_wait`."""

    @property
    def run_worker(self) -> Callable[..., Any]:
        """Textual's `App.run_worker`."""

    @property
    def exit(self) -> Callable[..., Any]:
        """Textual's `App.exit`."""

    async def run_clicked(self, action: str, screen: DOMNode) -> None:
        """Run an action of a screen that was clicked on; does nothing where its keys are dropped."""

    def run_dialog(self, dialog: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine that asks a question and waits for the answer."""

    def start_run(self, settings: Settings, previous: Literal["refuse", "move"] = "refuse") -> None:
        """Start a run and watch it; the screen in front gets a refusal with its reason."""

    def resume_run(self, path: Path, epochs: int | None = None, *, trust_code: bool = False) -> None:
        """Continue a run and watch it; asks first if that would run untrusted code."""


class ScreenInterface(Protocol):
    """A screen as used by its panes and the parts of the app."""

    @property
    def post_message(self) -> Callable[..., Any]:
        """Textual's `post_message`."""

    def draw_shell(self) -> None:
        """Draw header, resources and status."""

    def chosen_models(self) -> set[str]:
        """The names of the models that an action is about."""
