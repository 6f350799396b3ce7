"""The two top lines: user and host, run and progress; and the machine in short."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from forge_tui.protocol.phases import RunState
from forge_tui.protocol.record_fields import LATEST_MOMENT
from forge_tui.safe_io.printing import printable
from forge_tui.tui.widgets import cells
from forge_tui.tui.widgets.glyphs import Glyphs
from forge_tui.tui.widgets.line import Line, Spot, joined_ends

if TYPE_CHECKING:
    from forge_tui.protocol.run_info import RunInfo
    from forge_tui.protocol.snapshot import Snapshot
    from forge_tui.resources.monitor import ResourceSample

GIB = 1 << 30
OLD_SECONDS = 3.0
_ROOMY = 100
_COUNTS = re.compile(r"^\d+ instead of \d+: ")

_STATE_STYLES = {
    RunState.RUNNING: "green", RunState.QUEUED: "cyan", RunState.STOPPING: "yellow", RunState.PAUSED: "yellow",
    RunState.COMPLETED: "green", RunState.FAILED: "red", RunState.STOPPED: "yellow", RunState.KILLED: "red",
    RunState.DIED: "red",
}  # fmt: skip


def host_name() -> str:
    """user@host, for the title."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a uid without a name, as in some containers
        user = str(os.getuid())
    return f"{user}@{socket.gethostname().partition('.')[0]}"


def state_word(state: RunState) -> str:
    """The state as shown: `running` is called live."""
    return "live" if state is RunState.RUNNING else state.value


class HeaderLine(Line):
    """The screen, user@host, run, state; done, percent, time left, and the age of old data."""

    def __init__(self, glyphs: Glyphs, host: str, screen: str, *, id: str | None = None) -> None:
        """`screen` is the screen's title."""
        super().__init__(f"{screen} · forge-tui · {host}", id=id)
        self._glyphs = glyphs
        self._host = host
        self._screen = screen

    def draw(self, snapshot: Snapshot | None, note: str = "") -> None:
        """Draw for a snapshot, or without a run."""
        width = max(20, self.size.width or self.app.size.width)
        if snapshot is None:
            spots = [Spot(width - len(note), width, "show_runs")] if note else []
            self.show(joined_ends(Text(f"{self._screen} · forge-tui · {self._host}"), Text(note), width), spots)
            return
        state = Text(f" {self._glyphs.live} {state_word(snapshot.state)} ", style=_STATE_STYLES[snapshot.state])
        right = Text(self._right(snapshot, width))
        # If space is short the names are shortened, never the screen and the state.
        where, who = f"{self._screen} · ", f"{self._host} {cells.clean(snapshot.title, self._glyphs.ascii)}"
        room = max(0, width - right.cell_len - state.cell_len - len(where))
        left = Text(where)
        left.append(cells.middle(who, room, self._glyphs.ellipsis).rstrip() if cells.width_of(who) > room else who)
        left.append_text(state)
        self.show(joined_ends(left, right, width))

    def _right(self, snapshot: Snapshot, width: int) -> str:
        parts = [f"{snapshot.completed}/{len(snapshot.models)} done", f"{snapshot.overall_percent:3.0f}%"]
        if snapshot.state.is_live:
            eta = snapshot.eta_seconds
            # An end in thousands of years has no date.
            end = LATEST_MOMENT if eta is None else snapshot.time + eta
            when = time.strftime(" (%H:%M)", time.localtime(end)) if end < LATEST_MOMENT else ""
            parts.append(f"ETA {cells.short_duration(eta, self._glyphs)}{when}")
            if snapshot.age >= OLD_SECONDS or width >= _ROOMY:
                # Whole seconds: a finer age would change every time.
                age = f"{int(snapshot.age)}s" if snapshot.age < 60 else f"{snapshot.age / 60:.0f} min old"
                parts.append(f"data {age}")
        else:
            parts.append(f"took {cells.short_duration(snapshot.elapsed_seconds, self._glyphs)}")
        return "  ".join(parts)


class ResourceLine(Line):
    """CPU, memory, disk and workers in one line."""

    HISTORY = 5

    def __init__(self, glyphs: Glyphs, *, id: str | None = None) -> None:
        super().__init__("CPU …  MEM …", id=id)
        self._glyphs = glyphs
        self._history: list[float] = []
        self._drawn: tuple[ResourceSample | None, RunInfo | None, int, str, tuple[float, ...]] | None = None

    def show_curve(self, percent: Sequence[float]) -> None:
        """Set the CPU use until now, the newest last, for the small curve."""
        self._history = list(percent[-self.HISTORY :])

    def draw(self, sample: ResourceSample | None, snapshot: Snapshot | None) -> None:
        """Draw the machine's state."""
        width = max(20, self.size.width or self.app.size.width)
        disk = disk_free(Path(snapshot.run.path) if snapshot is not None else here())
        known = (sample, None if snapshot is None else snapshot.run, width, disk, tuple(self._history))
        if known == self._drawn:
            return
        self._drawn = known
        text = Text()
        if sample is not None:
            busy = "bold red" if sample.others_cpu_percent > 80 else ""
            text.append(f"CPU {sample.cpu_percent:.0f}%", style=busy)
            text.append(spark(self._history, 100.0, self._glyphs))
            used, limit = sample.memory_used / GIB, sample.memory_limit / GIB
            text.append(f" MEM {used:.1f}/{limit:.0f}G", style="bold red" if sample.memory_percent > 90 else "")
        else:
            text.append("CPU …  MEM …")
        text.append(f" DISK {disk}")
        if snapshot is not None:
            run = snapshot.run
            text.append(f"  workers {run.workers}/{run.requested}: {printable(without_counts(run.limit_reason))}")
        more = Text(" i resources")
        self.show(joined_ends(text, more, width), [Spot(width - more.cell_len, width, "resources")])


def without_counts(reason: str) -> str:
    """A limit's reason without its `2 instead of 3: `, for places that show the numbers already."""
    return _COUNTS.sub("", reason)


def spark(values: list[float], top: float, glyphs: Glyphs) -> str:
    """A small curve of values from 0 to `top`."""
    last = len(glyphs.spark) - 1
    return "".join(glyphs.spark[min(last, max(0, round(value / top * last)))] for value in values)


def here() -> Path:
    """The working directory; the root if it was deleted."""
    try:
        return Path.cwd()
    except OSError:
        return Path("/")


def disk_free(path: Path) -> str:
    """Free space on the disk of `path`, in short."""
    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        free = shutil.disk_usage(path).free / GIB
    except OSError:
        return "—"
    return f"{free:.0f}G" if free >= 10 else f"{free:.1f}G"
