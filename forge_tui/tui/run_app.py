"""What the app does with the run it watches: follow, start, attach, resume.

Everything that may block (starting, reading, writing) is done in threads; they post messages and touch no widget.
"""

from __future__ import annotations

import functools
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.text import Text
from textual import work
from textual.css.query import NoMatches
from textual.events import Key, Paste

from forge_tui.errors import ForgeError, RunGone, UntrustedCode
from forge_tui.protocol.phases import RunState
from forge_tui.safe_io.printing import printable
from forge_tui.tui.follow import Turn, follow_run, turn
from forge_tui.tui.messages import SnapshotChanged, StartRefused, ThreadDone
from forge_tui.tui.options import UiOptions
from forge_tui.tui.screens.base import ForgeScreen
from forge_tui.tui.terminal.terminal_app import TerminalApp
from forge_tui.tui.way_back import WayBack
from forge_tui.tui.widgets.header import host_name

if TYPE_CHECKING:
    from forge_tui.client.run import Run
    from forge_tui.protocol.snapshot import ModelState, Snapshot
    from forge_tui.settings.schema import Settings
    from forge_tui.tui.dialogs.questions import Choice
    from forge_tui.tui.form.form_values import Form
    from forge_tui.tui.form.source import Draft, FormSource

_KEPT_MESSAGES = 200
_WHILE_STARTING = frozenset(
    ("q", "ctrl+q", "ctrl+c", "d", "1", "2", "3", "i", "M", "question_mark", "escape", "ctrl+z", "ctrl+l", "ctrl+r")
)


class RunApp(TerminalApp):
    """An app that watches one run, and knows its screens."""

    def __init__(
        self,
        *,
        run: Run | None,
        given: FormSource | None,
        options: UiOptions,
        host: str | None,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        """`given`: what flags, presets and variables have set, for Configure. `monotonic` measures durations."""
        self.options = options
        self.host = host or host_name()
        self.clock = clock
        self._monotonic = monotonic
        self._shown_at = -math.inf
        self._given = given
        self._is_bare = given is None and run is None
        self.run_watched = run
        self.snapshot: Snapshot | None = None
        self.history: list[dict[str, Any]] = []
        self.started_here = False
        self._starts = 0
        self._asked = 0
        self._newest_answers: dict[str, int] = {}  # the number of the newest answer about each subject
        self.shell_is_painted = False
        self._title_shown = ""
        self._last_snapshot = -math.inf
        self.status = Text()
        self.told: deque[tuple[float, str, str]] = deque(maxlen=_KEPT_MESSAGES)
        self._status_holds: Callable[[Snapshot], bool] | None = None
        self.removed = ""
        self._cancel_follow = threading.Event()
        super().__init__()

    @functools.cached_property
    def draft(self) -> Draft:
        """The settings of the next run, which outlive the screen that shows them."""
        from forge_tui.tui.form.source import Draft, FormSource

        return Draft(self._given or FormSource(), remembers=self._is_bare)

    @functools.cached_property
    def way_back(self) -> WayBack:
        """Where Esc leads."""
        return WayBack(self.opens_on)

    @property
    def opens_on(self) -> str:
        """The name of the first screen."""
        return "configure" if self.run_watched is None else "watch"

    @property
    def is_starting(self) -> bool:
        """Whether a start or a resume was asked for here that is not answered yet."""
        return self._starts > 0

    def drops(self, event: Key | Paste) -> bool:
        """While a run starts, keys typed for the next screen go nowhere: what leaves this one, or tells, is left."""
        waits = self.is_starting and self.screen is self.front and self.front.name_of_screen != "runs"
        return waits and not (isinstance(event, Key) and event.key in _WHILE_STARTING)

    # --- the screens

    def make_screen(self, name: str) -> ForgeScreen:
        """A new screen by its name."""
        if name == "watch":
            from forge_tui.tui.screens.watch import WatchScreen

            return WatchScreen()
        if name == "runs":
            from forge_tui.tui.screens.runs import RunsScreen

            return RunsScreen()
        from forge_tui.tui.screens.configure import ConfigureScreen

        return ConfigureScreen(self.draft)

    @property
    def front(self) -> ForgeScreen | None:
        """The screen in front, below any dialog."""
        for screen in reversed(self.screen_stack):
            if isinstance(screen, ForgeScreen):
                return screen
        return None

    @property
    def has_ended(self) -> bool:
        """Whether the watched run is no longer live."""
        return self.snapshot is not None and not self.snapshot.state.is_live

    def call_in_thread(self, function: Callable[[], Any], *, then: Callable[[Any], None], subject: str = "") -> None:
        """Run `function` beside the UI; `then` gets its result, or the `ForgeError` or `OSError` it raised.

        What was asked about a `subject` and is found after the answer to a later question about it is dropped.
        """
        number = self._asked = self._asked + 1

        def in_order(result: Any) -> None:
            if not subject or self._newest_answers.get(subject, 0) < number:
                self._newest_answers[subject] = number
                then(result)

        def run() -> None:
            try:
                result: Any = function()
            except (ForgeError, OSError) as error:
                result = error if isinstance(error, ForgeError) else ForgeError(str(error))
            self.post_message(ThreadDone(in_order, result))

        self.run_worker(run, thread=True, group="io")

    def on_thread_done(self, message: ThreadDone) -> None:
        """Go on with what a thread found, unless the screen that asked has gone meanwhile."""
        try:
            message.then(message.result)
        except NoMatches:
            self.log.debug(f"nobody is there any more for {message.then}")

    async def ask(self, question: str, choices: Sequence[Choice], default: str | None = None) -> str | None:
        """Ask; returns the chosen value or None. To be awaited in a worker."""
        from forge_tui.tui.dialogs.questions import Question

        return await self.push_screen_wait(Question(printable(question), choices, default))

    def tell(
        self,
        message: str,
        severity: Literal["information", "warning", "error"] = "information",
        *,
        holds: Callable[[Snapshot], bool] | None = None,
    ) -> None:
        """Say something in the status line; it is taken back once a snapshot shows that it no longer `holds`."""
        self._status_holds = holds
        if message and (not self.told or self.told[-1][1] != message):
            self.told.append((self.clock(), message, severity))
        style = {"information": "", "warning": "yellow", "error": "bold red"}[severity]
        mark = "" if severity == "information" else "! "
        self.status = Text(f"{mark}{printable(message)}" if message else "", style=style)
        self._draw_front()

    def open_model(self, name: str) -> None:
        """Show one model of the watched run."""
        from forge_tui.tui.screens.model import ModelScreen

        self.push_screen(ModelScreen(name))

    def go_back(self) -> None:
        """From one of the three screens to the one before it."""
        name = self.way_back.back()
        if name is None:
            self.tell("nothing is behind this screen: 1, 2 and 3 lead to the others, q leaves")
        else:
            self.go_to(name)

    def go_to(self, name: str) -> None:
        """Bring one of the three screens to the front."""
        self.way_back.go(name)
        while len(self.screen_stack) > 1 and not isinstance(self.screen, ForgeScreen):
            self.pop_screen()
        if self.front is not None and self.front.name_of_screen == name:
            self.front.draw_all()
            return
        while len(self.screen_stack) > 1:
            self.pop_screen()
        self.switch_screen(self.make_screen(name))

    def _draw_front(self) -> None:
        if self.front is not None:
            self.front.draw_shell()

    # --- the run

    def _follow(self, run: Run) -> None:
        """Watch another run from now on."""
        self._cancel_follow.set()
        self._cancel_follow = threading.Event()
        self.run_watched, self.snapshot, self.history, self.removed = run, None, [], ""
        self._follow_in_thread(run, self._cancel_follow)

    @work(thread=True, exclusive=True, group="run", exit_on_error=False)
    def _follow_in_thread(self, run: Run, cancelled: threading.Event) -> None:
        try:
            follow_run(
                run,
                1.0 / self.options.refresh,
                cancelled,
                lambda snapshot, events: self.post_message(SnapshotChanged(run, snapshot, events)),
            )
        except RunGone as error:
            self.post_message(ThreadDone(functools.partial(self._forget_run, run), f"run {run.id} {error.what}"))
        except ForgeError as error:
            reason = str(error)
            self.post_message(ThreadDone(lambda _: self.tell(reason, "error"), None))

    def _forget_run(self, run: Run, reason: str) -> None:
        """The watched run is not there any more: say so, and show nothing of it."""
        if run is not self.run_watched:
            return
        self._cancel_follow.set()
        self.run_watched, self.snapshot, self.history, self.started_here = None, None, [], False
        self.removed = reason
        self._last_snapshot = -math.inf
        self._title_shown = self.host
        self.set_terminal_title(self.host)
        for screen in self.screen_stack:
            if isinstance(screen, ForgeScreen) and screen.is_there:
                screen.forget_run()
        self.tell(f"{reason}: Esc goes back", "warning")

    def on_snapshot_changed(self, message: SnapshotChanged) -> None:
        """Hand the snapshot to the screens."""
        if message.run is not self.run_watched:
            return
        live, before = message.snapshot.state.is_live, self.snapshot
        self._last_snapshot = time.monotonic() if live else -math.inf
        came = turn(before, message.snapshot)
        self.snapshot, self._shown_at = message.snapshot, self._monotonic()
        self.history = [*self.history[-2_000:], *message.events]
        title = f"{self.host} {printable(message.snapshot.run.run)} {message.snapshot.overall_percent:.0f}%"
        if title != self._title_shown:
            self._title_shown = title
            self.set_terminal_title(title)
        if self._status_holds is not None and not self._status_holds(message.snapshot):
            self.tell("")
        if came in (Turn.ENDED, Turn.UNFINISHED):
            self._tell_the_end(message.snapshot)
        elif came is Turn.RESUMED and not self.is_starting:
            self.started_here = False
            self.tell(f"run {message.snapshot.run.run} was resumed elsewhere, and goes on")
        if came is Turn.ENDED or (before is not None and message.snapshot.failed > before.failed):
            self._ring()
        for screen in self.screen_stack:
            if isinstance(screen, ForgeScreen) and screen.is_there:
                screen.draw_shell()
                screen.show(message.snapshot)
                screen.add_events(message.events)

    def took(self, model: ModelState) -> float | None:
        """How long workers have been busy with a model of the watched run by now (seconds)."""
        snapshot = self.snapshot
        if snapshot is None:
            return None
        since = self._monotonic() - self._shown_at if snapshot.state.is_live else 0.0
        return model.took(snapshot.elapsed_seconds + since, self.clock())

    @property
    def snapshots_come(self) -> bool:
        """Whether another snapshot may be expected any moment: what else is to be drawn can go along with it."""
        return time.monotonic() < self._last_snapshot + 1.5 / self.options.refresh

    def _ring(self) -> None:
        """The terminal's bell, for one who looks elsewhere."""
        if self.options.bell:
            self.bell()

    def _tell_the_end(self, snapshot: Snapshot) -> None:
        severity: Literal["information", "error"] = "information" if snapshot.state is RunState.COMPLETED else "error"
        from forge_tui.tui.screens.watch_text import ending_text

        state = snapshot.state
        self.tell(ending_text(snapshot), severity, holds=lambda now: now.state is state)

    def start_run(self, settings: Settings, previous: Literal["refuse", "move"] = "refuse") -> None:
        """Start a run and watch it; a refusal reaches the screen in front with its reason."""
        from forge_tui import client

        self.tell("Reading the data and building the model…")

        def refused(reason: str) -> None:
            if self.front is not None:
                self.front.post_message(StartRefused(reason))

        starting = functools.partial(client.start, settings, detach=True, previous=previous)
        self._open_run(starting, started_here=True, refused=refused)

    def resume_run(self, path: Path, epochs: int | None = None, *, trust_code: bool = False) -> None:
        """Continue a run and watch it; where that would run code of somebody else's, ask first."""
        from forge_tui import client

        self.tell(f"Resuming {path.name}…")
        resuming = functools.partial(client.resume, path, epochs=epochs, detach=True, trust_code=trust_code)
        untrusted = functools.partial(self._ask_for_trust, path, epochs)
        self._open_run(resuming, started_here=True, untrusted=untrusted)

    @work(group="dialog", exclusive=True)
    async def _ask_for_trust(self, path: Path, epochs: int | None, what: str) -> None:
        """Show what code would run; the answer that runs it is not the one that Enter gives."""
        from forge_tui.tui.dialogs.questions import Choice, Question

        self.tell("Not resumed: it would run code that you have not started here.", "warning")
        question = "\n".join(map(printable, what.split("\n")))
        choices = (Choice("t", "Trust this code, and resume", "trust"), Choice("b", "Back", "back"))
        if await self.push_screen_wait(Question(question, choices, "back")) == "trust":
            self.resume_run(path, epochs, trust_code=True)

    def attach_run(self, path: Path) -> None:
        """Watch a run that is there."""
        from forge_tui import client

        self._open_run(lambda: client.attach(path), started_here=False)

    def _open_run(
        self,
        opening: Callable[[], Run],
        *,
        started_here: bool,
        refused: Callable[[str], None] = lambda reason: None,
        untrusted: Callable[[str], object] | None = None,
    ) -> None:
        def opened(result: Any) -> None:
            self._starts -= started_here
            if isinstance(result, UntrustedCode) and untrusted is not None:
                untrusted(str(result))
                return
            if isinstance(result, ForgeError):
                self.tell(str(result), "error")
                refused(str(result))
                return
            self.started_here = started_here
            self.watch_run(result)

        self._starts += started_here
        self.call_in_thread(opening, then=opened)

    def watch_run(self, run: Run) -> None:
        """Bring Watch to the front with this run."""
        self.forget_typed_ahead()
        self.tell("")
        self._follow(run)
        self.go_to("watch")

    @work(group="dialog", exclusive=True)
    async def action_resume(self) -> None:
        """Ask, then go on with the watched run."""
        from forge_tui.tui.dialogs.questions import Choice

        snapshot = self.snapshot
        if snapshot is None or snapshot.state.is_live:
            self.tell(
                "Nothing to resume: " + ("no run is watched." if snapshot is None else "the run is live."), "warning"
            )
            return
        question = f"Go on with {snapshot.run.run} ({snapshot.state})?"
        if await self.ask(question, (Choice("r", "Resume", "resume"), Choice("b", "Back", "back"))) == "resume":
            self.resume_run(Path(snapshot.run.path))

    @work(group="dialog", exclusive=True)
    async def action_export(self) -> None:
        """Ask for a format, then write the report of the watched run to a file."""
        run = self.run_watched
        if run is None:
            self.tell("No run is watched: 3 shows the known ones.", "warning")
            return
        from forge_tui import client
        from forge_tui.tui.screens.exporting import ask_and_export

        await ask_and_export(self, run.id, lambda: client.attach(run.path))

    def tell_untrusted(self, what: list[str] | ForgeError) -> None:
        """Say what code new settings would run that come from somebody else's run."""
        if isinstance(what, list) and what:
            self.tell(f"you have not started that run: Ctrl+R would run its {'; '.join(what)}", "warning")

    def action_new(self) -> None:
        """Configure, with the settings of the watched run for a new one."""
        run = self.run_watched
        if run is None:
            self.go_to("configure")
            return

        def read() -> tuple[Form, list[str]]:
            from forge_tui import client
            from forge_tui.tui.form.source import fill_form, run_form

            base = self.draft.form or fill_form(self.draft.source, {}).form
            return run_form(run.directory.settings, base).for_a_new_run(), client.untrusted_code(run.path)

        def taken(result: tuple[Form, list[str]] | ForgeError) -> None:
            if isinstance(result, ForgeError):
                self.tell(str(result), "error")
                return
            self.draft.form, untrusted = result
            self.draft.beside = str(run.path)
            self.draft.refusals.clear()
            self.go_to("configure")
            self.tell("new settings from those of the run; Ctrl+R starts a run with them")
            self.tell_untrusted(untrusted)

        self.call_in_thread(read, then=taken)
