"""The app: its start, its parts, and the actions that every screen has."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from textual.actions import ActionParseResult, parse
from textual.app import App
from textual.dom import DOMNode
from textual.events import Key, Paste

from forge_tui.tui import messages
from forge_tui.tui.appearance import Appearance
from forge_tui.tui.bindings import SEEN_ONLY, WHILE_STARTING, keys_of
from forge_tui.tui.choices import UiChoices
from forge_tui.tui.machine import Machine
from forge_tui.tui.navigation import Navigation
from forge_tui.tui.offered import Surroundings, reason_against
from forge_tui.tui.options import UiOptions
from forge_tui.tui.run_controller import RunController
from forge_tui.tui.run_news import RunNews
from forge_tui.tui.screens.base import ForgeScreen
from forge_tui.tui.status import Status
from forge_tui.tui.stylesheet import KeptStylesheet
from forge_tui.tui.terminal.terminal_app import TerminalApp
from forge_tui.tui.thread_calls import ThreadCalls
from forge_tui.tui.widgets import glyphs as glyph_sets
from forge_tui.tui.widgets.header import host_name

if TYPE_CHECKING:
    from forge_tui.client.run import Run
    from forge_tui.settings.schema import Settings
    from forge_tui.tui.advice import Rules
    from forge_tui.tui.app_dialogs import AppDialogs
    from forge_tui.tui.form.source import Draft, FormSource
    from forge_tui.tui.leaving import Leaving
    from forge_tui.tui.run_actions import RunActions
    from forge_tui.tui.steering import Steering

_SETTLE_SECONDS = 1.0


class ForgeApp(TerminalApp):
    """The terminal UI. It opens on Configure, on the run `run`, or on a run it starts with `start_with`.

    Its parts do the work; those that the first paint does not need are created on first use.
    """

    CSS_PATH = "styles.tcss"
    TITLE = "forge-tui"
    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = None

    def __init__(
        self,
        *,
        run: Run | None = None,
        start_with: Settings | None = None,
        given: FormSource | None = None,
        options: UiOptions | None = None,
        surroundings: Surroundings = Surroundings(),  # noqa: B008 - immutable
        only_ascii: bool = False,
        choices: UiChoices | None = None,
        host: str | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        monitor: bool = True,
        called: str = "",
    ) -> None:
        """`given`: what flags, presets and variables have set, for Configure; `called`: the name of the run that is
        started first; `monitor=False`: without the machine.

        `clock` gives UNIX seconds, `monotonic` measures durations. A read-only view without a run opens on Runs; its
        process must be read-only too (`safe_io.read_only`): the app only says so, and leaves the keys out.
        """
        options = options or UiOptions()
        self.glyphs = glyph_sets.ASCII if only_ascii or options.ascii else glyph_sets.UNICODE
        self.choices = choices or UiChoices()
        self.host = host or host_name()
        self.clock = clock
        self.surroundings = surroundings
        self.shell_is_painted = False
        self._given, self._is_bare = given, given is None and run is None
        self._start_with, self._monitor, self._called = start_with, monitor, called
        self.controller = RunController(self, run, refresh=options.refresh, clock=clock, monotonic=monotonic)
        self.status = Status(clock, self._draw_front)
        self.tell = self.status.tell
        without_run = "runs" if surroundings.read_only else "configure"
        opens_on = without_run if run is None and start_with is None else "watch"
        self.navigation = Navigation(self, opens_on, lambda: self.draft, self.tell)
        self.machine = Machine(self, self._resource_rules, self._draw_front)
        self._calls = ThreadCalls(self)
        self.call_in_thread = self._calls.start
        super().__init__()
        self.only_ascii = self.glyphs.ascii
        self.set_class(self.glyphs.ascii, "-ascii")
        self.appearance = Appearance(self, options, self.choices, self.navigation, self.status)
        self._news = RunNews(self, self.controller, self.navigation, self.status, host=self.host, bell=options.bell)
        # Before anything is parsed or styled: a later change of theme would repeat all of it.
        self.set_reactive(App.theme, self.appearance.textual_theme)
        self.stylesheet = KeptStylesheet(variables=self.get_css_variables())

    @cached_property
    def draft(self) -> Draft:
        """The settings of the next run, kept when their screen is closed."""
        from forge_tui.tui.form.source import Draft, FormSource

        return Draft(self._given or FormSource(), remembers=self._is_bare and not self.surroundings.read_only)

    @cached_property
    def steering(self) -> Steering:
        """Commands to the watched run."""
        from forge_tui.tui.steering import Steering

        return Steering(self)

    @cached_property
    def leaving(self) -> Leaving:
        """The ways out."""
        from forge_tui.tui.leaving import Leaving

        return Leaving(self, lambda command: self.steering.send(command, [{}]))

    @cached_property
    def run_actions(self) -> RunActions:
        """Other actions on the watched run."""
        from forge_tui.tui.run_actions import RunActions

        return RunActions(self, self.draft, self.navigation.action_show_configure)

    @cached_property
    def dialogs(self) -> AppDialogs:
        """Dialogs above any screen."""
        from forge_tui.tui.app_dialogs import AppDialogs

        return AppDialogs(self, self.navigation, self.appearance, self.status, self.surroundings, self.call_in_thread)

    @property
    def starts_a_run(self) -> bool:
        """Whether it was opened to start a run that does not exist yet."""
        return self._start_with is not None and self.controller.run is None

    # --- start: the shell is painted first, the rest is filled in after

    def get_default_screen(self) -> ForgeScreen:
        """The first screen; otherwise Textual would paint an empty one below it."""
        return self.navigation.first_screen()

    def on_mount(self) -> None:
        """Start everything that takes time after the first paint."""
        self.call_after_refresh(self._fill)

    def _fill(self) -> None:
        self.set_timer(_SETTLE_SECONDS, _collect_garbage_from_now_on)
        if self._monitor:
            self._look_at_machine()  # first: its first figures take 100 ms
        else:
            self._fill_screen()

    def _look_at_machine(self) -> None:
        self.machine.look(then=self._fill_screen)

    def _fill_screen(self) -> None:
        self.shell_is_painted = True
        self.appearance.begin()
        if self.front is not None:
            self.front.call_later(self.front.fill_body)
        if self._start_with is not None:
            self.start_run(self._start_with)
        elif self.controller.run is not None:
            self.controller.follow(self.controller.run)

    def on_unmount(self) -> None:
        """Let the threads end: the app waits for them."""
        self.controller.close()
        self.machine.close()

    def _resource_rules(self) -> Rules | None:
        form = self.draft.form
        return None if form is None else form.rules()

    # --- used by screens and parts

    @property
    def front(self) -> ForgeScreen | None:
        """The screen in front, below any dialog."""
        return self.navigation.front

    def _draw_front(self) -> None:
        self.navigation.draw_front()

    def run_dialog(self, dialog: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine that asks a question and waits for the answer."""
        self.run_worker(dialog, group="dialog", exclusive=True)

    def start_run(self, settings: Settings, previous: Literal["refuse", "move"] = "refuse") -> None:
        """Start a run and watch it; the screen in front gets a refusal with its reason."""
        from forge_tui.settings.replacement import replacement_in  # the schema is there: a form was filled

        reads = replacement_in(settings) is None
        self.tell("Reading the data and building the model…" if reads else "Starting what is to train…")
        self.controller.start(settings, previous, self._called)

    def resume_run(self, path: Path, epochs: int | None = None, *, trust_code: bool = False) -> None:
        """Continue a run and watch it; asks first if that would run untrusted code."""
        self.tell(f"Resuming {path.name}…")
        self.controller.resume(path, epochs, trust_code=trust_code)

    def watch_run(self, run: Run) -> None:
        """Bring Watch to the front with this run."""
        self.forget_typed_ahead()
        self.tell("")
        self.controller.follow(run)
        self.navigation.go_to("watch")

    # --- keys

    def action_part(self, part: str, name: str) -> None:
        """Run an action of a part of the app."""
        getattr(getattr(self, part), f"action_{name}")()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable actions on what is not visible: on a tiny terminal only leaving works."""
        name = parameters[-1] if action == "part" else action
        front = self.front
        if front is not None and front is self.screen and front.is_tiny and name in SEEN_ONLY:
            return False
        return super().check_action(action, parameters)

    async def run_action(
        self,
        action: str | ActionParseResult,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Run an action, or say why there is none of that kind here."""
        _, name, parameters = parse(action) if isinstance(action, str) else action
        reason = reason_against(str(parameters[-1]) if name == "part" else name, self.surroundings)
        if reason is not None:
            self.tell(reason, "warning")
            return True
        return await super().run_action(action, default_namespace, namespaces)

    def drops(self, event: Key | Paste) -> bool:
        """While a run starts, drop keys meant for the next screen, except those that leave or show something."""
        return self._waits_for_a_run and not (isinstance(event, Key) and event.key in WHILE_STARTING)

    @property
    def _waits_for_a_run(self) -> bool:
        front = self.front
        return self.controller.is_starting and self.screen is front and front.name_of_screen != "runs"

    async def run_clicked(self, action: str, screen: DOMNode) -> None:
        """Run an action of a screen that was clicked on; does nothing where its keys are dropped."""
        _, name, parameters = parse(action)
        keys = keys_of(str(parameters[-1]) if name == "part" else name)
        if not self._waits_for_a_run or not WHILE_STARTING.isdisjoint(keys):
            await self.run_action(action, screen)

    # --- messages from workers

    def on_run_opened(self, message: messages.RunOpened) -> None:
        """Watch the run."""
        self.controller.answered(message)
        if message.request.how == "start":
            self._called = ""
        self.watch_run(message.run)

    def on_run_refused(self, message: messages.RunRefused) -> None:
        """Say why a run was not opened."""
        self.controller.answered(message)
        self.run_actions.tell_refused(message)

    def on_snapshot_changed(self, message: messages.SnapshotChanged) -> None:
        """Pass the snapshot to the screens."""
        self._news.take(message)

    def on_run_removed(self, message: messages.RunRemoved) -> None:
        """Stop showing a run that no longer exists."""
        self._news.forget(message)

    def on_follow_failed(self, message: messages.FollowFailed) -> None:
        """Say why the run is no longer followed."""
        self.tell(message.reason, "error")

    def on_commands_answered(self, message: messages.CommandsAnswered) -> None:
        """Say what the runner answered."""
        self.steering.tell_answers(message)

    def on_live_runs_counted(self, message: messages.LiveRunsCounted) -> None:
        """Show in the header how many runs are live while none is watched."""
        self.controller.live_runs = message.count
        self._draw_front()

    def on_resources_changed(self, message: messages.ResourcesChanged) -> None:
        """Draw the sample on the screens; while snapshots arrive, together with the next one."""
        first = self.machine.resources is None
        self.machine.take(message.sample, message.gpus)
        if first or not self.controller.snapshots_come:
            for screen in self.navigation.screens():
                screen.draw_shell()

    def on_thread_done(self, message: messages.ThreadDone) -> None:
        """Pass a result to its caller."""
        self._calls.done(message)


def _collect_garbage_from_now_on() -> None:
    """Enable garbage collection after the start; objects from the start are never scanned."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
