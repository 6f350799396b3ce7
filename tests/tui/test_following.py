"""A viewer follows its run through all that becomes of it, without a key."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from configuring import snapshot
from run_directories import RunMaker
from running import SMALL, forge
from textual.pilot import Pilot
from tui_host import screen_text, until

from forge_tui.client.run import Run
from forge_tui.protocol.events import ModelFailed
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.tui.app import ForgeApp
from forge_tui.tui.choices import UiChoices
from forge_tui.tui.follow import Turn, has_failed, turn
from forge_tui.tui.screens.model import ModelScreen
from forge_tui.tui.screens.watch import WatchScreen

LONG = (*SMALL, "--no-ui", "--models", "2", "--mode", "parallel", "--workers", "2", "--epochs", "100000000")


@asynccontextmanager
async def watching(path: Path, state: Path) -> AsyncIterator[tuple[ForgeApp, Pilot[Any]]]:
    app = ForgeApp(run=Run(path), host="ada@server", choices=UiChoices(state), monitor=False)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.controller.snapshot is not None)
        yield app, pilot


def header(app: ForgeApp) -> str:
    return screen_text(app).splitlines()[0]


def status(app: ForgeApp) -> str:
    return app.status.plain


async def test_a_defect_in_following_is_shown(maker: RunMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("forge_tui.tui.run_controller.follow_run", broken)
    run = Run(maker.make("one", RunState.RUNNING))
    app = ForgeApp(run=run, host="ada@server", choices=UiChoices(tmp_path / "ui.json"), monitor=False)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "ZeroDivisionError: a defect" in screen_text(app))


@pytest.mark.parametrize(
    ("before", "now", "found"),
    [
        (None, RunState.RUNNING, Turn.NONE),
        (None, RunState.COMPLETED, Turn.NONE),
        (None, RunState.STOPPED, Turn.UNFINISHED),
        (None, RunState.DIED, Turn.UNFINISHED),
        (RunState.QUEUED, RunState.RUNNING, Turn.NONE),
        (RunState.RUNNING, RunState.STOPPED, Turn.ENDED),
        (RunState.PAUSED, RunState.DIED, Turn.ENDED),
        (RunState.STOPPED, RunState.QUEUED, Turn.RESUMED),
        (RunState.DIED, RunState.RUNNING, Turn.RESUMED),
        (RunState.COMPLETED, RunState.COMPLETED, Turn.NONE),
    ],
)
def test_what_has_become_of_a_run(before: RunState | None, now: RunState, found: Turn) -> None:
    earlier = None if before is None else snapshot(Path("run"), before)

    assert turn(earlier, snapshot(Path("run"), now)) is found


async def test_stop_resume_elsewhere_cancel_retry_and_deletion(run_directory: Path, tmp_path: Path) -> None:
    def models() -> set[str]:
        assert app.controller.snapshot is not None
        return {model.phase.value for model in app.controller.snapshot.models}

    async def elsewhere(*arguments: str | Path) -> None:
        await asyncio.to_thread(partial(forge, *arguments, own_process=True))

    await elsewhere(*LONG, "--detach", "--output", run_directory)
    async with watching(run_directory, tmp_path / "ui.json") as (app, pilot):
        await until(pilot, lambda: "live" in header(app) and models() == {"training"})
        app.controller.started_here = True
        await elsewhere("stop", run_directory)
        await until(pilot, lambda: "stopped" in header(app) and "R resumes it" in status(app))
        await elsewhere("resume", run_directory, "--detach")
        await until(pilot, lambda: "live" in header(app) and models() == {"training"})
        assert status(app) == "run run was resumed elsewhere, and continues"
        assert not app.controller.started_here  # leaving asks nothing
        await elsewhere("cancel", run_directory, "1")
        await until(pilot, lambda: models() == {"training", "cancelled"} and "⊘ cancel" in screen_text(app))
        await elsewhere("retry", run_directory, "1")
        await until(pilot, lambda: models() == {"training"} and "⊘ cancel" not in screen_text(app))
        await elsewhere("kill", run_directory)
        await until(pilot, lambda: "killed" in header(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ModelScreen))
        await elsewhere("rm", run_directory, "--yes")
        await until(pilot, lambda: isinstance(app.screen, WatchScreen) and app.controller.run is None)
        await pilot.pause()

        shown = screen_text(app)
        assert "run run was moved or deleted. Esc goes back, 3 shows the known runs." in shown
        assert "cognate_planner_1" not in shown
        assert "killed" not in shown
        assert status(app).endswith("was moved or deleted: Esc goes back")


async def test_another_run_in_the_same_directory_is_not_taken_for_it(run_directory: Path, tmp_path: Path) -> None:
    short = (*SMALL, "--no-ui", "--models", "1", "--epochs", "2", "--output", run_directory)
    await asyncio.to_thread(partial(forge, *short, own_process=True))
    async with watching(run_directory, tmp_path / "ui.json") as (app, pilot):
        await asyncio.to_thread(partial(forge, *short, "--overwrite", own_process=True))
        await until(pilot, lambda: app.controller.run is None)

        # Between the two there is a moment without a run.
        what = ("was replaced by another run in its directory", "was moved or deleted")
        assert status(app) in {f"! run run {each}: Esc goes back" for each in what}


@pytest.mark.parametrize("gone", [shutil.rmtree, lambda path: os.rename(path, path.with_name("elsewhere"))])
async def test_an_ended_run_that_is_deleted_or_moved_is_shown_no_longer(
    gone: Callable[[Path], Any], maker: RunMaker, tmp_path: Path
) -> None:
    path = maker.make("old", RunState.COMPLETED)
    async with watching(path, tmp_path / "ui.json") as (app, pilot):
        await until(pilot, lambda: "completed" in header(app))
        gone(path)
        await until(pilot, lambda: app.controller.run is None)
        await pilot.press("1", "2")
        await until(pilot, lambda: isinstance(app.screen, WatchScreen) and app.screen.is_there)

        assert "run old was moved or deleted. Esc goes back, 3 shows the known runs." in screen_text(app)
        assert "completed" not in header(app)


async def test_a_failure_is_told_until_its_model_is_tried_again(maker: RunMaker, tmp_path: Path) -> None:
    failure = ModelFailed(
        time=1.0, model="cognate_planner_3", index=3, attempt=1, kind="exception", message="ValueError: x"
    )
    path = maker.make(
        "1", RunState.RUNNING, [maker.model(1, TrainingPhase.TRAINING, epoch=3), maker.failed(2)], events=[failure]
    )
    async with watching(path, tmp_path / "ui.json") as (app, pilot):
        await until(pilot, lambda: app.controller.snapshot is not None and app.controller.snapshot.models)
        assert app.controller.snapshot is not None
        assert has_failed(app.controller.snapshot, "cognate_planner_2")
        assert not has_failed(app.controller.snapshot, "cognate_planner_1")
        assert status(app) == ""  # what has failed once and trains again is history
        app.tell("cognate_planner_2: why", "error", holds=partial(has_failed, model="cognate_planner_2"))
        app.controller.close()  # the next snapshot is ours
        again = [replace(each, phase=TrainingPhase.QUEUED) for each in app.controller.snapshot.models]
        from forge_tui.tui.messages import SnapshotChanged

        assert app.controller.run is not None
        app.post_message(
            SnapshotChanged(app.controller.run, replace(app.controller.snapshot, models=tuple(again), revision=9))
        )
        await until(pilot, lambda: status(app) == "")
