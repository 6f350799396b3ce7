"""The app: its start, its look, what the machine says, and the actions that every screen has."""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from textual import work
from textual.app import App

from forge_tui.errors import ForgeError
from forge_tui.safe_io.printing import printable
from forge_tui.tui import themes
from forge_tui.tui.bindings import SEEN_ONLY
from forge_tui.tui.choices import UiChoices
from forge_tui.tui.leaving_app import LeavingApp
from forge_tui.tui.messages import ResourcesChanged, ThreadDone
from forge_tui.tui.options import THEMES, UiOptions
from forge_tui.tui.screens.base import ForgeScreen
from forge_tui.tui.steady import steadied
from forge_tui.tui.stylesheet import KeptStylesheet
from forge_tui.tui.widgets import glyphs as glyph_sets

if TYPE_CHECKING:
    from forge_tui.client.run import Run
    from forge_tui.resources.hardware import SystemResources
    from forge_tui.resources.manager import ResourceManager
    from forge_tui.resources.monitor import ResourceSample
    from forge_tui.settings.schema import Settings
    from forge_tui.tui.app_interface import AppInterface
    from forge_tui.tui.form.source import FormSource

_MONITOR_SECONDS = 2.0
_CURVE_SAMPLES = 24
_SETTLE_SECONDS = 1.0
NO_MOUSE_SWITCH = "mouse: what shows this screen does not let it be switched; forge-tui on a terminal does"


class ForgeApp(LeavingApp):
    """The terminal UI. It opens on Configure, on the run `run`, or on a run it starts with `start_with`."""

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
        only_ascii: bool = False,
        choices: UiChoices | None = None,
        host: str | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        monitor: bool = True,
    ) -> None:
        """`given`: what flags, presets and variables have set, for Configure; `monitor=False`: without the machine."""
        options = options or UiOptions()
        self.glyphs = glyph_sets.ASCII if only_ascii or options.ascii else glyph_sets.UNICODE
        self.choices = choices or UiChoices()
        self.resources: ResourceSample | None = None
        self.cpu_percent: deque[float] = deque(maxlen=_CURVE_SAMPLES)
        self.detected: SystemResources | None = None
        self._own_rules: Mapping[str, Any] = {}
        self.header_note = ""
        self.sidebar_hidden = False
        self.sidebar_whole = False
        self._start_with = start_with
        self._monitor = monitor
        self._manager: ResourceManager | None = None
        self._mouse_on = options.mouse
        super().__init__(run=run, given=given, options=options, host=host, clock=clock, monotonic=monotonic)
        self.only_ascii = self.glyphs.ascii
        self.set_class(self.glyphs.ascii, "-ascii")
        for theme in themes.OURS:
            self.register_theme(theme)
        wanted = options.theme or self.choices.get("theme", "")
        self.theme_name = wanted if wanted in THEMES else self._fitting_theme()
        # Before anything is parsed or styled: a theme that comes later costs all of it again.
        self.set_reactive(App.theme, themes.TEXTUAL_NAMES[self.theme_name])
        self.stylesheet = KeptStylesheet(variables=self.get_css_variables())

    @property
    def opens_on(self) -> str:
        """The name of the first screen."""
        return "watch" if self.run_watched is not None or self._start_with is not None else "configure"

    @property
    def starts_a_run(self) -> bool:
        """Whether it was opened to start a run, which is not there yet."""
        return self._start_with is not None and self.run_watched is None

    # --- start: the shell is painted first, the rest is filled in after

    def get_default_screen(self) -> ForgeScreen:
        """The first screen. Textual would lay out and paint an empty one below it."""
        screen = self.make_screen(self.opens_on)
        self.way_back.go(self.opens_on)
        screen._push_result_callback(self, None)  # as `push_screen` does: `switch_screen` takes it off again
        return screen

    def on_mount(self) -> None:
        """Everything that takes time begins after the first paint."""
        self.call_after_refresh(self._fill)

    def _fill(self) -> None:
        self.set_timer(_SETTLE_SECONDS, self._settle)
        if self._monitor:
            self._look_at_machine()  # first: from its first look it takes 100 ms until there is a figure to show
        else:
            self._fill_screen()

    def _fill_screen(self) -> None:
        self.shell_is_painted = True
        if not self._mouse_on and not self.set_mouse(False):
            self.tell(NO_MOUSE_SWITCH, "warning")
        if self.front is not None:
            self.front.call_later(self.front.fill_body)
        if self._start_with is not None:
            self.start_run(self._start_with)
        elif self.run_watched is not None:
            self._follow(self.run_watched)

    def _settle(self) -> None:
        """After the start, that left no garbage: collect it from now on, and never look at what the start has made."""
        if not gc.isenabled():
            gc.freeze()
            gc.enable()

    def _fitting_theme(self) -> str:
        return "ansi" if self.console.color_system == "standard" else "dark"

    def use_theme(self, name: str) -> None:
        """Use one of the four themes."""
        self.theme_name = name
        self.theme = themes.TEXTUAL_NAMES[name]

    # --- the machine

    @work(thread=True, exclusive=True, group="machine", exit_on_error=False)
    def _look_at_machine(self) -> None:
        try:
            from forge_tui.resources.system_probe import SystemProbe
            from forge_tui.resources.usage import CpuMeter

            probe = SystemProbe()
            meter = CpuMeter(probe)  # it measures while the rest is imported and filled in
        finally:
            self.post_message(ThreadDone(lambda _: self._fill_screen(), None))
        from forge_tui.resources.manager import ResourceManager

        manager = ResourceManager(probe)
        self._manager = manager
        manager.on_sample(self._take_sample)
        manager.start_monitoring(_MONITOR_SECONDS, meter)
        # Beside the monitor: each measures the CPUs for 100 ms.
        self._detect_again(manager.detect_system_resources())

    def _take_sample(self, sample: ResourceSample) -> None:
        """Called in the monitor's thread. What the rules say is found anew once others have become busy, or idle."""
        from forge_tui.resources.hardware import detect
        from forge_tui.resources.policy import GIB, is_busy, is_low_on_memory
        from forge_tui.tui.advice import thresholds_of

        self.post_message(ResourcesChanged(sample))
        detected, thresholds = self.detected, thresholds_of(self._resource_rules)
        if detected is None:
            return
        busy = sample.others_cpu_percent > thresholds.high_cpu_threshold
        low = sample.memory_available / GIB < thresholds.min_available_memory_gb
        if (busy, low) != (is_busy(detected, thresholds), is_low_on_memory(detected, thresholds)):
            self._detect_again(detect(usage=sample.usage))

    def _detect_again(self, detected: SystemResources) -> None:
        from forge_tui.tui.options import read_resources

        self._own_rules = read_resources()
        self.post_message(ThreadDone(self._take_machine, detected))

    def _take_machine(self, detected: SystemResources) -> None:
        self.detected = detected
        self._draw_front()

    @property
    def _resource_rules(self) -> Mapping[str, Any]:
        """The `[resources]` of the form; before there is one those of the user's file and variables."""
        form = self.draft.form
        return self._own_rules if form is None else form.resources()

    @property
    def suggestion(self) -> str:
        """What the resource rules say, in words; empty until the machine is known."""
        if self.detected is None:
            return ""
        from forge_tui.tui.advice import suggestion

        return suggestion(self._resource_rules, self.detected)

    def on_resources_changed(self, message: ResourcesChanged) -> None:
        """Draw the sample on the screen in front; while a run moves, along with its next snapshot."""
        first = self.resources is None
        self.resources = steadied(message.sample, self.resources)
        self.cpu_percent.append(self.resources.cpu_percent)
        if self.snapshots_come and not first:
            return
        for screen in self.screen_stack:
            if isinstance(screen, ForgeScreen) and screen.is_there:
                screen.draw_shell()

    @work(thread=True, exclusive=True, group="count", exit_on_error=False)
    def count_live_runs(self) -> None:
        """Say in the header how many runs are live, where none is watched."""
        from forge_tui import client

        try:
            live = sum(1 for run in client.known_runs() if run.status in ("queued", "running", "paused", "stopping"))
        except ForgeError:
            return
        note = "" if not live else f"{live} live run{'s' if live > 1 else ''}: 3"
        self.post_message(ThreadDone(self._set_note, note))

    def _set_note(self, note: str) -> None:
        self.header_note = note
        self._draw_front()

    # --- actions that every screen has

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Nobody is to steer what cannot be seen: where there is no room for it, only leaving is left."""
        front = self.front
        if front is not None and front is self.screen and front.is_tiny and action in SEEN_ONLY:
            return False
        return super().check_action(action, parameters)

    def action_show_configure(self) -> None:
        """Bring Configure to the front."""
        self.go_to("configure")

    def action_show_watch(self) -> None:
        """Bring Watch to the front."""
        self.go_to("watch")

    def action_show_runs(self) -> None:
        """Bring Runs to the front."""
        self.go_to("runs")

    def action_resources(self) -> None:
        """Wide: show or hide the sidebar. Narrow: the machine on the whole screen, or a line."""
        if self.size.width >= 100:
            self.sidebar_hidden = not self.sidebar_hidden
        else:
            self.sidebar_whole = not self.sidebar_whole
        if self.front is not None:
            self.front.fit(self.size.width, self.size.height)
            self.call_after_refresh(self.front.draw_shell)

    def action_theme(self) -> None:
        """The next theme; kept for next time."""
        name = THEMES[(THEMES.index(self.theme_name) + 1) % len(THEMES)]
        self.use_theme(name)
        self.choices.put("theme", name)
        self.tell(f"theme {name}")

    def action_mouse(self) -> None:
        """Take the mouse or leave it to the terminal."""
        if not self.set_mouse(not self._mouse_on):
            self.tell(NO_MOUSE_SWITCH, "warning")
            return
        self._mouse_on = not self._mouse_on
        self.tell("mouse: on" if self._mouse_on else "mouse: left to the terminal, for marking text")

    def action_messages(self) -> None:
        """The last messages of the status line, in full."""
        from forge_tui.tui.dialogs.questions import Reading
        from forge_tui.tui.screens.watch_text import messages_text

        self.push_screen(Reading(messages_text(self.told)))

    def action_help(self) -> None:
        """All keys."""
        from forge_tui.tui.dialogs.help import help_screen

        if self.front is not None:
            self.push_screen(help_screen(self.front.name_of_screen, self.size.width))

    @work(group="dialog", exclusive=True)
    async def action_palette(self) -> None:
        """Any action by its name."""
        from forge_tui.tui.dialogs.palette import Palette

        screen = self.front
        if screen is None:
            return
        chosen = await self.push_screen_wait(Palette(screen.name_of_screen))
        if chosen is not None:
            namespace = "screen" if hasattr(screen, f"action_{chosen}") else "app"
            await self.run_action(f"{namespace}.{chosen}")

    def action_show_command(self) -> None:
        """Show the command that starts the same run as the watched one without the screen."""
        run = self.run_watched
        if run is None:
            self.tell("No run is watched: 3 shows the known ones.", "warning")
            return

        def read() -> str:
            from forge_tui.tui.form.command import command
            from forge_tui.tui.form.source import fill_form, run_form

            base = self.draft.form or fill_form(self.draft.source, {}).form
            return command(run_form(run.directory.settings, base).for_a_new_run())

        def shown(text: str | ForgeError) -> None:
            if isinstance(text, ForgeError):
                self.tell(str(text), "error")
            else:
                self.show_plainly("The same run without the screen, in a new directory:", lambda: text)

        self.call_in_thread(read, then=shown)

    def show_plainly(self, title: str, text_now: Callable[[], str]) -> None:
        """Show a text to copy: unwrapped, the mouse released. What it is on leaving is printed then."""
        from rich.text import Text

        from forge_tui.tui.dialogs.questions import Reading

        self._mouse_on = not self.set_mouse(False) and self._mouse_on
        self.plain_text = text_now
        body = Text(f"{title}\n\n", style="bold")
        body.append(f"{printable(text_now())}\n\n", style="not bold")
        mouse = "" if self._mouse_on else " The mouse is left to the terminal until m."
        body.append(f"Enter goes back.{mouse} On leaving the command is printed, as it is then.", style="dim")
        self.push_screen(Reading(body, whole_width=True))

    def on_unmount(self) -> None:
        """Let the threads end: the app waits for them."""
        self._cancel_follow.set()
        if self._manager is not None:
            self._manager.stop_monitoring()


if TYPE_CHECKING:

    def _fits(app: ForgeApp) -> AppInterface:
        """Those below see the app by its interface, which it has: mypy checks it here."""
        return app
