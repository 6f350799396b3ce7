"""Mean and deviation over seeds, and smoothing, by their keys."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from measured import remeasured
from run_directories import RunMaker, loss_at
from textual.pilot import Pilot
from tui_host import Host, screen_text, until

from forge_tui.client.run import Run
from forge_tui.protocol.events import EpochFinished
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.runs.store import RunStore
from forge_tui.tui.chart.chart_widget import Chart, Smoothing
from forge_tui.tui.chart.seeds import MOST_SEEDS, SeedReader, _labels, seeds_by_config
from forge_tui.tui.choices import UiChoices
from forge_tui.tui.screens.model import ModelScreen
from forge_tui.tui.screens.runs import RunsScreen
from forge_tui.tui.screens.watch import WatchScreen


@asynccontextmanager
async def watching(path: Path, state: Path, size: tuple[int, int] = (80, 24)) -> AsyncIterator[tuple[Host, Pilot[int]]]:
    app = Host(RunsScreen, run=Run(path), choices=UiChoices(state))
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.controller.snapshot is not None and chart_of(app).series)
        yield app, pilot


def chart_of(app: Host) -> Chart:
    assert app.front is not None
    return app.front.query_one(Chart)


def losses(seed: int, count: int) -> list[float]:
    """A noisy curve of a seed."""
    chance = np.random.default_rng(seed)
    return [loss_at(epoch) * float(1 + 0.2 * chance.random()) for epoch in range(1, count + 1)]


def seeded(maker: RunMaker, *counts: int, configs: tuple[float, ...] = (), name: str = "averaged") -> Path:
    """A run whose models have so many epochs, and the learning rates `configs` where they are given."""
    models = []
    for index, count in enumerate(counts, 1):
        config = {"learning_rate": configs[index - 1] if configs else 0.001, "batch_size": 32}
        models.append(maker.model(index, epoch=count, config=config))
    path = maker.make(name, RunState.COMPLETED, models, histories=dict.fromkeys(range(1, len(counts) + 1), 0))
    store = RunStore.open(path / "run.db")
    for model in models:
        for event in maker.history(model, model.epoch):
            loss = losses(model.index, model.epoch)[event.epoch - 1]
            store.append(remeasured(event, loss=loss, validation_loss=2 * loss))
    store.close(timeout=5.0)
    return path


async def test_f_draws_mean_and_deviation_over_the_seeds(maker: RunMaker, tmp_path: Path) -> None:
    path = seeded(maker, 40, 40, 25)
    async with watching(path, tmp_path / "ui.json") as (app, pilot):
        await pilot.press("f")
        await until(pilot, lambda: len(chart_of(app).series) == 2 and chart_of(app).series[0].edges)
        train, validation = chart_of(app).series
        assert (train.label, train.kind, validation.kind) == ("3 seeds", "train", "validation")
        values = [losses(seed, 40) for seed in (1, 2, 3)]
        for epoch in (1, 25, 26, 40):
            there = [seed[epoch - 1] for seed in (values if epoch <= 25 else values[:2])]
            lower, upper = train.edges or ((), ())
            assert train.points[epoch - 1] == (epoch, pytest.approx(np.mean(there)), pytest.approx(np.mean(there)))
            assert lower[epoch - 1][1] == pytest.approx(np.mean(there) - np.std(there, ddof=1))
            assert upper[epoch - 1][1] == pytest.approx(np.mean(there) + np.std(there, ddof=1))
            assert validation.points[epoch - 1][1] == pytest.approx(2 * np.mean(there))
        assert "deviation of 3 seeds" in screen_text(app)
        assert "log y, seeds" in screen_text(app)
        assert UiChoices(tmp_path / "ui.json").get("seeds") is True
        await pilot.press("f")
        await until(pilot, lambda: chart_of(app).series and chart_of(app).series[0].edges is None)
        assert chart_of(app).series[0].label == "cognate_planner_1"
        assert "seeds" not in screen_text(app)
        assert UiChoices(tmp_path / "ui.json").get("seeds") is False


async def test_the_marked_models_alone_count_where_some_are_marked(maker: RunMaker, tmp_path: Path) -> None:
    path = seeded(maker, 10, 10, 10)
    async with watching(path, tmp_path / "ui.json") as (app, pilot):
        await pilot.press("space", "space", "f")
        await until(pilot, lambda: chart_of(app).series and chart_of(app).series[0].label == "2 seeds")
        expected = np.mean([losses(1, 10)[9], losses(2, 10)[9]])
        assert chart_of(app).series[0].points[-1][1] == pytest.approx(expected)
        await pilot.press("A")
        await until(pilot, lambda: chart_of(app).series[0].label == "3 seeds")


async def test_several_configs_have_a_curve_each_named_by_what_differs(maker: RunMaker, tmp_path: Path) -> None:
    path = seeded(maker, 10, 10, 10, configs=(0.001, 0.01, 0.001))
    async with watching(path, tmp_path / "ui.json", (120, 40)) as (app, pilot):
        await pilot.press("f", "v")
        await until(pilot, lambda: len(chart_of(app).series) == 4)
        labels = [series.label for series in chart_of(app).series if series.kind == "train"]
        assert labels == ["learning_rate 0.001 (2 seeds)", "learning_rate 0.01 (1 seed)"]
        first = chart_of(app).series[0]
        assert first.points[0][1] == pytest.approx(np.mean([losses(1, 10)[0], losses(3, 10)[0]]))


async def test_the_choices_are_there_again_next_time(maker: RunMaker, tmp_path: Path) -> None:
    path = seeded(maker, 10, 10)
    async with watching(path, tmp_path / "ui.json") as (app, pilot):
        await pilot.press("f", "S")
        await until(pilot, lambda: chart_of(app).series and chart_of(app).series[0].edges)
    async with watching(path, tmp_path / "ui.json") as (app, pilot):
        assert chart_of(app).series[0].label == "2 seeds"
        assert chart_of(app).smoothing is Smoothing.LIGHT
        assert "loss log, smoothed 0.6, mean" in screen_text(app)


async def test_a_seed_that_diverged_is_a_cross_and_a_gap(maker: RunMaker, tmp_path: Path) -> None:
    path = maker.make("two", models=[maker.model(1, epoch=10), maker.model(2, epoch=5, diverged=True)],
                      histories={1: 0, 2: 0})  # fmt: skip
    store = RunStore.open(path / "run.db")
    for index, count in ((1, 10), (2, 5)):
        for event in RunMaker.history(maker.model(index, epoch=count), count):
            assert isinstance(event, EpochFinished)
            gone = (index, event.epoch) == (2, 5)
            store.append(remeasured(event, loss=float("nan") if gone else 1.0 * index))
    store.close(timeout=5.0)
    async with watching(path, tmp_path / "ui.json") as (app, pilot):
        await pilot.press("f")
        await until(pilot, lambda: chart_of(app).series and chart_of(app).series[0].edges)
        train = chart_of(app).series[0]
        assert [low for _, low, _ in train.points] == [1.5] * 4 + [None] + [1.0] * 5
        assert train.marks == (5.0,)
        assert "× diverged" in screen_text(app)


async def test_a_live_run_grows_and_what_a_retry_does_again_is_replaced(maker: RunMaker, tmp_path: Path) -> None:
    model = maker.model(1, TrainingPhase.TRAINING, epoch=4)
    path = maker.make("live", RunState.RUNNING, [model])
    with Run(path) as run:
        reader = SeedReader(run)
        (train, _), store = reader.fetch([model], 100), maker._stores[0]
        assert [point[0] for point in train.points] == [1, 2, 3, 4]
        for event in maker.history(dataclasses.replace(model, attempt=2), 6)[2:]:
            store.append(remeasured(event, loss=7.0))
        store.flush()
        same = reader.fetch([model], 100)
        assert same[0].points == train.points  # nothing new was told of it
        grown = dataclasses.replace(model, epoch=6)
        (train, _) = reader.fetch([grown], 100)
        assert [point[1] for point in train.points[2:]] == [7.0] * 4
        assert train.points[:2] == same[0].points[:2]


def test_a_reader_that_is_cancelled_comes_back_with_nothing(maker: RunMaker) -> None:
    path = seeded(maker, 10, 10)
    with Run(path) as run:
        reader = SeedReader(run)
        reader.cancel()
        assert reader.fetch(run.snapshot().models, 10) == ()


def test_models_that_have_not_begun_count_nowhere_and_the_number_of_seeds_has_an_end() -> None:
    def model(index: int, epoch: int) -> ModelState:
        return ModelState(name=f"m{index}", index=index, seed=index, epochs=5, epoch=epoch)

    assert seeds_by_config([model(1, 0)]) == []
    (group,) = seeds_by_config([model(index, min(1, index - 1)) for index in range(1, MOST_SEEDS + 10)])
    assert [each.index for each in group] == list(range(2, MOST_SEEDS + 2))


def test_configs_of_a_sweep_of_the_data_are_told_apart() -> None:
    def model(index: int, samples: int) -> ModelState:
        swept = {"config": {"learning_rate": 0.1}, "combination": {"samples": samples}}
        return ModelState(name=f"m{index}", index=index, seed=index, epochs=5, epoch=1, **swept)

    groups = seeds_by_config([model(1, 100), model(2, 100), model(3, 200)])
    assert [[each.index for each in group] for group in groups] == [[1, 2], [3]]
    assert _labels(groups, "") == ["samples 100 (2 seeds)", "samples 200 (1 seed)"]


async def test_while_a_long_run_is_read_the_chart_says_so_and_keys_work(
    maker: RunMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = seeded(maker, 10, 10)
    held, read = threading.Event(), Run.epoch_page

    def slowly(self: Run, index: int, since: int, limit: int):  # type: ignore[no-untyped-def]
        assert held.wait(30)
        return read(self, index, since, limit)

    monkeypatch.setattr(Run, "epoch_page", slowly)
    async with watching(path, tmp_path / "ui.json") as (app, pilot):
        await pilot.press("f")
        front = app.front
        assert isinstance(front, WatchScreen)
        await until(pilot, lambda: front.chart._seeds is not None and front.chart._seeds._reading)
        await pilot.press("j", "plus")
        front.chart.on_chart_view_changed()
        await until(pilot, lambda: "Reading the epochs of 2 models, 0 done" in screen_text(app))
        held.set()
        await until(pilot, lambda: chart_of(app).series and chart_of(app).series[0].edges)


@pytest.mark.parametrize("on_model", [False, True])
async def test_s_goes_through_the_smoothings_and_keeps_the_last(
    maker: RunMaker, tmp_path: Path, on_model: bool
) -> None:
    path = seeded(maker, 30)
    async with watching(path, tmp_path / "ui.json", (100, 40)) as (app, pilot):
        if on_model:
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.front, ModelScreen) and chart_of(app).series)
        seen = []
        for _ in range(3):
            await pilot.press("S")
            await pilot.pause()
            title = next(line for line in screen_text(app).splitlines() if " loss log" in line)
            seen.append(title.partition("loss log")[2].partition("  ")[0])
        assert seen == [", smoothed 0.6", ", smoothed 0.9", ""]
        await pilot.press("S")
        assert UiChoices(tmp_path / "ui.json").get("smoothing") == "light"
        if not on_model:
            assert "log y, smoothed 0.6" in screen_text(app)


async def test_a_smoothing_of_another_version_is_none(maker: RunMaker, tmp_path: Path) -> None:
    UiChoices(tmp_path / "ui.json").put("smoothing", "median")
    async with watching(seeded(maker, 10), tmp_path / "ui.json") as (app, _):
        assert chart_of(app).smoothing is Smoothing.OFF
