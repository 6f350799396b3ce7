"""Pictures of the screens: an app that knows nothing of this machine, and a picture once nothing moves any more.

Clock, zone, home directory, user, disk and load are the same everywhere, so that a picture is the same, byte for byte.
"""

from __future__ import annotations

import inspect
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from configuring import MACHINE
from textual.pilot import Pilot
from textual.widgets import Input
from tui_host import screen_text

from forge_tui.client.run import Run
from forge_tui.resources.gpu_users import GpuUser, SeenGpu
from forge_tui.resources.gpus import Gpu
from forge_tui.resources.monitor import ResourceSample
from forge_tui.resources.pressure import Pressure
from forge_tui.resources.usage import CpuUsage
from forge_tui.tui.app import ForgeApp
from forge_tui.tui.choices import UiChoices
from forge_tui.tui.messages import ResourcesChanged
from forge_tui.tui.options import UiOptions

NOW = 1_795_446_130.0  # 2026-11-23 15:02:10 UTC
GIB = 1 << 30
_BUSY = (12.0, 18.0, 25.0, 31.0, 44.0, 61.0, 58.0, 52.0, 47.0, 46.0)


class _Disk(NamedTuple):
    total: int
    used: int
    free: int


def same_everywhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take from this process what differs from machine to machine; the working directory is `home`/project."""
    for name in ("NO_COLOR", "COLORFGBG", "TEXTUAL", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setenv("HOME", str(home))
    (home / "project").mkdir()
    monkeypatch.chdir(home / "project")
    monkeypatch.setattr(time, "time", lambda: NOW)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: _Disk(400 * GIB, 319 * GIB, 81 * GIB))


def samples() -> list[ResourceSample]:
    """What a monitor would have seen in the last minute: four cores, the first two busy with the run."""
    return [
        ResourceSample(
            time=NOW - 2.0 * (len(_BUSY) - number),
            cpu_percent=percent,
            others_cpu_percent=3.0,
            per_core=(percent * 1.6, percent * 1.5, 8.0, 3.0),
            memory_used=int(5.1 * GIB),
            memory_available=int(10.9 * GIB),
            memory_limit=16 * GIB,
            load_average=(1.84, 1.37, 0.92),
            pressure=(Pressure("cpu", 4.0, None, "/proc/pressure/cpu"), Pressure("io", 1.0, 0.0, "/proc/pressure/io")),
            usage=CpuUsage(percent=percent, others_percent=3.0, per_core=(), seconds=2.0),
        )
        for number, percent in enumerate(_BUSY)
    ]


def gpus(count: int, run: str) -> tuple[SeenGpu, ...]:
    """GPUs of a server: the first have models of the run, then one of another user, one that is lost, and idle ones."""
    found = []
    for index in range(count):
        gpu = Gpu(
            index=index,
            name="NVIDIA H100 80GB HBM3",
            memory_total=80 * GIB,
            memory_used=(index + 1) * 9 * GIB if index < 3 else GIB // 2,
            utilization_percent=(97.0, 63.0, 41.0)[index] if index < 3 else 0.0,
            uuid=f"GPU-{index}a5f2c1e-0000-0000-0000-000000000000",
            temperature=max(31.0, 71.0 - 9 * index),
        )
        users: tuple[GpuUser, ...] = ()
        if index < 2:
            users = tuple(
                GpuUser(4000 + number, 4 * GIB, "ada", f"cognate_planner_{number}", run)
                for number in range(4 + 3 * index, 7 + 3 * index)
            )
        elif index == 2:
            users = (GpuUser(9001, 20 * GIB, "bob"), GpuUser(9002, None))
        elif index == 3:
            gpu = replace(gpu, problem="the driver has lost it: it has fallen off the bus")
        found.append(SeenGpu(gpu, users))
    return tuple(found)


class PictureApp(ForgeApp):
    """The app on a machine of four CPUs in a control group of 16 GiB."""

    CSS_PATH = Path(inspect.getfile(ForgeApp)).parent / "styles.tcss"

    def __init__(
        self,
        state: Path,
        *,
        run: Path | None = None,
        theme: str = "dark",
        gpus: tuple[SeenGpu, ...] = (),
        **more: Any,
    ) -> None:
        self._gpus = gpus
        options = UiOptions(theme=theme)
        super().__init__(
            run=None if run is None else Run(run),
            host="ada@server",
            choices=UiChoices(state),
            options=options,
            clock=lambda: NOW,
            **more,
        )

    def _look_at_machine(self) -> None:
        *earlier, newest = samples()
        self.machine.cpu_percent.extend(sample.cpu_percent for sample in earlier)
        self.post_message(ResourcesChanged(newest, self._gpus))
        detected = replace(MACHINE, memory_gb=16.0, available_memory_gb=10.9, memory_limit_source="cgroup v2 /user")
        self.machine.post_detected(detected)
        self._fill_screen()

    def start_run(self, settings: Any, previous: Any = "refuse") -> None:
        """Nothing is trained for a picture."""


async def stand_still(pilot: Pilot[Any], *expected: str) -> None:
    """Wait until all that is read beside the UI has been read and drawn, and the texts `expected` are seen."""
    app = pilot.app
    assert isinstance(app, ForgeApp)
    deadline = time.monotonic() + 20.0
    before = ""
    while True:
        await pilot.pause()
        for entry in app.screen.query(Input):
            entry.cursor_blink = False
        now = screen_text(app)
        reading = [worker for worker in app.workers if worker.group in ("io", "count") and not worker.is_finished]
        if now == before and not reading and app.machine.resources is not None and app.machine.detected is not None:
            missing = [text for text in expected if text not in now]
            if not missing:
                return
            assert time.monotonic() < deadline, f"{missing} is not seen on\n{now}"
        before = now


Keys = Callable[[Pilot[Any]], Awaitable[None]]


def press(*keys: str, expected: tuple[str, ...] = ()) -> Keys:
    """Wait for the app, press keys one by one, and wait again."""

    async def act(pilot: Pilot[Any]) -> None:
        await stand_still(pilot)
        for key in keys:
            await pilot.press(key)
            await stand_still(pilot)
        await stand_still(pilot, *expected)

    return act
