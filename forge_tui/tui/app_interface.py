"""What screens, dialogs and panes ask of the app: they are typed against this, and the app above them fits it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from forge_tui.protocol.snapshot import Snapshot
    from forge_tui.settings.schema import Settings
    from forge_tui.tui.choices import UiChoices
    from forge_tui.tui.machine import Machine
    from forge_tui.tui.run_controller import RunController
    from forge_tui.tui.status import Severity, Status
    from forge_tui.tui.way_back import WayBack
    from forge_tui.tui.widgets.glyphs import Glyphs


class Tell(Protocol):
    """Says something in the status line."""

    def __call__(
        self, message: str, severity: Severity = "information", *, holds: Callable[[Snapshot], bool] | None = None
    ) -> None:
        """It is taken back once a snapshot shows that it no longer `holds`."""


class CallInThread(Protocol):
    """Runs a function beside the UI."""

    def __call__(self, function: Callable[[], Any], then: Callable[[Any], None], subject: str = "") -> None:
        """`then` gets the result of `function`, or the `ForgeError` it raised (`ThreadCalls.start`)."""


class Teller(Protocol):
    """Says and asks things, and has work done in threads."""

    @property
    def tell(self) -> Tell:
        """Say something in the status line."""

    @property
    def call_in_thread(self) -> CallInThread:
        """Run a function beside the UI."""

    @property
    def dialogs(self) -> DialogsInterface:
        """Questions above the screen."""


class DialogsInterface(Protocol):
    """Questions and texts above the screen in front."""

    async def ask(self, question: str, choices: Sequence[Any], default: str | None = None) -> str | None:
        """Ask; returns the chosen value or None. To be awaited in a worker."""

    def show_plainly(self, title: str, text_now: Callable[[], str]) -> None:
        """Show a text to copy: unwrapped, the mouse released."""


class SteeringInterface(Protocol):
    """Commands to the watched run, as screens see them."""

    def action_workers(self) -> None:
        """Ask for another number of workers."""


class NavigationInterface(Protocol):
    """The ways between the screens, as screens see them."""

    @property
    def way_back(self) -> WayBack:
        """Where Esc leads."""

    def go_back(self) -> None:
        """From one of the three screens to the one before it."""

    def open_model(self, name: str) -> None:
        """Show one model of the watched run."""


class AppearanceInterface(Protocol):
    """How the app looks, as screens see it."""

    @property
    def sidebar_hidden(self) -> bool:
        """Whether the sidebar is hidden where there is room for it."""

    @property
    def sidebar_whole(self) -> bool:
        """Whether the sidebar has the whole screen where there is no room for it."""

    def action_resources(self) -> None:
        """Show or hide the sidebar, or the machine on the whole screen."""


class AppInterface(Teller, Protocol):
    """The app as those below it see it."""

    farewell: str

    # --- its parts

    @property
    def controller(self) -> RunController:
        """The run on Watch."""

    @property
    def machine(self) -> Machine:
        """What is known of the machine."""

    @property
    def status(self) -> Status:
        """The status line."""

    @property
    def navigation(self) -> NavigationInterface:
        """The ways between the screens."""

    @property
    def appearance(self) -> AppearanceInterface:
        """How it looks."""

    @property
    def steering(self) -> SteeringInterface:
        """Commands to the watched run."""

    # --- what it knows

    @property
    def glyphs(self) -> Glyphs:
        """The characters to draw with."""

    @property
    def choices(self) -> UiChoices:
        """What a person chose in the UI."""

    @property
    def clock(self) -> Callable[[], float]:
        """UNIX seconds."""

    @property
    def host(self) -> str:
        """The machine's name."""

    @property
    def starts_a_run(self) -> bool:
        """Whether it was opened to start a run, which is not there yet."""

    @property
    def shell_is_painted(self) -> bool:
        """Whether the first paint is done."""

    @property
    def front(self) -> ScreenInterface | None:
        """The screen in front, below any dialog."""

    # --- what it does

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

    def run_dialog(self, dialog: Coroutine[Any, Any, None]) -> None:
        """Run what asks something and waits for the answer."""

    def start_run(self, settings: Settings, previous: Literal["refuse", "move"] = "refuse") -> None:
        """Start a run and watch it; a refusal reaches the screen in front with its reason."""

    def resume_run(self, path: Path, epochs: int | None = None, *, trust_code: bool = False) -> None:
        """Continue a run and watch it; where that would run code of somebody else's, ask first."""


class ScreenInterface(Protocol):
    """A screen as its panes and the parts of the app see it."""

    @property
    def post_message(self) -> Callable[..., Any]:
        """Textual's `post_message`."""

    def draw_shell(self) -> None:
        """Draw header, resources and status."""

    def chosen_models(self) -> set[str]:
        """The names of the models that an action is about."""
