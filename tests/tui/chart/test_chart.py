"""The chart: axes, curves, gaps, legend, zoom."""

from __future__ import annotations

import math
import random

import pytest
from rich.cells import cell_len
from textual.app import App, ComposeResult

from forge_tui.tui.chart import plot, scale
from forge_tui.tui.chart.canvas import Canvas, Pixels, Projection, dotted, trace
from forge_tui.tui.chart.chart_widget import Chart, Series
from forge_tui.tui.chart.quantities import LOSS, TRAINING_LOSS, VALIDATION_LOSS
from forge_tui.tui.widgets.glyphs import ASCII, UNICODE

NAN = float("nan")
BOTH: frozenset[plot.Kind] = frozenset({"train", "validation"})


def curve(label: str, values: list[float | None], kind: plot.Kind = "train") -> Series:
    return Series(label, kind, tuple((float(x), value, value) for x, value in enumerate(values, 1)))


def view(series: list[Series], pixels: Pixels = Pixels.BRAILLE, log: bool = True) -> plot.View:
    start, end = plot.extent(series) or (0.0, 1.0)
    return plot.View(start=start, end=end, log=log, kinds=BOTH, pixels=pixels, x_title="epoch", y_title="loss")


def lines(series: list[Series], width: int = 80, height: int = 12, pixels: Pixels = Pixels.BRAILLE) -> list[str]:
    glyphs = ASCII if pixels is Pixels.ASCII else UNICODE
    picture = plot.picture(series, view(series, pixels), width, height, glyphs)
    return ["".join(text for text, _ in line) for line in picture]


class ChartApp(App[None]):
    def __init__(self, chart: Chart) -> None:
        super().__init__()
        self.chart = chart
        self.views = 0

    def compose(self) -> ComposeResult:
        yield self.chart

    def on_chart_view_changed(self) -> None:
        self.views += 1


@pytest.mark.parametrize(
    ("values", "log", "expected"),
    [
        ((0.011, 2.3), True, ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1", "2"]),
        ((1e-7, 1e3), True, None),
        ((0.0, 2.5), False, ["0.0", "0.5", "1.0", "1.5", "2.0", "2.5"]),
        ((0.501, 0.509), True, ["0.501", "0.502", "0.503", "0.504", "0.505", "0.506", "0.507", "0.508", "0.509"]),
        ((-75.0, 5.0), True, ["-70", "-60", "-50", "-40", "-30", "-20", "-10", "0"]),
        ((2e-6, 9e-6), False, ["2e-6", "3e-6", "4e-6", "5e-6", "6e-6", "7e-6", "8e-6", "9e-6"]),
    ],
)
def test_ticks_are_round_and_written_in_significant_digits(
    values: tuple[float, float], log: bool, expected: list[str] | None
) -> None:
    axis = scale.fitted(values, log)
    ticks = axis.ticks(10)
    assert axis.low < min(values) < max(values) < axis.high
    assert 2 <= len(ticks) <= 10
    assert len({tick.label for tick in ticks}) == len(ticks)
    assert all(float(tick.label) == pytest.approx(tick.value) for tick in ticks)
    assert expected is None or [tick.label for tick in ticks] == expected


def test_a_logarithmic_axis_gives_way_to_a_linear_one_for_negative_values_and_floors_zeros() -> None:
    assert not scale.fitted([-1.0, 5.0], log=True).log
    assert not scale.fitted([0.0, 0.0], log=True).log
    with_zero = scale.fitted([0.0, 0.1, 5.0], log=True)
    assert with_zero.log
    assert with_zero.share(0.0) < 0
    assert with_zero.share(5.0) == pytest.approx(1.0, abs=0.05)


def test_a_column_shows_the_smallest_and_the_largest_value() -> None:
    projection = Projection(left=0.0, per_x=1.0, top=7.0, per_y=-1.0, log=False)
    drawn = trace([(0.0, 1.0, 1.0), (0.2, 6.0, 7.0), (1.0, 4.0, 4.0)], 3, 8, projection)
    assert drawn.columns == [0b01111111, 0b1000, 0]
    assert drawn.last == (1, 3)


def test_points_far_apart_are_joined_and_gaps_are_not() -> None:
    projection = Projection(left=0.0, per_x=1.0, top=4.0, per_y=-1.0, log=False)
    joined = trace([(0.0, 0.0, 0.0), (4.0, 4.0, 4.0)], 5, 5, projection)
    assert [column & 1 << 4 - place for place, column in enumerate(joined.columns)] == [16, 8, 4, 2, 1]
    gap = [(0.0, 0.0, 0.0), (2.0, None, None), (4.0, 4.0, 4.0)]
    assert trace(gap, 5, 5, projection).columns == [16, 0, 0, 0, 1]
    assert trace(gap, 5, 5, projection, joins_gaps=True).columns == joined.columns


def test_a_dotted_curve_has_fewer_pixels_also_where_it_is_steep() -> None:
    projection = Projection(left=0.0, per_x=1.0, top=15.0, per_y=-1.0, log=False)
    solid = trace([(0.0, 0.0, 15.0), (1.0, 3.0, 3.0), (7.0, 3.0, 3.0)], 8, 16, projection)
    thin = dotted(solid, Pixels.BRAILLE)
    assert thin.columns[0] == 0b0011001100110011
    assert [column != 0 for column in thin.columns[1:]] == [True, False, False, True, True, False, False]


def test_braille_and_block_cells() -> None:
    canvas = Canvas(2, 1, Pixels.BRAILLE, UNICODE)
    canvas.draw(trace([(0.0, 0.0, 3.0), (1.0, 3.0, 3.0)], 4, 4, Projection(0.0, 1.0, 3.0, -1.0, False)), "a", 0)
    assert canvas.line(0) == [("⡏", "a"), (" ", "")]
    canvas = Canvas(1, 1, Pixels.BLOCKS, UNICODE)
    canvas.draw(trace([(0.0, 0.0, 1.0), (1.0, 0.0, 0.0)], 2, 2, Projection(0.0, 1.0, 1.0, -1.0, False)), "a", 0)
    assert canvas.line(0) == [("▙", "a")]


@pytest.mark.parametrize("pixels", list(Pixels))
@pytest.mark.parametrize("size", [(16, 3), (40, 5), (80, 10), (120, 40), (200, 60)])
def test_pictures_fill_their_size_exactly(pixels: Pixels, size: tuple[int, int]) -> None:
    series = [curve(f"模型_{number}", [2.0, NAN, 1.0 / number, None, 0.5]) for number in range(1, 9)]
    found = lines(series, *size, pixels)
    assert len(found) == size[1]
    assert {cell_len(line) for line in found} == {size[0]}
    assert pixels is not Pixels.ASCII or all(line.isascii() for line in found)


def test_divergence_is_a_gap_with_a_cross_and_never_a_number() -> None:
    values: list[float | None] = [2.0 * 0.9**x for x in range(30)]
    found = lines([curve("m", [*values, NAN, *[None] * 29])])
    cross = [line for line in found[1:] if "× diverged" in line]
    assert len(cross) == 1
    place = cross[0].index("×")
    assert all(line[place + 1 :].removeprefix(" diverged").strip() == "" for line in found[1:-2])
    assert "nan" not in "".join(found).casefold()


def test_axes_and_legend_say_what_is_drawn() -> None:
    train = curve("planner", [10.0 ** -(x / 10) for x in range(21)])
    validation = curve("planner", [None if x % 5 else 2 * 10.0 ** -(x / 10) for x in range(21)], "validation")
    found = lines([train, validation])
    assert found[0].strip() == "loss log  ━━ train 0.0100  ┄┄ validation 0.0200"
    assert [line.split("┤")[0].strip() for line in found if "┤" in line] == ["1", "0.1", "0.01"]
    assert found[-1].split() == ["5", "10", "15", "20", "epoch"] or found[-1].split() == ["5", "10", "15", "epoch"]


def test_several_models_are_numbered_at_their_ends_and_in_the_legend() -> None:
    series = [curve(f"cognate_planner_{number}", [1.0 * number, 0.1 * number, 0.1 * number]) for number in (1, 2, 3)]
    found = lines(series, 80)
    assert "1━ cognate_planner_1  2━ cognate_planner_2  3━ cognate_planner_3" in found[0]
    assert "1━ planner_1  2━ planner_2  3━ planner_3" in lines(series, 60)[0]
    plotted = "".join(line[8:].rstrip()[-1:] for line in found[1:-2])
    assert sorted(sign for sign in plotted if sign.isdecimal()) == ["1", "2", "3"]
    styles = {name for line in plot.picture(series, view(series), 80, 12, UNICODE) for _, name in line}
    assert {"series-1", "series-2", "series-3"} <= styles


def test_one_point_and_equal_values_are_drawn() -> None:
    assert "●" in "".join(lines([curve("m", [2.0])])[1:])
    assert "⠒" * 60 in "".join(lines([curve("m", [0.5] * 9)]))
    assert lines([curve("m", [NAN])]) == []


async def test_zoom_keeps_to_the_newest_end_and_asks_for_more_buckets() -> None:
    chart = Chart()
    app = ChartApp(chart)
    async with app.run_test(size=(80, 12)) as pilot:
        chart.show([curve("m", [1.0] * 101)])
        await pilot.pause()
        assert (chart.window, chart.wanted_buckets, chart.is_zoomed) == ((1.0, 101.0), 160, False)
        chart.zoom(1)
        assert (chart.window, chart.wanted_buckets) == ((51.0, 101.0), 320)
        chart.show([curve("m", [1.0] * 111)])
        assert chart.window == (61.0, 111.0)
        chart.pan(-1)
        assert chart.window == (48.5, 98.5)
        chart.show([curve("m", [1.0] * 121)])
        assert chart.window == (48.5, 98.5)
        for _ in range(9):
            chart.pan(-1)
        assert chart.window == (1.0, 51.0)
        for _ in range(9):
            chart.zoom(1)
        assert chart.window[1] - chart.window[0] == 4.0
        before = app.views
        chart.reset()
        await pilot.pause()
        assert (chart.window, app.views) == ((1.0, 121.0), before + 1)


async def test_the_kinds_and_the_scale_change_at_a_call() -> None:
    chart = Chart()
    app = ChartApp(chart)
    async with app.run_test(size=(80, 12)):
        chart.show([curve("m", [1.0, 0.1]), curve("m", [2.0, 0.2], "validation")])

        def title() -> str:
            return "".join(segment.text for segment in chart.render_line(0)).strip()

        assert title() == "loss log  ━━ train 0.1000  ┄┄ validation 0.2000"
        chart.measure(TRAINING_LOSS)
        assert chart.kinds == {"train"}
        assert title() == "loss log  ━━ train 0.1000"
        chart.measure(VALIDATION_LOSS)
        assert chart.kinds == {"validation"}
        assert title() == "loss log  ┄┄ validation 0.2000"
        chart.measure(LOSS)
        chart.toggle_log()
        assert title().startswith("loss linear  ━━ train")


@pytest.mark.parametrize(
    ("series", "size", "words"),
    [
        ([], (80, 12), "No epoch yet: warming up."),
        ([curve("m", [NAN, NAN])], (80, 12), "× diverged: no epoch in view has a number."),
        ([curve("m", [1.0, 2.0])], (12, 12), "No room"),
    ],
)
async def test_an_empty_chart_says_why(series: list[Series], size: tuple[int, int], words: str) -> None:
    chart = Chart()
    async with ChartApp(chart).run_test(size=size):
        chart.show(series)
        assert words in "".join(segment.text for segment in chart.render_line(0))


def test_random_series_never_break_the_drawing() -> None:
    seed = 20
    chance = random.Random(seed)
    choices = (0.0, -1.0, 1e-300, 1e300, NAN, math.inf, None, 0.5, 3.0)
    for _ in range(200):
        count = chance.randrange(1, 12)
        series = [
            Series(
                f"m{number}",
                chance.choice(("train", "validation")),
                tuple((float(x), low, low) for x, low in ((x, chance.choice(choices)) for x in range(count))),
                (chance.random() * count,),
            )
            for number in range(chance.randrange(1, 10))
        ]
        width, height = chance.randrange(1, 100), chance.randrange(1, 30)
        found = lines(series, width, height, chance.choice(list(Pixels)))
        assert all(cell_len(line) == width for line in found), f"seed {seed}"
