"""The cursor of a chart: where it stands, and the values that it tells."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.cells import cell_len
from run_directories import RunMaker
from textual.app import App, ComposeResult
from textual.events import MouseScrollDown, MouseScrollUp
from tui_host import screen_text, until

from forge_tui.client.run import Run
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.tui.app import ForgeApp
from forge_tui.tui.chart import plot, readout
from forge_tui.tui.chart.canvas import Pixels
from forge_tui.tui.chart.chart_widget import Chart, Series
from forge_tui.tui.choices import UiChoices
from forge_tui.tui.screens.watch import WatchScreen
from forge_tui.tui.widgets.glyphs import ASCII, UNICODE

NAN = float("nan")


def curve(label: str, values: list[float | None], kind: plot.Kind = "train") -> Series:
    return Series(label, kind, tuple((float(x), value, value) for x, value in enumerate(values, 1)))


def told(series: list[Series], x: float, width: int = 80, glyphs: object = UNICODE) -> str:
    numbers = {label: number for number, label in enumerate(dict.fromkeys(each.label for each in series))}
    curves = [(each, numbers[each.label], "series-1") for each in series]
    pieces = readout.cursor_line(curves, x, "loss", "epoch", width, glyphs)  # type: ignore[arg-type]
    return "".join(text for text, _ in pieces)


def test_the_values_of_one_model_are_told_by_kind() -> None:
    train, validation = curve("m", [3.0, 2.0, 1.0]), curve("m", [3.5, None, 1.5], "validation")
    assert told([train, validation], 3.0) == " loss epoch 3  ━━ train 1.0000  ┄┄ validation 1.5000"
    assert told([train, validation], 2.0) == " loss epoch 2  ━━ train 2.0000  ┄┄ validation 3.5000 @1"
    assert told([train], 2.0, glyphs=ASCII) == " loss epoch 2  == train 2.0000"


def test_the_values_of_several_models_are_told_by_number() -> None:
    series = [curve(f"m{number}", [1.0 / number, 0.5 / number]) for number in (1, 2, 3)]
    assert told(series, 2.0) == " loss epoch 2 train  1━ 0.5000  2━ 0.2500  3━ 0.1667"
    both = [*series, *(curve(each.label, [0.7, 0.6], "validation") for each in series)]
    assert told(both, 1.0, 200).endswith(" validation  1┄ 0.7000  2┄ 0.7000  3┄ 0.7000")


@pytest.mark.parametrize("width", [40, 50, 60, 80])
def test_what_has_no_room_is_counted(width: int) -> None:
    series = [curve(f"m{number}", [0.1 * number]) for number in range(1, 9)]
    line = told(series, 1.0, width)
    assert cell_len(line) <= width
    shown = line.count("━")
    assert line.endswith(f"  +{8 - shown}") if shown < 8 else not line.count("+")


def test_with_little_room_the_words_leave_before_the_values() -> None:
    series = [curve("m", [3.0, 2.0]), curve("m", [3.5, 2.5], "validation")]
    whole = " loss epoch 2  ━━ train 2.0000  ┄┄ validation 2.5000"
    assert told(series, 2.0, len(whole)) == whole
    assert told(series, 2.0, len(whole) - 1) == " loss 2  ━━ 2.0000  ┄┄ 2.5000"
    assert told(series, 2.0, 24) == " loss 2  ━━ 2.0000  +1"
    assert told(series, 2.0, 16) == " loss 2  +2"


def test_a_divergence_and_a_curve_that_has_ended_have_no_number() -> None:
    assert told([curve("m", [2.0, NAN])], 2.0).endswith("train diverged")
    assert told([curve("m", [NAN, NAN])], 2.0).endswith("train —")
    assert told([curve("long", [1.0] * 9), curve("short", [1.0] * 3)], 5.0).endswith("2━ —")


def test_a_column_of_several_epochs_tells_its_range_at_each_of_them() -> None:
    points = ((10.0, 0.5, 2.0), (20.0, 0.25, 0.25))
    assert readout.value_at(points, 4.0) == readout.Value(4.0, 0.5, 2.0)
    assert readout.Value(4.0, 0.5, 2.0).text(4.0, UNICODE) == "0.5000–2.0000"
    assert readout.value_at(points, 20.0) == readout.Value(20.0, 0.25, 0.25)
    assert readout.value_at(points, 21.0) is None


def test_the_cursor_goes_from_point_to_point_and_stays_at_the_ends() -> None:
    series = [curve("m", [1.0] * 5), Series("n", "train", ((2.5, 1.0, 1.0),))]
    places = readout.positions(series, {"train"}, 2.0, 5.0)
    assert places == [2.0, 2.5, 3.0, 4.0, 5.0]
    assert readout.neighbour(places, None, -1) == 5.0
    assert readout.neighbour(places, 2.5, 1) == 3.0
    assert readout.neighbour(places, 2.7, 1) == 3.0
    assert readout.neighbour(places, 2.7, -1) == 2.5
    assert readout.neighbour(places, 5.0, 1) == 5.0
    assert readout.neighbour(places, 2.0, -1) == 2.0
    assert readout.neighbour([], None, 1) is None
    assert readout.nearest(places, 3.6) == 4.0
    assert readout.nearest([], 3.6) is None


@pytest.mark.parametrize("pixels", list(Pixels))
@pytest.mark.parametrize("size", [(16, 3), (40, 5), (80, 12), (200, 40)])
def test_a_picture_with_a_cursor_fills_its_size_and_finds_its_column_again(
    pixels: Pixels, size: tuple[int, int]
) -> None:
    series = [curve("m", [1.0 / x for x in range(1, 101)])]
    view = plot.View(
        start=1.0, end=100.0, log=True, kinds=frozenset({"train"}), pixels=pixels, x_title="epoch", y_title="loss",
        cursor=50.0,
    )  # fmt: skip
    glyphs = ASCII if pixels is Pixels.ASCII else UNICODE
    lines = ["".join(text for text, _ in line) for line in plot.picture(series, view, *size, glyphs)]
    assert {cell_len(line) for line in lines} == {size[0]}
    ruled = [place for place, sign in enumerate(lines[1]) if sign == glyphs.axis_vertical]
    x = plot.x_at(series, view, *size, ruled[-1])
    assert x is not None
    assert abs(x - 50.0) <= 99.0 / (size[0] - 8)
    assert plot.x_at(series, view, *size, 0) is None
    assert plot.x_at([], view, *size, 20) is None


class ChartApp(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.chart = Chart()

    def compose(self) -> ComposeResult:
        yield self.chart


def title(chart: Chart) -> str:
    return "".join(segment.text for segment in chart.render_line(0)).strip()


async def test_keys_and_mouse_move_the_cursor_and_zooming_keeps_its_place() -> None:
    app = ChartApp()
    chart = app.chart
    async with app.run_test(size=(80, 12)) as pilot:
        chart.show([curve("m", [1.0 * x for x in range(1, 101)])])
        await pilot.pause()
        assert not chart.narrows
        chart.move_cursor(-1)
        assert (chart.cursor, title(chart)) == (100.0, "loss epoch 100  ━━ train 100.00")
        chart.move_cursor(-1)
        assert title(chart) == "loss epoch 99  ━━ train 99.000"
        await pilot.click(Chart, offset=(40, 5))
        clicked = chart.cursor
        assert clicked is not None
        assert 40 < clicked < 60
        chart.zoom(1)
        assert chart.cursor == clicked
        assert chart.window[0] < clicked < chart.window[1]
        chart.reset()
        chart.show([curve("m", [1.0 * x for x in range(1, 201)])])
        assert chart.cursor == clicked  # it stays at its epoch while others come
        chart.widen()
        assert (chart.cursor, chart.narrows) == (None, False)
        assert title(chart).startswith("loss log")
        await pilot.click(Chart, offset=(0, 5))  # left of the axis
        assert chart.cursor is None


async def test_the_wheel_zooms_around_the_mouse() -> None:
    app = ChartApp()
    chart = app.chart
    async with app.run_test(size=(80, 12)) as pilot:
        chart.show([curve("m", [1.0 * x for x in range(1, 101)])])
        await pilot.pause()
        await pilot._post_mouse_events([MouseScrollUp], Chart, offset=(20, 5))
        start, end = chart.window
        assert end - start == pytest.approx(49.5)
        assert start < 20 < end
        await pilot._post_mouse_events([MouseScrollDown], Chart, offset=(20, 5))
        assert not chart.is_zoomed


async def test_on_watch_the_values_are_told_and_esc_ends_it(maker: RunMaker, state: Path) -> None:
    path = maker.make("1123", RunState.RUNNING, [maker.model(1, TrainingPhase.TRAINING, epoch=61)])
    app = ForgeApp(run=Run(path), host="ada@server", choices=UiChoices(state), monitor=False)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.front, WatchScreen) and app.front.is_there)
        screen = app.front
        assert isinstance(screen, WatchScreen)
        await until(pilot, lambda: screen.chart.series)
        await pilot.press("less_than_sign", "less_than_sign", "greater_than_sign", "less_than_sign")
        await until(pilot, lambda: "loss epoch 60  ━━ train " in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: "loss log  ━━ train" in screen_text(app))
        assert app.front is screen
