"""What the screens say where something is missing, odd or at its end; and that they waste no room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from run_directories import RunMaker
from tui_host import Host, screen_text, until

from forge_tui.progress.events import Decision
from forge_tui.progress.phases import RunState, TrainingPhase
from forge_tui.resources.monitor import ResourceSample
from forge_tui.resources.usage import CpuUsage
from forge_tui.session import Run
from forge_tui.tui.messages import ResourcesChanged
from forge_tui.tui.screens.watch import WatchScreen
from forge_tui.tui.widgets.line import Line
from forge_tui.tui.widgets.log_pane import LogPane


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[RunMaker]:
    made = RunMaker(tmp_path / "runs")
    yield made
    made.close()


def watching(path: Path) -> Host:
    return Host(WatchScreen, run=Run(path))


def sample(percent: float) -> ResourceSample:
    """A machine of one core and 16 GiB, 4 of them used."""
    usage = CpuUsage(percent=percent, others_percent=0.0, per_core=(percent,), seconds=2.0)
    return ResourceSample(
        time=0.0, cpu_percent=percent, others_cpu_percent=0.0, per_core=(percent,), memory_used=4 << 30,
        memory_available=12 << 30, memory_limit=16 << 30, load_average=None, pressure=(), usage=usage,
    )  # fmt: skip


def status(app: Host) -> str:
    assert app.front is not None
    return app.front.query_one("#status", Line).text.plain


async def test_the_log_stands_at_its_end_from_the_start(maker: RunMaker) -> None:
    events = [Decision(time=1_000.0 + number, kind="admit", reason=f"number {number}") for number in range(40)]
    path = maker.make("run", RunState.RUNNING, [maker.model(1, TrainingPhase.TRAINING, epoch=9)], events=events)
    app = watching(path)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "number 39" in screen_text(app))
        log = app.screen.query_one(LogPane)
        assert log.scroll_offset.y == log.max_scroll_y > 0


async def test_a_screen_that_comes_later_shows_the_curve_of_before(maker: RunMaker) -> None:
    app = Host(WatchScreen)
    async with app.run_test(size=(80, 24)) as pilot:
        for percent, curve in ((0.0, "▁"), (50.0, "▁▅"), (100.0, "▁▅█")):
            app.post_message(ResourcesChanged(sample(percent)))
            await until(pilot, lambda seen=f"CPU {percent:.0f}%{curve} MEM": seen in screen_text(app))
        before = screen_text(app).splitlines()[1]
        await pilot.press("3")
        await until(pilot, lambda: "No runs yet" in screen_text(app))
        assert screen_text(app).splitlines()[1] == before
