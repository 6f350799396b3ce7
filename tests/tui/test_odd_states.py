"""What the screens say where something is missing, odd or at its end; and that they waste no room."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from run_directories import RunMaker
from tui_host import Host, screen_text, until

from forge_tui.client.run import Run
from forge_tui.protocol.events import Decision, ModelFailed
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.resources.monitor import ResourceSample
from forge_tui.resources.usage import CpuUsage
from forge_tui.settings.schema import Settings, TrainingConfig
from forge_tui.tui.messages import ResourcesChanged
from forge_tui.tui.screens.runs import RunsScreen
from forge_tui.tui.screens.watch import WatchScreen
from forge_tui.tui.widgets import cells
from forge_tui.tui.widgets.line import Line
from forge_tui.tui.widgets.log_pane import LogPane


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


async def test_a_run_that_died_says_when_and_how_to_go_on(maker: RunMaker) -> None:
    models = [maker.model(1, TrainingPhase.TRAINING, epoch=40), maker.model(2, TrainingPhase.QUEUED), maker.model(3)]
    path = maker.make("dead", RunState.DIED, models, ago=3 * 3600 + 300)
    app = watching(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "cognate_planner_1" in screen_text(app))
        assert status(app) == "! died 3 h ago, without a word: R resumes it from its newest checkpoints"
        text = screen_text(app)
        assert "2 unfinished 1 completed" in text
        assert "training" not in text
        assert "0:41" not in text  # nobody trains: there is no time left


async def test_a_stopped_run_says_how_to_go_on(maker: RunMaker) -> None:
    path = maker.make("half", RunState.STOPPED, [maker.model(1, TrainingPhase.PAUSED, epoch=4)], reason="by ada")
    app = watching(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "cognate_planner_1" in screen_text(app))
        assert status(app) == "! run half stopped: by ada; R resumes it"


async def test_paused_models_are_not_counted_as_training(maker: RunMaker) -> None:
    models = [maker.model(1, TrainingPhase.TRAINING, epoch=4), maker.model(2, TrainingPhase.PAUSED, epoch=4)]
    app = watching(maker.make("run", RunState.RUNNING, models))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "1 training 1 paused" in screen_text(app))


async def test_the_first_cause_stands_in_the_status_line_with_what_to_do(maker: RunMaker) -> None:
    later, first = maker.failed(1), maker.failed(2)
    later = replace(later, failures=tuple(replace(each, time=each.time + 50) for each in later.failures))
    events = [
        ModelFailed(
            time=failure.time, model=model.name, index=model.index, attempt=2, kind=failure.kind,
            message=failure.message,
        )
        for model in (first, later)
        for failure in model.failures[-1:]
    ]  # fmt: skip
    app = watching(maker.make("run", RunState.RUNNING, [later, first], events=events))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "cognate_planner_2: Out" in status(app))
        told = status(app)
        assert told.endswith("… (and 1 more); Enter on it shows why")
        assert len(told) == 80


@pytest.mark.parametrize(
    ("phase", "known", "told"),
    [
        (TrainingPhase.QUEUED, {}, "cognate_planner_1 waits for a worker: its curve begins with its first epoch."),
        (TrainingPhase.INITIALIZING, {}, "No epoch yet: warming up."),
        (TrainingPhase.CANCELLED, {}, "cognate_planner_1 ended before its first epoch."),
    ],
)
async def test_the_chart_says_why_there_is_no_curve(
    maker: RunMaker, phase: TrainingPhase, known: dict[str, object], told: str
) -> None:
    app = watching(maker.make("run", RunState.RUNNING, [maker.model(1, phase, **known)]))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: told in screen_text(app))
        await pilot.press("slash", *"zzz", "enter")
        await until(pilot, lambda: "No model is selected." in screen_text(app))
        assert "No model matches the filter." in screen_text(app)


async def test_without_a_run_or_models_one_sentence_says_so(maker: RunMaker) -> None:
    app = Host(WatchScreen)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "No run is watched: 1 configures one" in screen_text(app))
        await until(pilot, lambda: "warming up" not in screen_text(app))
        app.watch_run(Run(maker.make("none", RunState.COMPLETED, [])))
        await until(pilot, lambda: "This run has no models: n makes new settings" in screen_text(app))
        assert "warming up" not in screen_text(app)


async def test_few_models_leave_their_room_to_chart_and_log(maker: RunMaker) -> None:
    app = watching(maker.make("run", RunState.RUNNING, [maker.model(1, TrainingPhase.TRAINING, epoch=9)]))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "cognate_planner_1" in screen_text(app))
        watch = app.screen
        assert isinstance(watch, WatchScreen)
        await until(pilot, lambda: (watch.table.size.height, watch.chart.size.height) == (3, 15))
        await pilot.resize_terminal(120, 40)
        await until(pilot, lambda: watch.table.size.height == 3 and watch.query_one("#log").size.height == 16)
        await pilot.press("c", "l")  # the table alone
        await until(pilot, lambda: watch.table.size.height == 35)


@pytest.mark.parametrize(("size", "lines"), [((80, 24), 9), ((120, 40), 13), ((120, 34), 11)])
async def test_many_models_have_their_share(maker: RunMaker, size: tuple[int, int], lines: int) -> None:
    models = [maker.model(index, TrainingPhase.TRAINING, epoch=9) for index in range(1, 13)]
    app = watching(maker.make("run", RunState.RUNNING, models))
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "cognate_planner_1" in screen_text(app))
        await until(pilot, lambda: app.screen.query_one("#table").size.height == lines)
        await pilot.press("tab", "z")
        await until(pilot, lambda: not app.screen.query_one("#table").display)
        await pilot.press("z")
        await until(pilot, lambda: app.screen.query_one("#table").size.height == lines)


async def test_the_line_above_the_chart_says_whose_curve_it_is(maker: RunMaker) -> None:
    models = [maker.model(index, TrainingPhase.TRAINING, epoch=9) for index in range(1, 4)]
    app = watching(maker.make("run", RunState.RUNNING, models))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "─[c Chart] cognate_planner_1, log y ─" in screen_text(app))
        await pilot.press("down")
        await until(pilot, lambda: "─[c Chart] cognate_planner_2, log y ─" in screen_text(app))
        await pilot.press("space", "space", "y")
        await until(pilot, lambda: "─[c Chart] 2 models, linear y ─ L Output ─ l Log ─ 2 marked ─" in screen_text(app))
        await pilot.press("tab", "z")
        await until(pilot, lambda: "● train" not in screen_text(app))
        assert "of 3" not in next(line for line in screen_text(app).splitlines() if "[c Chart]" in line)


async def test_the_sentence_of_a_small_terminal_fits_on_it(maker: RunMaker) -> None:
    app = watching(maker.make("run", RunState.RUNNING, [maker.model(1, TrainingPhase.TRAINING)]))
    async with app.run_test(size=(40, 10)) as pilot:
        await until(pilot, lambda: screen_text(app).strip() == "forge-tui needs 60×15 cells.")


async def test_the_footer_shows_the_keys_that_make_sense(maker: RunMaker) -> None:
    def footer() -> str:
        return screen_text(app).splitlines()[-1]

    app = Host(WatchScreen)
    async with app.run_test(size=(120, 24)) as pilot:
        await until(pilot, lambda: footer().startswith("Enter Open  / Filter"))
        assert footer().endswith("1 Conf  2 Watch  3 Runs  ? Help  q Quit")
        models = [maker.model(1, TrainingPhase.TRAINING, epoch=9)]
        app.watch_run(Run(maker.make("live", RunState.RUNNING, models)))
        await until(pilot, lambda: footer().startswith("p Pause  s Stop  x Cancel  r Retry  w Workers  d Detach"))
        app.watch_run(Run(maker.make("done")))
        await until(pilot, lambda: footer().startswith("R Resume  e Export  Enter Open"))


async def test_the_help_keeps_its_columns_on_a_narrow_terminal() -> None:
    app = Host(WatchScreen)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "No run is watched" in screen_text(app))
        await pilot.press("question_mark")
        await until(pilot, lambda: "(arrows scroll, / finds, Enter closes)" in screen_text(app))
        lines = [line.strip(" │") for line in screen_text(app).splitlines()]
        place = next(number for number, line in enumerate(lines) if line.startswith("K   "))
        column = lines[place].index("end the run at once")
        assert lines[place + 1].lstrip() == "checkpoints (asks)"
        text = screen_text(app).splitlines()
        assert text[place + 1].index("checkpoints") == text[place].index("end the run at once") > column


def test_plain_characters_are_chosen_for_our_own_punctuation() -> None:
    assert cells.clean("--workers · at least 1 … 2 × 3 — 漢", only_ascii=True) == "--workers - at least 1 ~ 2 x 3 - ?"


async def test_paths_in_questions_are_written_from_the_home_directory(
    maker: RunMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    maker.make("old")
    app = Host(RunsScreen)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "completed" in screen_text(app))
        await pilot.press("D")
        await until(pilot, lambda: "It is in ~/runs/old" in " ".join(screen_text(app).replace("│", " ").split()))
        await pilot.press("b", "e")
        await until(pilot, lambda: "Write a report of old into ~?" in screen_text(app))


async def test_long_epoch_numbers_cost_the_bar_before_the_name(maker: RunMaker) -> None:
    models = [maker.model(1, TrainingPhase.TRAINING, epoch=664, epochs=1500)]
    reason = "2 instead of 3: CPU limit: at most half of the 4 CPUs"
    app = watching(maker.make("run", RunState.RUNNING, models, limit_reason=reason, requested=3))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "> cognate_planner_1  ● train   664/1500 ── " in screen_text(app))
        assert "workers 2/3: CPU limit: at most" in screen_text(app)  # the numbers only once


async def test_while_a_run_starts_watch_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    absent = Settings(training=TrainingConfig(dataset="absent.csv"))
    app = Host(WatchScreen, start_with=absent)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "The run is starting…" in screen_text(app))
        await until(pilot, lambda: "No run is watched: 1 configures one" in screen_text(app))
        assert "absent.csv" in status(app)
