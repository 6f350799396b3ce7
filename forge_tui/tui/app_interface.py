"""What screens, dialogs and panes ask of the app: they are typed against this, and the app above them fits it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from rich.text import Text

    from forge_tui.client.run import Run
    from forge_tui.errors import ForgeError
    from forge_tui.protocol.snapshot import ModelState, Snapshot
    from forge_tui.resources.hardware import SystemResources
    from forge_tui.resources.monitor import ResourceSample
    from forge_tui.settings.schema import Settings
    from forge_tui.tui.choices import UiChoices
    from forge_tui.tui.way_back import WayBack
    from forge_tui.tui.widgets.glyphs import Glyphs


class Teller(Protocol):
    """Says and asks things, and has work done in threads."""

    def tell(
        self,
        message: str,
        severity: Literal["information", "warning", "error"] = "information",
        *,
        holds: Callable[[Snapshot], bool] | None = None,
    ) -> None:
        """Say something in the status line; it is taken back once a snapshot shows that it no longer `holds`."""

    def call_in_thread(self, function: Callable[[], Any], *, then: Callable[[Any], None], subject: str = "") -> None:
        """Run `function` beside the UI; `then` gets its result, or the `ForgeError` it raised."""

    async def ask(self, question: str, choices: Sequence[Any], default: str | None = None) -> str | None:
        """Ask; returns the chosen value or None. To be awaited in a worker."""


class AppInterface(Teller, Protocol):
    """The app as those below it see it."""

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
    def run_watched(self) -> Run | None:
        """The run on Watch."""

    @property
    def snapshot(self) -> Snapshot | None:
        """Its newest state."""

    @property
    def history(self) -> list[dict[str, Any]]:
        """Its newest events, as JSON-able records."""

    @property
    def removed(self) -> str:
        """Why the run that was watched is not there any more, empty where none has gone."""

    @property
    def has_ended(self) -> bool:
        """Whether the watched run is no longer live."""

    @property
    def starts_a_run(self) -> bool:
        """Whether it was opened to start a run, which is not there yet."""

    @property
    def resources(self) -> ResourceSample | None:
        """The machine's newest figures."""

    @property
    def detected(self) -> SystemResources | None:
        """What the machine has, once that is known."""

    @property
    def cpu_percent(self) -> Sequence[float]:
        """The newest CPU figures, oldest first."""

    @property
    def suggestion(self) -> str:
        """What the resource rules say, in words; empty until the machine is known."""

    @property
    def header_note(self) -> str:
        """What the header says where no run is watched."""

    @property
    def status(self) -> Text:
        """The status line."""

    @property
    def sidebar_hidden(self) -> bool:
        """Whether the sidebar is hidden where there is room for it."""

    @property
    def sidebar_whole(self) -> bool:
        """Whether the sidebar has the whole screen where there is no room for it."""

    @property
    def shell_is_painted(self) -> bool:
        """Whether the first paint is done."""

    @property
    def way_back(self) -> WayBack:
        """Where Esc leads."""

    @property
    def front(self) -> object | None:
        """The screen in front, below any dialog."""

    def took(self, model: ModelState) -> float | None:
        """How long workers have been busy with a model of the watched run by now (seconds)."""

    # --- what it does

    @property
    def push_screen(self) -> Callable[..., Any]:
        """Textual's `App.push_screen`."""

    @property
    def push_screen_wait(self) -> Callable[..., Any]:
        """Textual's `App.push_screen_wait`."""

    def start_run(self, settings: Settings, previous: Literal["refuse", "move"] = "refuse") -> None:
        """Start a run and watch it; a refusal reaches the screen in front with its reason."""

    def resume_run(self, path: Path, epochs: int | None = None, *, trust_code: bool = False) -> None:
        """Continue a run and watch it; where that would run code of somebody else's, ask first."""

    def attach_run(self, path: Path) -> None:
        """Watch a run that is there."""

    def open_model(self, name: str) -> None:
        """Show one model of the watched run."""

    def tell_untrusted(self, what: list[str] | ForgeError) -> None:
        """Say what code new settings would run that come from somebody else's run."""

    def count_live_runs(self) -> object:
        """Say in the header how many runs are live, where none is watched."""

    def show_plainly(self, title: str, text_now: Callable[[], str]) -> None:
        """Show a text to copy: unwrapped, the mouse released."""

    def go_back(self) -> None:
        """From one of the three screens to the one before it."""

    def action_workers(self) -> object:
        """Ask for another number of workers."""

    def action_resources(self) -> None:
        """Show or hide the sidebar, or the machine on the whole screen."""


class ScreenInterface(Protocol):
    """A screen as the panes on it see it."""

    def draw_shell(self) -> None:
        """Draw header, resources and status."""
