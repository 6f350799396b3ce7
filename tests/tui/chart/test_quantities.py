"""What the chart draws: the losses, every recorded metric, the learning rate, readable beside what runs away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from configuring import MACHINE, configure
from measured import snapshot_of
from run_directories import RunMaker
from textual.pilot import Pilot
from tui_host import screen_text, until

from forge_tui.client.run import Run
from forge_tui.protocol.events import EpochFinished
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.settings.user_file import user_settings_file
from forge_tui.tui import advice
from forge_tui.tui.app import ForgeApp
from forge_tui.tui.chart import plot
from forge_tui.tui.chart.canvas import Pixels
from forge_tui.tui.chart.plot import Series
from forge_tui.tui.chart.quantities import LOSS, LOSSES, TRAINING_LOSS, VALIDATION_LOSS, following, is_missing, recorded
from forge_tui.tui.choices import UiChoices
from forge_tui.tui.lists import model_columns
from forge_tui.tui.options import read_resources
from forge_tui.tui.screens.watch import WatchScreen
from forge_tui.tui.widgets.glyphs import UNICODE


def watching(path: Path, state: Path) -> ForgeApp:
    return ForgeApp(run=Run(path), host="ada@server", choices=UiChoices(state), monitor=False)


async def watch_of(app: ForgeApp, pilot: Pilot[Any]) -> WatchScreen:
    await until(pilot, lambda: app.controller.snapshot is not None and app.front is not None and app.front.is_there)
    screen = app.front
    assert isinstance(screen, WatchScreen)
    await until(pilot, lambda: screen.table.models)
    return screen


def test_v_steps_through_all_that_was_recorded(maker: RunMaker) -> None:
    bare = maker.model(1, TrainingPhase.TRAINING, epoch=0)
    assert recorded([bare], snapshot_of([bare]).metrics) == LOSSES
    with_metric = maker.model(2, TrainingPhase.TRAINING, epoch=3, validation_metric=0.5, config={"metric": "m.py:f1"})
    both = snapshot_of([bare, with_metric])
    found = recorded(both.models, both.metrics)
    assert [each.title for each in found] == ["loss", "loss", "loss", "accuracy", "f1", "learning rate", "steps/s"]
    now, seen = LOSS, []
    for _ in found:
        now = following(now, found)
        seen.append(now)
    assert seen == [*found[1:], LOSS]
    assert following(found[-1], LOSSES) is LOSS  # the selected model has not recorded it


def test_what_was_not_recorded_is_no_choice(maker: RunMaker) -> None:
    """A training function may report a reward and no loss, or a training loss alone."""
    reward = maker.model(1, TrainingPhase.TRAINING, epoch=0, metrics={"reward": 5.0, "length": 7.0})
    loss = maker.model(2, TrainingPhase.TRAINING, epoch=0, metrics={"loss": 0.5, "reward": 5.0})
    table = snapshot_of([reward, loss]).metrics
    assert [each.title for each in recorded([reward], table)] == ["reward", "length"]
    assert [each.title for each in recorded([loss], table)] == ["loss", "reward"]
    assert is_missing(LOSS, [reward])
    assert not is_missing(LOSS, [loss])
    assert not is_missing(LOSS, [maker.model(3, TrainingPhase.QUEUED)])


async def test_a_model_without_a_loss_is_drawn_by_what_it_reports(maker: RunMaker, state: Path) -> None:
    model = maker.model(1, TrainingPhase.TRAINING, epoch=0, metrics={"reward": 5.0})
    events = [
        EpochFinished(time=epoch, model=model.name, index=1, attempt=1, epoch=epoch, epochs=9, step=epoch,
                      metrics={"reward": 2.0 * epoch}, best_loss=None)
        for epoch in (1, 2, 3)
    ]  # fmt: skip
    path = maker.make("1123", RunState.RUNNING, [model], train="loop.py", events=events, histories={1: 0})
    app = watching(path, state)
    async with app.run_test(size=(80, 30)) as pilot:
        screen = await watch_of(app, pilot)
        await until(
            pilot,
            lambda: screen.chart.series and [point[0] for point in screen.chart.series[0].points] == [1, 2, 3],
        )
        assert screen.chart.quantity.title == "reward"


async def test_every_recorded_metric_is_drawn(maker: RunMaker, state: Path) -> None:
    path = maker.make("1123", RunState.RUNNING, [maker.model(1, TrainingPhase.TRAINING, epoch=30)])
    app = watching(path, state)
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await watch_of(app, pilot)
        await until(pilot, lambda: screen.chart.series)
        for title, kinds in (
            ("loss", TRAINING_LOSS.kinds),
            ("loss", VALIDATION_LOSS.kinds),
            ("accuracy", {"validation"}),
            ("learning rate", {"train"}),
            ("steps/s", {"train"}),
            ("loss", LOSS.kinds),
        ):
            await pilot.press("v")
            await until(pilot, lambda: screen.chart.series)
            await pilot.pause()
            assert (screen.chart.quantity.title, screen.chart.kinds) == (title, kinds)
            legend = next(
                line
                for line in screen_text(app).splitlines()
                if (f" {title} " in line and "━━" in line) or "┄┄" in line
            )
            value = {"accuracy": "0.5000", "learning rate": "0.0010"}.get(title, "0.")
            assert value in legend
            assert screen.chart.log_y is (title not in ("accuracy", "steps/s"))


async def test_rows_carry_the_numbers_of_their_curves_and_more_marks_than_curves_says_so(
    maker: RunMaker, state: Path
) -> None:
    models = [maker.model(index, TrainingPhase.TRAINING, epoch=9) for index in range(1, 11)]
    path = maker.make("1123", RunState.RUNNING, models)
    app = watching(path, state)
    async with app.run_test(size=(80, 40)) as pilot:
        screen = await watch_of(app, pilot)
        await pilot.press("j", "space", "space", "G")
        await until(pilot, lambda: len({each.label for each in screen.chart.series}) == 2)
        shown = screen_text(app)
        assert "\n1 cognate_planner_2 " in shown
        assert "\n2 cognate_planner_3 " in shown
        assert "1━ planner_2" in shown or "1━ cognate_planner_2" in shown
        await pilot.press("O", "O", "A", "a")
        await until(pilot, lambda: len({each.label for each in screen.chart.series}) == 8)
        shown = screen_text(app)
        assert "10 marked, 8 drawn" in shown
        assert "\n8 cognate_planner_8 " in shown
        assert "\n* cognate_planner_9 " in shown
        await pilot.press("A")
        await until(pilot, lambda: len({each.label for each in screen.chart.series}) == 1)
        assert "\n8 cognate" not in screen_text(app)


def picture(series: list[Series], log: bool = True) -> str:
    start, end = plot.extent(series) or (0.0, 1.0)
    kinds = frozenset({"train", "validation"})
    view = plot.View(start=start, end=end, log=log, kinds=kinds, pixels=Pixels.BRAILLE, x_title="epoch", y_title="loss")  # type: ignore[arg-type]
    return "\n".join("".join(text for text, _ in line) for line in plot.picture(series, view, 80, 16, UNICODE))


def curve(label: str, values: list[float], marks: tuple[float, ...] = ()) -> Series:
    return Series(label, "train", tuple((float(x), value, value) for x, value in enumerate(values, 1)), marks)


def test_a_logarithmic_axis_stays_that_of_the_curves_above_0() -> None:
    good = curve("good", [1.0, 0.1, 0.01])
    assert "0.01┤" in picture([good])
    both = picture([good, curve("odd", [0.5, 0.0, -3.0])])
    assert "loss log" in both
    assert "0.01┤" in both
    assert "loss linear" in picture([curve("odd", [0.5, 0.0, -3.0])])  # alone it has a linear one


def test_the_legend_names_its_curves_rather_than_the_sign_of_divergence() -> None:
    series = [curve(f"cognate_planner_{number}", [1.0, 0.5], (2.0,)) for number in (4, 5, 8)]
    series += [Series(each.label, "validation", each.points) for each in series]
    legend = picture(series).splitlines()[0]
    assert legend.rstrip().endswith("1━ planner_4  2━ planner_5  3━ planner_8")
    assert picture(series[:1]).splitlines()[0].rstrip().endswith("× diverged")


def test_curves_of_a_metric_carry_their_numbers_too() -> None:
    drawn = picture(
        [Series(name, "validation", curve(name, [0.1, 0.9 / n]).points) for n, name in ((1, "a"), (2, "b"))]
    )
    assert [line.rstrip()[-1] for line in drawn.splitlines()[1:] if line.rstrip()[-1:] in ("1", "2")] == ["1", "2"]


@pytest.mark.parametrize("log", [True, False])
def test_what_diverged_leaves_the_others_readable(log: bool) -> None:
    good = curve("good", [1.0, 0.5, 0.25, 0.2])
    wild = curve("wild", [1.0, 1e3, 1e20, 1e35], (4.0,))
    beside = picture([good, wild], log)
    alone = picture([good], log)

    def axis(drawn: str) -> list[str]:
        return [line[: line.index("┤")] for line in drawn.splitlines() if "┤" in line]

    assert axis(beside) == axis(alone)
    assert "diverged" in beside
    assert "e35" in picture([wild], log) or "e3" in picture([wild], log)  # alone it has the axis for itself


def test_columns_leave_in_their_order_and_val_last() -> None:
    gone: list[str] = []
    shown = [column.key for column in model_columns.model_layout(200, 18, 100, config_cells=10).columns]
    for width in range(200, 20, -1):
        now = {column.key for column in model_columns.model_layout(width, 18, 100, config_cells=10).columns}
        left = [key for key in shown if key not in now and key not in gone]
        gone += sorted(left, key=model_columns.LEAVING.index)
    assert gone == ["device", "attempt", "time", "steps", "trend", "eta", "best", "config", "val"]


async def test_times_left_leave_at_once_when_all_is_finished(maker: RunMaker, state: Path) -> None:
    done = [maker.model(1), maker.failed(2)]
    going = [*done, maker.model(3, TrainingPhase.TRAINING, epoch=3)]
    for name, state_of_run, models, there in (
        ("live", RunState.RUNNING, going, True),
        ("last", RunState.RUNNING, done, False),
        ("over", RunState.STOPPED, going, False),
    ):
        app = watching(maker.make(name, state_of_run, models), state)
        async with app.run_test(size=(120, 40)) as pilot:
            await watch_of(app, pilot)
            titles = next(line for line in screen_text(app).splitlines() if "MODEL" in line)
            assert (" ETA" in titles) is there, name
            assert "VAL" in titles


def test_the_sidebar_and_configure_ask_the_same_rules() -> None:
    rules = advice.Rules.of({"policy": "dedicated"})
    shared, dedicated = advice.Rules().suggestion(MACHINE), rules.suggestion(MACHINE)
    assert shared.startswith("parallel, 2 workers: CPU limit")
    assert dedicated.startswith("parallel, 4 workers")
    assert rules.limit(MACHINE, 4, "parallel").workers == 4


def test_the_user_s_own_rules_are_read_without_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    file = user_settings_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text('[resources]\npolicy = "dedicated"\nmemory_per_worker_gb = 2.5\nmax_suggested_workers = "x"\n')
    assert read_resources({}) == {"policy": "dedicated", "memory_per_worker_gb": 2.5}
    file.write_text('[resources]\ndevice = "gpu"\ndevices_per_model = 1.5\n')
    assert read_resources({}) == {}
    file.write_text('[resources]\ndevice = [0, "GPU-5f2a"]\npolicy = "dedicated"\nmemory_per_worker_gb = 2.5\n')
    assert read_resources({})["device"] == ("0", "GPU-5f2a")
    for text, device in (("cpu", "cpu"), ("0,2", ("0", "2")), ("1", ("1",))):
        assert read_resources({"FORGE_TUI_RESOURCES__DEVICE": text})["device"] == device
    file.write_text('[resources]\npolicy = "dedicated"\nmemory_per_worker_gb = 2.5\n')
    given = {"FORGE_TUI_RESOURCES__POLICY": "shared", "FORGE_TUI_RESOURCES__MAX_SUGGESTED_WORKERS": "3"}
    assert read_resources(given) == {"policy": "shared", "memory_per_worker_gb": 2.5, "max_suggested_workers": 3}


@pytest.mark.usefixtures("working_directory")
async def test_the_suggestion_follows_the_form(state: Path) -> None:
    async with configure(state, (120, 40)) as hand:
        assert "parallel, 2 workers" in hand.app.machine.suggestion
        await hand.select("resources.policy")
        await hand.press("right")
        assert hand.form.values["resources.policy"] == "dedicated"
        assert "parallel, 4 workers" in hand.app.machine.suggestion
        await hand.until(lambda: "4 workers" in screen_text(hand.app))
