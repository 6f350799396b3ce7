"""Pictures of curves: scales, shapes, and the files that are written of them."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from run_directories import RunMaker

from forge_tui import client
from forge_tui.cli import main
from forge_tui.errors import UsageError
from forge_tui.protocol.metrics import Metric
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.reports.curve_sets import Curve, CurveSet, Series
from forge_tui.reports.pictures import png
from forge_tui.reports.pictures.axes import Scale, tick_text
from forge_tui.reports.pictures.curve_picture import curve_picture
from forge_tui.reports.pictures.drawing import DARK, LIGHT, Area, Line, Text
from forge_tui.reports.pictures.run_picture import run_picture
from forge_tui.reports.pictures.svg import svg_file

LOSS = Metric(name="loss", title="loss", short="loss", goal="lower", log=True)
SCORE = Metric(name="score", title="score", short="score", goal="higher")
SVG = "{http://www.w3.org/2000/svg}"


def series(label: str, low: tuple[float | None, ...], deviation: float | None = None, name: str = "score") -> Series:
    bounds = {} if deviation is None else {
        "lower": tuple(None if one is None else one - deviation for one in low),
        "upper": tuple(None if one is None else one + deviation for one in low),
    }  # fmt: skip
    curve = Curve(epochs=tuple(range(1, len(low) + 1)), low=low, high=low, **bounds)
    return Series(label=label, models=1 if deviation is None else 3, rank=1, curves={name: curve})


def curve_lines(one: Series, metric: Metric = SCORE) -> list[Line]:
    found = curve_picture("Run", CurveSet(metrics=(metric,), configs=(), models=(one,), notes=()), [metric])
    lines = [shape for shape in found.shapes if isinstance(shape, Line) and shape.role == "curve-0"]
    return lines[:-1]  # the last one is the legend's


@pytest.mark.parametrize(
    ("low", "high", "log", "expected"),
    [
        (0.0, 1.0, False, ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0.0, 30.0, False, ["0", "5", "10", "15", "20", "25", "30"]),
        (0.9712, 0.9768, False, ["0.972", "0.973", "0.974", "0.975", "0.976"]),
        (0.002, 3.0, True, ["0.01", "0.1", "1"]),
        (1.5, 9.0, True, ["2", "5"]),
        (1e-9, 1e9, True, ["1e-09", "1e-05", "0.1", "1000", "1e+07"]),
    ],
)
def test_labelled_values_are_round_and_tell_themselves_apart(
    low: float, high: float, log: bool, expected: list[str]
) -> None:
    ticks = Scale(low, high, 0.0, 100.0, log).ticks()
    assert [tick_text(tick, ticks, log=log) for tick in ticks] == expected


def test_a_logarithmic_scale_has_no_place_for_zero_and_needs_a_positive_value() -> None:
    scale = Scale.of([0.01, 1.0, 0.0, math.nan], 100.0, 0.0, log=True)
    assert scale.log
    assert scale.pixel(0.0) is None
    assert scale.pixel(0.1) == pytest.approx(50.0)
    assert not Scale.of([-1.0, 0.0], 0.0, 1.0, log=True).log
    assert Scale.of([], 0.0, 1.0).pixel(0.5) == 0.5


def test_a_scale_of_one_value_has_room_around_it() -> None:
    for value in (0.0, 3.0):
        scale = Scale.of([value], 0.0, 10.0)
        assert scale.pixel(value) == pytest.approx(5.0)


def test_curves_have_gaps_and_a_single_point_is_seen() -> None:
    first, second = curve_lines(series("a", (1.0, 2.0, None, 3.0)))
    assert len(first.points) == 2
    assert second.points[1][0] - second.points[0][0] == 4.0


def test_thinned_points_span_their_extremes() -> None:
    curve = Curve(epochs=(10, 20), low=(1.0, 2.0), high=(4.0, 2.0))
    (line,) = curve_lines(Series(label="a", models=1, rank=1, curves={"score": curve}))
    (_, low), (_, high), (_, last) = line.points
    assert high < last < low  # pixels count from above


def test_the_best_have_colours_and_dashes_and_the_rest_is_grey() -> None:
    many = tuple(series(f"number {place}", (1.0, 2.0), 0.1) for place in range(10))
    found = curve_picture("Run", CurveSet(metrics=(SCORE,), configs=many, models=(), notes=("a note",)), [SCORE])
    roles = [shape.role for shape in found.shapes if isinstance(shape, Line) and shape.width == 1.8]
    assert set(roles) == {f"curve-{place}" for place in range(8)}
    assert (
        len({(shape.role, shape.dash) for shape in found.shapes if isinstance(shape, Line)} & {("curve-1", (7, 3))})
        == 1
    )
    assert sum(isinstance(shape, Area) for shape in found.shapes) == 8
    texts = [shape.text for shape in found.shapes if isinstance(shape, Text)]
    assert "1. number 0 (mean ± standard deviation of 3 models)" in texts
    assert texts[-2:] == ["2 others", "a note"]


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.2."""

    def luminance(colour: str) -> float:
        shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_can_be_told_from_the_page(colours: dict[str, str]) -> None:
    least = {"text": 7.0, "muted": 4.5, **{f"curve-{place}": 3.0 for place in range(8)}, "axis": 3.0}
    for role, ratio in least.items():
        assert contrast(colours[role], colours["page"]) >= ratio, role


def test_svg_is_well_formed_titled_and_holds_text_as_text() -> None:
    hostile = "<script>alert(1)</script>&\x1b"
    found = curve_picture(hostile, CurveSet(metrics=(SCORE,), configs=(), models=(series(hostile, (1.0, 2.0)),),
                                            notes=()), [SCORE])  # fmt: skip
    tree = ElementTree.fromstring(svg_file(found))
    assert tree.tag == f"{SVG}svg"
    assert tree.find(f"{SVG}title").text == "<script>alert(1)</script>& "  # type: ignore[union-attr]
    assert tree.find(f".//{SVG}script") is None
    assert "score over epochs of 1 models" in tree.find(f"{SVG}desc").text  # type: ignore[union-attr,operator]
    assert any((one.text or "").startswith("1. <script>") for one in tree.iter(f"{SVG}text"))


def test_a_run_is_drawn_with_the_metrics_that_are_named(maker: RunMaker) -> None:
    path = maker.make("one", RunState.COMPLETED, [maker.model(1, epoch=5), maker.model(2, epoch=5)])
    with client.attach(path) as run:
        usual = run_picture(run, "svg").decode()
        named = run_picture(run, "svg", ["learning_rate"]).decode()
        with pytest.raises(UsageError, match="--metric nothing: the run has no curve of it; it has loss, validation"):
            run_picture(run, "svg", ["nothing"])
    assert all(f">{title}<" in usual for title in ("loss (log)", "validation loss (log)", "validation accuracy"))
    assert ">learning rate (log)<" in named
    assert ">loss (log)<" not in named


def test_a_run_without_epochs_has_nothing_to_draw(maker: RunMaker) -> None:
    path = maker.make("one", RunState.STOPPED, [maker.model(1, TrainingPhase.QUEUED)])
    with client.attach(path) as run, pytest.raises(UsageError, match="no model has finished an epoch yet"):
        run_picture(run, "svg")


def test_png_is_the_same_picture_at_twice_its_size(maker: RunMaker) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed; .ci/run-peers installs it")
    import matplotlib.image

    path = maker.make("one", RunState.COMPLETED, [maker.model(1, epoch=5), maker.model(2, epoch=5)])
    target = path.parent / "out.png"
    with client.attach(path) as run:
        target.write_bytes(run_picture(run, "png", ["loss"]))
        size = ElementTree.fromstring(run_picture(run, "svg", ["loss"])).get("viewBox", "").split()[2:]
    pixels = matplotlib.image.imread(target)
    assert [pixels.shape[1], pixels.shape[0]] == [2 * float(one) for one in size]
    blue = [int(LIGHT["curve-0"][place : place + 2], 16) / 255 for place in (1, 3, 5)]
    assert (abs(pixels[:, :, :3] - blue).max(axis=2) < 0.02).sum() > 500


def test_without_matplotlib_png_says_what_to_install(
    maker: RunMaker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    path = maker.make("one", RunState.COMPLETED, [maker.model(1, epoch=5)])
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(path), "--format", "png"]) == 2
    assert "`pip install 'forge-tui[plots]'` installs it, and --format svg needs nothing" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.png"))
    with pytest.raises(UsageError):
        png.require_png()
