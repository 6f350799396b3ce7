"""The app: which run is watched, what the machine says, and the way from messages to screens.

Everything that may block (starting, reading, writing) is done in threads; they post messages and touch no widget.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.text import Text
from textual import work
from textual.app import App

from forge_tui.errors import ForgeError
from forge_tui.progress.phases import RunState
from forge_tui.progress.snapshot import Snapshot
from forge_tui.resources.manager import ResourceManager
from forge_tui.text import printable
from forge_tui.tui import glyphs as glyph_sets
from forge_tui.tui import themes
from forge_tui.tui.follow import follow_run
from forge_tui.tui.messages import ResourcesChanged, SnapshotChanged, StartRefused, ThreadDone
from forge_tui.tui.options import THEMES, UiOptions
from forge_tui.tui.screens.base import ForgeScreen
from forge_tui.tui.screens.dialogs import Choice, Question, Reading
from forge_tui.tui.screens.help import help_screen
from forge_tui.tui.screens.palette import Palette
from forge_tui.tui.screens.watch import WatchScreen
from forge_tui.tui.state import UiChoices
from forge_tui.tui.terminal import TerminalApp
from forge_tui.tui.widgets.header import host_name

if TYPE_CHECKING:
    from forge_tui.resources.hardware import SystemResources
    from forge_tui.resources.monitor import ResourceSample
    from forge_tui.session import Run
    from forge_tui.settings.schema import Settings

_MONITOR_SECONDS = 2.0
_AGE_SECONDS = 1.0


class ForgeApp(TerminalApp):
    """The terminal UI. It opens on `screen`, on the run `run`, or on a run it starts with `start_with`."""

    CSS_PATH = "styles.tcss"
    TITLE = "forge-tui"
    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = None

    def __init__(
        self,
        *,
        run: Run | None = None,
        start_with: Settings | None = None,
        given: Any = None,
        options: UiOptions | None = None,
        only_ascii: bool = False,
        choices: UiChoices | None = None,
        host: str | None = None,
        clock: Callable[[], float] = time.time,
        monitor: bool = True,
    ) -> None:
        """`given` is what flags, presets and variables have set, for Configure; `monitor=False` leaves the machine out."""
        self.options = options or UiOptions()
        self.glyphs = glyph_sets.ASCII if only_ascii or self.options.ascii else glyph_sets.UNICODE
        self.choices = choices or UiChoices()
        self.host = host or host_name()
        self.clock = clock
        self.given = given
        self.run_watched = run
        self.snapshot: Snapshot | None = None
        self.resources: ResourceSample | None = None
        self.detected: SystemResources | None = None
        self.suggestion = ""
        self.header_note = ""
        self.status = Text()
        self.log: list[dict[str, Any]] = []  # type: ignore[assignment]
        self.started_here = False
        self.sidebar_hidden = False
        self.sidebar_whole = False
        self._start_with = start_with
        self._monitor = monitor
        self._manager: ResourceManager | None = None
        self._cancel_follow = threading.Event()
        self._mouse_on = self.options.mouse
        super().__init__()
