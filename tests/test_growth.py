"""What a run costs grows with the number of its models and not with the square of it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from counting import Work, counted, growth
from run_directories import RunMaker
from stage import M, Stage

from forge_tui.client.run import Run
from forge_tui.protocol.phases import RunState
from forge_tui.protocol.request import Request
from forge_tui.protocol.run_data import Fingerprint, RunData
from forge_tui.protocol.run_info import RunInfo
from forge_tui.reports.run_report import write_report
from forge_tui.runner import groups
from forge_tui.runner.changes import Changes
from forge_tui.runner.code_copy import Code
from forge_tui.runner.resuming import open_earlier
from forge_tui.runs import run_models
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.store import RunStore
from forge_tui.settings.files import write_settings
from forge_tui.settings.schema import Settings, from_plain

if TYPE_CHECKING:
    from forge_tui.runner.prepare import Plan

MODELS = 200
# Twice the models are twice the work, and a little for what takes sorting.
LINEAR = 2.2
# What is done several times a second does not look at each model; what it tells of them is a few calls each time.
CONSTANT = 1.1


DATA = Fingerprint(sha256="0" * 64, rows=10, split_sha256="0" * 64)


def settings_of(count: int, **training: object) -> Settings:
    return from_plain({"training": {"epochs": 100, **training}, "run": {"models": count}})


def test_making_the_models_of_a_run(tmp_path: Path) -> None:
    def work(count: int) -> Work:
        directory = RunDirectory(tmp_path / str(count))
        made = directory.create()
        settings = settings_of(count)
        info = RunInfo(
            run="run", path=str(directory.path), mode="parallel", policy="shared", model_type="planner", models=count,
            epochs=100, created=1.0,
        )  # fmt: skip
        with counted() as found:
            states = run_models.new_models(settings)
            list(run_models.names(settings))
            store = RunStore.create(directory.database, info, states, made)
            groups.queued(states, 8)
        store.close()
        return found

    assert growth(work, MODELS, LINEAR) is None


@pytest.mark.parametrize("phase", [M.COMPLETED, M.QUEUED, M.CANCELLED, M.TRAINING])
def test_resuming_it(tmp_path: Path, phase: M, maker: RunMaker) -> None:
    def work(count: int) -> Work:
        path = directory_of(maker, tmp_path, count, phase)
        request = Request(action="resume", directory=str(path), working_directory=str(tmp_path), epochs=200)
        with counted() as found:
            earlier = open_earlier(request, RunDirectory(path))
            opened = earlier.reopen(cast("Plan", None), Code(), Changes(data=RunData(DATA)))
        assert sum(model.phase is M.QUEUED for model in opened.journal.models.values()) == count
        opened.store.close()
        return found

    assert growth(work, MODELS, LINEAR) is None


@pytest.mark.parametrize(
    "look",
    [
        lambda run: run.snapshot(),
        lambda run: write_report(run, "text", io.StringIO()),
        lambda run: write_report(run, "json", io.StringIO()),
        lambda run: write_report(run, "html", io.StringIO()),
        lambda run: (run.frame(), run.metrics_frame()),
    ],
    ids=["status", "report", "report in JSON", "page", "frames"],
)
def test_looking_at_it(tmp_path: Path, look: Callable[[Run], object], maker: RunMaker) -> None:
    def work(count: int) -> Work:
        with Run(directory_of(maker, tmp_path, count, M.COMPLETED, RunState.COMPLETED)) as run, counted() as found:
            look(run)
        return found

    assert growth(work, MODELS, LINEAR) is None


@pytest.mark.parametrize("paused", [False, True], ids=["running", "paused"])
def test_a_tick_of_the_scheduler(tmp_path: Path, paused: bool) -> None:
    def work(count: int) -> Work:
        found = Work()
        with Stage(tmp_path / str(count), models=count, requested=3) as stage:
            stage.turn(*(tell for actor in stage.actors for tell in actor.begins()))
            if paused:
                stage.command("pause")
                stage.turn()
            stage.turn(found.begin)
            for _ in range(10):
                stage.look()
            stage.turn(found.end)
        return found

    assert growth(work, MODELS, CONSTANT) is None


def test_the_end_of_each_model(tmp_path: Path) -> None:
    def work(count: int) -> Work:
        found = Work()
        with Stage(tmp_path / str(count), models=count, requested=3) as stage:
            stage.turn(found.begin)
            for _ in range(10):
                stage.turn(*stage.actors[0].completes())
            stage.turn(found.end)
        return found

    assert growth(work, MODELS, CONSTANT) is None


def directory_of(maker: RunMaker, base: Path, count: int, phase: M, state: RunState = RunState.STOPPED) -> Path:
    epoch = 100 if phase is M.COMPLETED else 1
    states = [maker.model(index, phase, epoch=epoch) for index in range(1, count + 1)]
    path = maker.make(f"{phase}-{count}", state, states, histories=dict.fromkeys(range(1, count + 1), 0))
    write_settings(settings_of(count), path / "settings.toml")
    return path
