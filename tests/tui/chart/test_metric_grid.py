"""Several metrics as small charts: their places, pinned ones first, and the keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from run_directories import RunMaker
from textual.pilot import Pilot
from tui_host import screen_text, until

from forge_tui.client.run import Run
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.tui.app import ForgeApp
from forge_tui.tui.chart.metric_grid import LEAST_HEIGHT, LEAST_WIDTH, cells_of
from forge_tui.tui.chart.pace import Pace
from forge_tui.tui.chart.quantities import LOSS, LOSSES, Quantity, pinned_first
from forge_tui.tui.choices import UiChoices
from forge_tui.tui.screens.model import ModelScreen
from forge_tui.tui.screens.watch import WatchScreen


@pytest.mark.parametrize(
    ("count", "area", "expected"),
    [
        (1, (168, 20), (1, 1)),
        (2, (168, 15), (2, 1)),
        (4, (168, 15), (4, 1)),
        (4, (168, 44), (2, 2)),
        (6, (168, 44), (2, 3)),
        (2, (80, 9), (2, 1)),
        (2, (50, 20), (1, 2)),
        (9, (80, 15), (2, 2)),  # not all fit
        (3, (30, 5), (1, 1)),
    ],
)
def test_charts_are_as_large_as_the_room_allows(count: int, area: tuple[int, int], expected: tuple[int, int]) -> None:
    assert cells_of(count, *area) == expected


@pytest.mark.parametrize("count", range(1, 13))
@pytest.mark.parametrize("area", [(168, 15), (168, 44), (80, 9), (88, 17), (268, 60)])
def test_no_chart_is_smaller_than_it_can_be_read(count: int, area: tuple[int, int]) -> None:
    columns, rows = cells_of(count, *area)
    assert area[0] // columns >= LEAST_WIDTH
    assert area[1] // rows >= LEAST_HEIGHT
    assert (columns - 1) * rows < count  # no column stays empty


def test_pinned_quantities_come_first_in_the_order_of_pinning() -> None:
    accuracy = Quantity("accuracy", (("validation_accuracy", "validation"),), frozenset({"validation"}))
    rate = Quantity("learning rate", (("learning_rate", "train"),), frozenset({"train"}))
    every = (*LOSSES, accuracy, rate)
    assert pinned_first(every, ()) == every
    assert pinned_first(every, ("learning_rate", "validation_accuracy")) == (rate, accuracy, *LOSSES)
    assert pinned_first(every, ("gone", "loss"))[:3] == LOSSES
    assert LOSS.key == "loss"


def test_curves_are_read_after_a_change_and_for_a_fiftieth_of_the_time(maker: RunMaker) -> None:
    now = [100.0]
    pace = Pace(clock=lambda: now[0])
    one, other = maker.model(1), maker.model(1)
    assert pace.is_due([one], "loss")
    assert not pace.is_due([one], "loss")
    assert pace.is_due([one], "accuracy")
    assert pace.is_due([other], "accuracy")
    pace.took(0.1)
    assert not pace.is_due([one], "accuracy")
    pace.ask()
    assert pace.is_due([one], "accuracy")
    now[0] += 5.0
    assert pace.is_due([other], "accuracy")
    pace.forget()
    assert pace.is_due([other], "accuracy")


@pytest.fixture
def live(maker: RunMaker) -> Path:
    return maker.make("1123", RunState.RUNNING, [maker.model(1, TrainingPhase.TRAINING, epoch=61)])


def watching(path: Path, state: Path) -> ForgeApp:
    return ForgeApp(run=Run(path), host="ada@server", choices=UiChoices(state), monitor=False)


async def watch_of(app: ForgeApp, pilot: Pilot[Any]) -> WatchScreen:
    await until(pilot, lambda: isinstance(app.front, WatchScreen) and app.front.is_there)
    assert isinstance(app.front, WatchScreen)
    screen = app.front
    await until(pilot, lambda: screen.table.models)
    return screen


def titles(screen: WatchScreen | ModelScreen) -> list[str]:
    return [cell.quantity.title for cell in screen.grid.cells]


async def test_a_wide_terminal_has_all_metrics_and_a_narrow_one_the_loss(live: Path, state: Path) -> None:
    app = watching(live, state)
    async with app.run_test(size=(200, 50)) as pilot:
        screen = await watch_of(app, pilot)
        await until(pilot, lambda: screen.switch.shown and all(cell.series for cell in screen.grid.cells))
        assert titles(screen) == ["loss", "accuracy", "learning rate", "steps/s"]
        text = screen_text(app)
        for words in (">loss log", " accuracy linear", " learning rate log", " steps/s linear", "4 metrics"):
            assert words in text
        await pilot.resize_terminal(120, 40)
        await until(pilot, lambda: not screen.switch.shown and screen.chart.display and screen.chart.series)


async def test_a_pinned_metric_comes_first_and_is_remembered(live: Path, state: Path) -> None:
    app = watching(live, state)
    async with app.run_test(size=(200, 50)) as pilot:
        screen = await watch_of(app, pilot)
        await until(pilot, lambda: screen.switch.shown and len(screen.grid.cells) == 4)
        await pilot.press("v", "v", "P")
        await until(pilot, lambda: titles(screen)[0] == "learning rate")
        assert app.status.plain == "learning rate: pinned, it comes first"
        await until(pilot, lambda: ">*learning rate" in screen_text(app))
        assert titles(screen) == ["learning rate", "loss", "accuracy", "steps/s"]
    app = watching(live, state)
    async with app.run_test(size=(200, 50)) as pilot:
        screen = await watch_of(app, pilot)
        await until(pilot, lambda: screen.switch.shown and titles(screen)[:1] == ["learning rate"])
        await pilot.press("v", "v", "v", "P")
        await until(pilot, lambda: titles(screen) == ["loss", "accuracy", "learning rate", "steps/s"])
        assert app.status.plain == "learning rate: no longer pinned"
    assert UiChoices(state).get("pinned", ["?"]) == []


async def test_the_keys_of_a_chart_act_on_all_and_those_of_one_on_the_chosen(live: Path, state: Path) -> None:
    app = watching(live, state)
    async with app.run_test(size=(200, 50)) as pilot:
        screen = await watch_of(app, pilot)
        await until(pilot, lambda: screen.switch.shown and all(cell.series for cell in screen.grid.cells))
        cells = screen.grid.cells
        await pilot.press("plus")
        await until(pilot, lambda: all(cell.is_zoomed for cell in cells))
        await pilot.press("0", "S")
        await until(pilot, lambda: {cell.smoothing.value for cell in cells} == {"light"})
        await pilot.press("less_than_sign", "less_than_sign")
        await until(pilot, lambda: screen_text(app).count(" epoch 60") == 4)
        await pilot.press("escape")
        await until(pilot, lambda: not screen.grid.narrows)
        await pilot.press("v", "y")
        await until(pilot, lambda: [cell.log_y for cell in cells] == [True, True, True, False])
        await pilot.click(offset=(screen.grid.cells[3].region.x + 20, screen.grid.cells[3].region.y + 5))
        await until(pilot, lambda: ">steps/s epoch" in screen_text(app))
        assert screen.chart.quantity.title == "steps/s"


async def test_v_shows_one_chart_or_all_and_the_choice_is_remembered(live: Path, maker: RunMaker, state: Path) -> None:
    app = watching(live, state)
    async with app.run_test(size=(200, 50)) as pilot:
        screen = await watch_of(app, pilot)
        await until(pilot, lambda: screen.switch.shown)
        await pilot.press("V")
        await until(pilot, lambda: not screen.switch.shown and screen.chart.display and screen.chart.series)
        await pilot.press("f", "V")
        await until(pilot, lambda: "means over seeds" in app.status.plain)
        assert not screen.switch.shown
    models = [maker.model(index, TrainingPhase.TRAINING, epoch=61) for index in range(1, 13)]
    app = watching(maker.make("many", RunState.RUNNING, models), state)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await watch_of(app, pilot)
        await pilot.press("f")
        await until(pilot, lambda: screen.switch.shown and len(screen.grid.cells) == 2)  # there is room for two
        assert "2 of 4 metrics" in screen_text(app)
        await pilot.press("v", "v")
        await until(pilot, lambda: titles(screen) == ["learning rate", "steps/s"])  # the next page
        await pilot.press("tab", "z")
        await until(pilot, lambda: len(screen.grid.cells) == 4 and not screen.table.display)
        await pilot.press("escape", "c")
        await until(pilot, lambda: not screen.grid.display)


async def test_one_model_has_the_grid_too(live: Path, state: Path) -> None:
    app = watching(live, state)
    async with app.run_test(size=(200, 50)) as pilot:
        await watch_of(app, pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.front, ModelScreen) and app.front.is_there)
        screen = app.front
        assert isinstance(screen, ModelScreen)
        await until(pilot, lambda: screen.switch.shown and all(cell.series for cell in screen.grid.cells))
        assert titles(screen) == ["loss", "accuracy", "learning rate", "steps/s"]
        await pilot.press("c")
        await until(pilot, lambda: not screen.grid.display)
        await pilot.press("c", "V")
        await until(pilot, lambda: screen.chart.display and not screen.grid.display)
