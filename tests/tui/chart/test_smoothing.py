"""Smoothing of curves: the arithmetic against numpy, and how it is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from forge_tui.tui.chart import plot
from forge_tui.tui.chart.canvas import Curve, Pixels, faint
from forge_tui.tui.chart.chart_widget import Chart, Series, Smoothing
from forge_tui.tui.chart.smoothing import smoothed
from forge_tui.tui.widgets.glyphs import ASCII

NAN = float("nan")


def spans(values: list[float | None]) -> list[tuple[float, float | None, float | None]]:
    return [(float(x), value, value) for x, value in enumerate(values, 1)]


@pytest.mark.parametrize("weight", [0.6, 0.9])
def test_each_point_is_the_weighted_mean_of_those_before(weight: float) -> None:
    values = np.random.default_rng(2).random(50)
    found = smoothed(spans(list(values)), weight)
    for place in range(50):
        # The debiased average is the mean with weights w^0, w^1, … back from the point.
        weights = weight ** np.arange(place, -1, -1)
        expected = np.average(values[: place + 1], weights=weights)
        assert found[place] == (place + 1.0, pytest.approx(expected), pytest.approx(expected))


def test_the_first_point_is_not_drawn_towards_zero_and_equal_values_stay() -> None:
    assert smoothed(spans([8.0, 8.0, 7.0]), 0.9)[0] == (1.0, pytest.approx(8.0), pytest.approx(8.0))
    assert smoothed(spans([0.1] * 9), 0.9) == tuple(spans([0.1] * 9))


def test_a_gap_stays_one_and_counts_for_nothing() -> None:
    with_gap = smoothed([*spans([4.0, None, 1.0]), (4.0, NAN, NAN), (5.0, 3.0, 3.0)], 0.6)
    without = smoothed(spans([4.0, 1.0, 3.0]), 0.6)
    assert [low for _, low, _ in with_gap] == [without[0][1], None, without[1][1], None, without[2][1]]


def test_of_a_bucket_the_middle_counts_and_no_weight_changes_nothing() -> None:
    assert smoothed([(1.0, 1.0, 3.0), (2.0, 5.0, 5.0)], 0.6)[0][1] == pytest.approx(2.0)
    assert smoothed([(1.0, 1.0, 3.0)], 0.0) == ((1.0, 1.0, 3.0),)


def test_the_levels_go_round() -> None:
    assert [(each.value, each.weight) for each in Smoothing] == [("off", 0.0), ("light", 0.6), ("strong", 0.9)]
    assert Smoothing.OFF.next.next.next is Smoothing.OFF


def test_faint_curves_are_dots_one_to_a_cell() -> None:
    curve = Curve([0b1, 0b1, 0b110, 0b110, 0b11111, 0b11111], (5, 2))
    assert faint(curve, Pixels.BRAILLE).columns == [0b1, 0, 0b110, 0, 0b10101, 0]
    assert faint(curve, Pixels.ASCII).columns == [0b1, 0b1, 0b110, 0b110, 0b10101, 0b10101]


def drawn(series: Series, smoothing: float, width: int = 60) -> list[list[tuple[str, str]]]:
    start, end = plot.extent([series]) or (0.0, 1.0)
    view = plot.View(
        start=start, end=end, log=True, kinds=frozenset({"train", "validation"}), pixels=Pixels.ASCII,
        x_title="epoch", y_title="loss", smoothing=smoothing,
    )  # fmt: skip
    return plot.picture([series], view, width, 12, ASCII)


def text(lines: list[list[tuple[str, str]]]) -> list[str]:
    return ["".join(piece for piece, _ in line) for line in lines]


def test_what_is_smoothed_stands_faintly_behind_and_its_last_value_is_told() -> None:
    values = [1.0 if x % 2 else 9.0 for x in range(1, 41)]
    series = Series("m", "train", tuple(spans(values)))
    plain, smooth = text(drawn(series, 0.0)), text(drawn(series, 0.9))
    assert plain[0].strip() == "loss log  == train 9.0000"
    assert smooth[0].strip() == "loss log, smoothed 0.9  == train 9.0000"
    assert "." not in "".join(line[7:] for line in plain[1:10])
    assert "." in "".join(line[7:] for line in smooth[1:10])
    ends = [line[-1] for line in smooth[1:10]]
    assert ends[0] == "."  # the last value
    assert 0 < ends.index("*") < 8  # the smoothed one is between
    styles = {style for line in drawn(series, 0.9) for _, style in line}
    assert {"series-1", "series-1 faint"} <= styles


def test_a_band_is_drawn_as_two_faint_edges_told_in_the_legend() -> None:
    edges = tuple(spans([1.0] * 30)), tuple(spans([4.0] * 30))
    lines = text(drawn(Series("4 seeds", "train", tuple(spans([2.0] * 30)), (), edges), 0.0))
    assert lines[0].strip() == "loss log, mean  .. deviation of 4 seeds  == train 2.0000"
    marks = [line[7:].strip()[:1] for line in lines[1:10]]
    assert [mark for mark in marks if mark] == [".", "*", "."]


def test_a_band_that_reaches_below_zero_leaves_the_axis_logarithmic() -> None:
    edges = tuple(spans([-1.0] * 30)), tuple(spans([4.0] * 30))
    mean = tuple(spans([2.0 - 0.06 * x for x in range(30)]))
    lines = text(drawn(Series("4 seeds", "train", mean, (), edges), 0.0))
    assert lines[0].startswith(" loss log, mean")
    assert lines[9][4:].startswith("." * 20)  # along the lower end


def test_the_values_leave_the_legend_where_it_has_no_room_for_them() -> None:
    series = Series("4 seeds", "train", tuple(spans([2.0, 1.0])), (), ((), ()))
    with_values = "loss log, smoothed 0.6, mean  .. deviation of 4 seeds  == train 1.0000"
    assert text(drawn(series, 0.6, width=72))[0].strip() == with_values
    assert text(drawn(series, 0.6, width=70))[0].strip() == with_values.removesuffix(" 1.0000")


def test_a_chart_is_smoothed_at_a_call() -> None:
    chart = Chart()
    assert chart.smoothing is Smoothing.OFF
    chart.smooth(Smoothing.STRONG)
    assert chart.smoothing is Smoothing.STRONG
