"""The Runs screen: what it lists, and every action on a run."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from event_reader import read_events
from rich.cells import cell_len
from run_directories import RunMaker
from tui_host import Host, burst, screen_text, until

from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.runs import registry
from forge_tui.tui.dialogs.questions import Ask, Question
from forge_tui.tui.lists import run_columns
from forge_tui.tui.lists.known_runs import KnownRuns
from forge_tui.tui.lists.run_list import RunList
from forge_tui.tui.screens.runs import RunsScreen
from forge_tui.tui.screens.watch import WatchScreen
from forge_tui.tui.widgets.glyphs import ASCII, UNICODE


def host() -> Host:
    return Host(RunsScreen)


def runs_of(app: Host) -> RunList:
    assert isinstance(app.front, RunsScreen)
    return app.front.runs


def names(app: Host) -> list[str]:
    """The runs that are listed; none before the screen is composed."""
    found = [] if app.front is None else app.front.query(RunList)
    return [look.entry.run for runs in found for look in runs.shown]


def training(maker: RunMaker, epoch: int = 50) -> list:
    return [maker.model(1, TrainingPhase.TRAINING, epoch=epoch), maker.model(2, TrainingPhase.QUEUED)]


async def test_without_runs_one_sentence_says_which_key_to_press() -> None:
    app = host()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "No runs yet" in screen_text(app))
        assert "No runs yet: 1 configures one, Ctrl+R starts it there." in screen_text(app)


async def test_live_runs_come_first_then_the_newest(maker: RunMaker) -> None:
    maker.make("old-live", RunState.RUNNING, training(maker), ago=9000)
    maker.make("older", ago=8000)
    maker.make("newer", RunState.STOPPED, ago=100)
    maker.make("live", RunState.PAUSED, training(maker), ago=5000)
    app = host()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(names(app)) == 4)
        assert names(app) == ["live", "old-live", "newer", "older"]
        text = screen_text(app)
        assert "4 runs, 2 live" in text
        assert "rows 1–4 of 4" in text


async def test_a_live_run_shows_percent_and_time_left_and_its_workers(maker: RunMaker) -> None:
    maker.make("live", RunState.RUNNING, training(maker), ago=300)
    app = host()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "half of 4 CPUs" in screen_text(app))
        line = next(line for line in screen_text(app).splitlines() if "● live" in line)
        assert "25%  ETA " in line
        assert "2 × planner" in line
        assert "0 of 2 done, 25%, 1 training" in screen_text(app)
        assert "Enter watches it" in screen_text(app)


async def test_a_run_that_died_shows_its_age_and_the_resume_key(maker: RunMaker) -> None:
    maker.make("dead", RunState.DIED, training(maker), ago=3 * 3600 + 300)
    app = host()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "last sign of life" in screen_text(app))
        line = next(line for line in screen_text(app).splitlines() if "✗ died" in line)
        assert "25%  3 h ago" in line
        assert "R resumes it from its newest checkpoints" in screen_text(app)
        assert "3 h ago, without a word" in screen_text(app)
        assert "took 5:00" in screen_text(app)  # until its last sign of life, not until now


async def test_an_unreadable_run_says_why_and_is_not_opened(maker: RunMaker) -> None:
    path = maker.make("bad", RunState.DIED, training(maker))
    (path / "run.db").write_bytes(b"rubbish" * 1000)
    app = host()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "! unreadable" in screen_text(app))
        assert "run.db is not the database of a run" in screen_text(app)
        await pilot.press("enter")
        await until(pilot, lambda: "not the database of a run" in app.status.plain)
        await pilot.press("R")
        assert isinstance(app.screen, RunsScreen)
        assert app.resumed == []


async def test_a_finished_run_that_cannot_be_read_says_why_when_selected(maker: RunMaker) -> None:
    path = maker.make("bad")
    (path / "run.db").write_bytes(b"")
    app = host()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "is empty: it was cut off" in screen_text(app).replace("\n", " "))
        assert "unreadable" in screen_text(app)


async def test_enter_watches_the_selected_run(maker: RunMaker) -> None:
    maker.make("first", ago=10)
    path = maker.make("second", ago=20)
    app = host()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(names(app)) == 2)
        await pilot.press("j", "enter")
        await until(pilot, lambda: isinstance(app.screen, WatchScreen) and app.controller.snapshot is not None)
        assert app.controller.run is not None
        assert app.controller.run.path == path


async def test_keys_move_through_the_list(maker: RunMaker) -> None:
    maker.base.mkdir()
    maker.register_only(100)
    app = host()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(names(app)) == 100)

        def selected() -> str:
            look = runs_of(app).selected
            assert look is not None
            return look.entry.run

        assert selected() == "run-0000"
        await pilot.press("j", "down", "k")
        assert selected() == "run-0001"
        await pilot.press("G")
        assert selected() == "run-0099"
        assert "of 100" in screen_text(app)
        assert "run-0099" in screen_text(app)
        await pilot.press("g")
        await pilot.press("pagedown")
        assert selected() == f"run-{runs_of(app).size.height - 2:04}"
        await pilot.press("pageup", "up")
        assert selected() == "run-0000"
        await pilot.press("end", "home", "full_stop")
        assert selected() == "run-0000"


async def test_of_a_thousand_runs_only_those_in_view_are_drawn(
    maker: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker.base.mkdir()
    maker.register_only(1000)
    drawn: list[str] = []
    row = run_columns.run_row

    def counted(look, *rest):  # type: ignore[no-untyped-def]
        drawn.append(look.entry.run)
        return row(look, *rest)

    monkeypatch.setattr(run_columns, "run_row", counted)
    app = host()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(names(app)) == 1000 and "run-0000" in drawn)
        assert set(drawn) <= {f"run-{number:04}" for number in range(24)}
        drawn.clear()
        await pilot.press("j")
        assert set(drawn) == {"run-0000", "run-0001"}


async def test_the_filter_shows_runs_in_which_all_words_occur(maker: RunMaker) -> None:
    maker.make("one", RunState.FAILED, [maker.failed(1)])
    maker.make("two", model_type="reasoner", mode="series")
    maker.make("three", RunState.FAILED, [maker.failed(1)], model_type="reasoner")
    app = host()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(names(app)) == 3)
        await pilot.press("slash", *"FAILED reas", "enter")
        assert names(app) == ["three"]
        assert "filter FAILED reas" in screen_text(app)
        assert "rows 1–1 of 1 (3 in all)" in screen_text(app)
        await pilot.press("slash", "x", "enter")
        assert names(app) == []
        assert "No run matches the filter" in screen_text(app)
        await pilot.press("D")
        assert "No run matches" in app.status.plain
        await pilot.press("slash", "escape")
        assert len(names(app)) == 3
        burst(app, "slash", *"reas", "enter", "D")
        await until(pilot, lambda: isinstance(app.screen, Question))
        assert names(app) == ["three", "two"]
        await pilot.press("escape")
        await pilot.press("j")  # the list has the keys again
        assert runs_of(app).selected is not None


async def test_resume_asks_and_then_goes_on(maker: RunMaker) -> None:
    path = maker.make("dead", RunState.DIED, training(maker))
    app = host()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: names(app))
        await pilot.press("R")
        await until(pilot, lambda: isinstance(app.screen, Question))
        assert "Continue dead (died) from its newest checkpoints?" in screen_text(app)
        await pilot.press("b")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        assert app.resumed == []
        await pilot.press("R")
        await until(pilot, lambda: isinstance(app.screen, Question))
        await pilot.press("enter")
        await until(pilot, lambda: app.resumed)
        assert app.resumed == [(path, None)]


async def test_a_live_run_is_not_resumed(maker: RunMaker) -> None:
    maker.make("live", RunState.RUNNING, training(maker))
    app = host()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: names(app))
        await pilot.press("R")
        await until(pilot, lambda: "nothing to resume: live is live" in app.status.plain)
        assert app.resumed == []


@pytest.mark.parametrize(("typed", "resumed"), [("150", 150), ("100", None), ("many", None), ("", None)])
async def test_a_completed_run_can_be_trained_for_more_epochs(maker: RunMaker, typed: str, resumed: int | None) -> None:
    path = maker.make("done")
    app = host()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "3 of 3 done" in screen_text(app))
        await pilot.press("R")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        assert "Its models have 100 epochs." in screen_text(app)
        await pilot.press(*typed, "enter")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        if resumed is not None:
            await until(pilot, lambda: app.resumed)
        elif typed:
            await until(pilot, lambda: "above 100" in app.status.plain)
        assert app.resumed == ([(path, resumed)] if resumed is not None else [])


async def test_delete_asks_and_then_deletes(maker: RunMaker) -> None:
    maker.make("kept", ago=100)
    path = maker.make("gone", ago=50)
    app = host()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(names(app)) == 2)
        await pilot.press("D")
        await until(pilot, lambda: isinstance(app.screen, Question))
        assert "Delete gone for good, with its 3 models" in screen_text(app)
        await pilot.press("enter")  # the default is to keep it
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        assert path.is_dir()
        await pilot.press("D")
        await until(pilot, lambda: isinstance(app.screen, Question))
        await pilot.press("d")
        await until(pilot, lambda: names(app) == ["kept"])
        assert not path.exists()
        assert app.status.plain == "deleted: gone"


async def test_a_live_run_is_not_deleted(maker: RunMaker) -> None:
    path = maker.make("busy", RunState.RUNNING, training(maker))
    app = host()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: names(app))
        await pilot.press("D")
        await until(pilot, lambda: app.status.plain)
        assert app.status.plain == "! not deleted: busy is live; s stops it first"
        assert isinstance(app.screen, RunsScreen)
        assert path.is_dir()


async def test_a_run_that_came_to_life_while_it_was_asked_for_is_not_deleted(maker: RunMaker) -> None:
    from forge_tui.runs.lock import RunLock

    path = maker.make("gone")
    app = host()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: names(app))
        await pilot.press("D")
        await until(pilot, lambda: isinstance(app.screen, Question))
        with RunLock.acquire(path / "lock"):
            await pilot.press("d")
            await until(pilot, lambda: "is in use" in app.status.plain)
        assert (path / "run.db").is_file()


@pytest.mark.parametrize(("key", "ending"), [("t", "txt"), ("j", "json"), ("c", "csv"), ("h", "html")])
async def test_export_writes_a_report_and_tells_its_path(
    maker: RunMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, ending: str
) -> None:
    monkeypatch.chdir(tmp_path)
    maker.make("done", models=[maker.model(1, epoch=4), maker.failed(2, epoch=2)])
    (tmp_path / f"done-report.{ending}").write_text("an earlier one")
    app = host()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: names(app))
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, Question))
        await pilot.press(key)
        await until(pilot, lambda: app.status.plain.startswith("report: "))
        path = tmp_path / f"done-report-2.{ending}"
        assert app.status.plain == f"report: {path}"
    assert (tmp_path / f"done-report.{ending}").read_text() == "an earlier one"
    text = path.read_text()
    if ending == "json":
        assert [len(model["history"]) for model in json.loads(text)["models"]] == [4, 2]
    elif ending == "csv":
        rows = list(csv.DictReader(text.splitlines()))
        assert [(row["model"], row["epoch"]) for row in rows][-1] == ("cognate_planner_2", "2")
        assert len(rows) == 6
    elif ending == "html":
        assert "<title>Run done</title>" in text
    else:
        assert text.startswith("Run done: completed\n")


async def test_export_writes_a_directory_for_tensorboard(
    maker: RunMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    maker.make("done", models=[maker.model(1, epoch=4), maker.failed(2, epoch=2)])
    app = host()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: names(app))
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, Question))
        await pilot.press("e")
        await until(pilot, lambda: app.status.plain.startswith("report: "))
        assert app.status.plain == f"report: {tmp_path / 'done-tensorboard'}"
    for name, epochs in (("cognate_planner_1", 4), ("cognate_planner_2", 2)):
        (path,) = (tmp_path / "done-tensorboard" / name).iterdir()
        steps = [event.step for event in read_events(path) if "loss" in event.figures]
        assert steps == [*range(1, epochs + 1)]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a directory in which nobody can make files")
async def test_export_says_why_no_file_can_be_made(maker: RunMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    maker.make("done")
    monkeypatch.chdir("/proc")
    app = host()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: names(app))
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, Question))
        await pilot.press("t")
        await until(pilot, lambda: app.status.plain.startswith("! cannot write /proc/done-report.txt"))


async def test_new_runs_appear_by_themselves_and_the_selection_stays(
    maker: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forge_tui.tui.screens.runs.LOOK_SECONDS", 0.05)
    maker.make("first", ago=100)
    app = host()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: names(app) == ["first"])
        maker.make("second", RunState.RUNNING, training(maker), ago=1)
        await until(pilot, lambda: names(app) == ["second", "first"])
        selected = runs_of(app).selected
        assert selected is not None
        assert selected.entry.run == "first"


async def test_names_from_outside_neither_style_nor_steer_the_terminal(maker: RunMaker) -> None:
    maker.make("[b]bold[/b]\x1b[31m-日本語-" + "é" + "x" * 80, model_type="a[/]b\x07")
    app = host()
    async with app.run_test(size=(200, 60)) as pilot:
        await until(pilot, lambda: names(app))
        text = screen_text(app)
        assert "[b]bold[/b]" in text
        assert "\x1b" not in text
        assert "\x07" not in text
        assert "a[/]b" in text


@pytest.mark.parametrize("width", [60, 72, 80, 88, 100, 120, 168, 200, 300])
@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
def test_rows_and_titles_fill_exactly_the_width(maker: RunMaker, width: int, glyphs) -> None:  # type: ignore[no-untyped-def]
    maker.make("20261123-150210-planner", RunState.RUNNING, training(maker))
    maker.make("日本語" * 25, RunState.DIED, training(maker), model_type="package.module:a_long_function")
    bad = maker.make("bad", RunState.DIED, training(maker))
    (bad / "run.db").write_bytes(b"rubbish" * 1000)
    known = KnownRuns()
    looks = known.look()
    known.close()
    assert len(looks) == 3
    layout = run_columns.run_layout(width, looks)
    for look in looks:
        row = "".join(text for text, _ in run_columns.run_row(look, layout, glyphs, maker.now))
        assert cell_len(row) == width - run_columns.GUTTER
        assert row.isascii() or not glyphs.ascii
    assert cell_len(run_columns.titles(layout, glyphs)[0][0]) == width


def test_a_default_run_id_is_whole_at_80_columns(maker: RunMaker) -> None:
    maker.make("20261123-150210-reasoner", model_type="reasoner", count=12)
    maker.make("n" * 90, model_type="package.module:function")
    known = KnownRuns()
    looks = known.look()
    layout = run_columns.run_layout(80, looks)
    row = next("".join(text for text, _ in run_columns.run_row(look, layout, UNICODE, maker.now)) for look in looks
               if look.entry.run.startswith("2026"))  # fmt: skip
    assert "20261123-150210-reasoner" in row
    assert "0.9720 accuracy" in row


def test_directory_mode_and_year_appear_with_the_room(maker: RunMaker) -> None:
    maker.make("20261123-150210-planner", mode="series")
    looks = KnownRuns().look()
    narrow, middle, wide = (run_columns.run_layout(width, looks) for width in (80, 100, 168))
    assert (narrow.mode, narrow.directory) == (0, 0)
    assert (narrow.models, narrow.created, middle.mode) == (0, 0, 0)
    assert middle.models > 0
    assert middle.created > 0
    assert wide.mode > 0
    assert wide.created == 16
    assert wide.directory >= 24


def test_runs_that_have_ended_are_not_opened_again(maker: RunMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    from forge_tui.tui.lists import known_runs

    opened: list[Path] = []

    class CountingRun(known_runs.Run):
        def __init__(self, path: Path) -> None:
            opened.append(path)
            super().__init__(path)

    monkeypatch.setattr(known_runs, "Run", CountingRun)
    live = maker.make("live", RunState.RUNNING, training(maker))
    died = maker.make("died", RunState.DIED, training(maker))
    maker.base.joinpath("many").mkdir()
    maker.make("done")
    known = KnownRuns()
    first = known.look()
    assert [look.state for look in first] == [RunState.RUNNING, RunState.COMPLETED, RunState.DIED]
    assert known.look() == known.look()
    assert sorted(opened) == sorted([live, died])
    known.close()


def test_a_run_whose_directory_cannot_be_looked_into_stays_in_the_list(
    maker: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    path = maker.make("locked-away", RunState.DIED, training(maker))
    gone = maker.make("gone", RunState.DIED, training(maker))
    real = os.stat

    def stat(name, *rest, **options):  # type: ignore[no-untyped-def]
        if str(name) == str(path / "run.db"):
            raise PermissionError(13, "Permission denied", str(name))
        if str(name) == str(gone / "run.db"):
            raise FileNotFoundError(2, "No such file or directory", str(name))
        return real(name, *rest, **options)

    monkeypatch.setattr(os, "stat", stat)
    assert [run.run for run in registry.known()] == ["locked-away"]
