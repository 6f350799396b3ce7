"""Runs: results and names in the list, and pausing, stopping and naming the selected run by its keys."""

from __future__ import annotations

from pathlib import Path

from run_directories import RunMaker
from steered import SteeredRun
from tui_host import Host, screen_text, until

from forge_tui.protocol.label import Label
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.runs import registry
from forge_tui.runs.label import read_label, write_label
from forge_tui.runs.layout import RunDirectory
from forge_tui.tui.dialogs.questions import Ask, Question
from forge_tui.tui.lists.known_runs import KnownRuns
from forge_tui.tui.lists.run_columns import run_layout, run_row, titles
from forge_tui.tui.screens.runs import RunsScreen
from forge_tui.tui.widgets.glyphs import UNICODE


def line_of(app: Host, part: str) -> str:
    return next((line for line in screen_text(app).splitlines() if part in line), "")


def steered(maker: RunMaker, path: Path) -> SteeredRun:
    run = SteeredRun(path, [maker.model(1, TrainingPhase.TRAINING, epoch=20), maker.model(2, TrainingPhase.QUEUED)])
    registry.register(run.journal.info)
    return run


async def test_p_pauses_the_selected_run_and_lets_it_continue(maker: RunMaker, tmp_path: Path) -> None:
    app = Host(RunsScreen)
    with steered(maker, tmp_path / "night") as run:
        async with app.run_test(size=(80, 24)) as pilot:
            await until(pilot, lambda: "night" in screen_text(app))
            await pilot.press("p")
            await until(pilot, lambda: "pause night: done" in app.status.plain)
            assert run.journal.info.state is RunState.PAUSED
            app.front.look()
            await until(pilot, lambda: "paused" in line_of(app, " night "))
            assert "p continues it" in screen_text(app)
            await pilot.press("p")
            await until(pilot, lambda: "continue night: done" in app.status.plain)
            assert run.journal.info.state is RunState.RUNNING


async def test_s_asks_and_stops_the_selected_run(maker: RunMaker, tmp_path: Path) -> None:
    app = Host(RunsScreen)
    with steered(maker, tmp_path / "night") as run:
        async with app.run_test(size=(80, 24)) as pilot:
            await until(pilot, lambda: "night" in screen_text(app))
            await pilot.press("s")
            await until(pilot, lambda: isinstance(app.screen, Question))
            assert "Stop night after a checkpoint?" in screen_text(app)
            await pilot.press("enter")  # the first answer that is offered changes nothing
            await until(pilot, lambda: not isinstance(app.screen, Question))
            assert run.journal.info.state is RunState.RUNNING
            await pilot.press("s")
            await until(pilot, lambda: isinstance(app.screen, Question))
            await pilot.press("s")
            await until(pilot, lambda: "stop night: accepted" in app.status.plain)
            await until(pilot, lambda: not run.journal.info.state.is_live)


async def test_an_ended_run_cannot_be_paused_or_stopped_and_says_what_continues_it(maker: RunMaker) -> None:
    maker.make("done", RunState.STOPPED, count=1)
    app = Host(RunsScreen)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "done" in screen_text(app))
        for key, word in (("p", "pause"), ("s", "stop")):
            await pilot.press(key)
            await until(
                pilot, lambda word=word: f"nothing to {word}: done is stopped; R resumes it" in app.status.plain
            )


async def test_n_names_a_run_and_the_list_shows_it_at_once(maker: RunMaker) -> None:
    path = maker.make("20261123-150210-planner", count=1)
    app = Host(RunsScreen)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "20261123-150210-planner" in screen_text(app))
        await pilot.press("N")
        await until(pilot, lambda: isinstance(app.screen, Ask) and "called" in screen_text(app))
        await pilot.press(*"base", "enter")
        await until(pilot, lambda: isinstance(app.screen, Ask) and "note" in screen_text(app))
        await pilot.press(*"try 1", "enter")
        await until(pilot, lambda: "base" in line_of(app, "✓ completed"))
        assert read_label(path) == Label("base", "try 1")
        assert "base (20261123-150210-planner): try 1" in screen_text(app)
        # The note alone can be changed; Esc at the first question changes nothing.
        await pilot.press("N")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, Ask))
        assert read_label(path) == Label("base", "try 1")


async def test_what_is_no_name_is_said(maker: RunMaker) -> None:
    path = maker.make("night", count=1)
    app = Host(RunsScreen)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "night" in screen_text(app))
        await pilot.press("N")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        await pilot.press("a", "slash", "b", "enter")
        await until(pilot, lambda: "note" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: "not named: the name 'a/b' has '/' in it" in app.status.plain)
        assert read_label(path) == Label()


async def test_a_filter_finds_names_and_notes(maker: RunMaker) -> None:
    for run, name, note in (("a", "baseline", ""), ("b", "", "with dropout")):
        write_label(RunDirectory(maker.make(run, count=1)), Label(name, note))
    app = Host(RunsScreen)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "2 runs" in screen_text(app))
        app.front.runs.set_filter("dropout")
        assert [look.entry.run for look in app.front.runs.shown] == ["b"]
        app.front.runs.set_filter("base")
        assert [look.entry.run for look in app.front.runs.shown] == ["a"]


def test_best_and_time_are_in_the_list_at_80_columns(maker: RunMaker) -> None:
    maker.make("20261123-150210-planner", count=1)
    maker.make("20261123-150210-live", RunState.RUNNING, [maker.model(1, TrainingPhase.TRAINING, epoch=50)])
    known = KnownRuns()
    looks = known.look()
    known.close()
    layout = run_layout(80, looks)
    head = titles(layout, UNICODE)[0][0]
    live, ended = ("".join(text for text, _ in run_row(look, layout, UNICODE, maker.now)) for look in looks)
    assert head.split() == ["STATE", "RUN", "PROGRESS", "BEST", "TOOK"]
    assert "0.9720 accuracy 10:00" in ended
    assert live.rstrip().endswith("0.9720 accuracy")
    assert all(len(text) == 78 for text in (live, ended))


def test_where_there_is_less_room_the_number_stands_alone(maker: RunMaker) -> None:
    maker.make("20261123-150210-planner", count=1)
    known = KnownRuns()
    (look,) = known.look()
    known.close()
    layout = run_layout(68, [look])
    row = "".join(text for text, _ in run_row(look, layout, UNICODE, maker.now))
    assert "20261123-150210-planner" in row
    assert "0.9720" in row
    assert "accuracy" not in row


def test_results_of_older_runs_are_read_a_few_at_a_time(maker: RunMaker, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from forge_tui.tui.lists import known_runs

    monkeypatch.setattr(known_runs, "_OLDER_PER_LOOK", 1)
    for number, name in enumerate(("a", "b")):
        registry.finished(maker.make(name, count=1, ago=1000.0 + number), "completed", maker.now)
    known = KnownRuns()
    assert [look.entry.metric for look in known.look()] == ["accuracy", None]
    assert [look.entry.metric for look in known.look()] == ["accuracy", "accuracy"]
    known.close()
