"""Compare: marking runs, what stands side by side, and every key of the screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from measured import remeasured
from rich.cells import cell_len
from run_directories import RunMaker
from textual.pilot import Pilot
from tui_host import Host, screen_text, until

from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.reports.comparison import Comparer
from forge_tui.settings.files import write_settings
from forge_tui.settings.schema import ResourceSettings, Settings, TrainingConfig
from forge_tui.tui.bindings import actions_of
from forge_tui.tui.choices import UiChoices
from forge_tui.tui.dialogs.questions import Reading
from forge_tui.tui.screens.compare import CompareScreen
from forge_tui.tui.screens.compare_text import comparison_document
from forge_tui.tui.screens.runs import RunsScreen
from forge_tui.tui.widgets.document import Document
from forge_tui.tui.widgets.glyphs import ASCII, UNICODE


def run(maker: RunMaker, name: str, ago: float, rate: float = 0.001, **made: Any) -> Path:
    path = maker.make(name, ago=ago, **made)
    training = TrainingConfig(learning_rate=rate)
    write_settings(Settings(training=training, resources=ResourceSettings(min_available_memory_gb=ago)),
                   path / "settings.toml")  # fmt: skip
    return path


def host(tmp_path: Path, only_ascii: bool = False) -> Host:
    return Host(RunsScreen, choices=UiChoices(tmp_path / "ui.json"), only_ascii=only_ascii)


async def listed(app: Host, pilot: Pilot[int], count: int) -> None:
    await until(pilot, lambda: isinstance(app.front, RunsScreen) and app.front.is_there)
    assert isinstance(app.front, RunsScreen)
    runs = app.front.runs
    await until(pilot, lambda: len(runs.shown) == count)


async def compared(app: Host, pilot: Pilot[int]) -> CompareScreen:
    await until(pilot, lambda: isinstance(app.front, CompareScreen) and app.front.is_there)
    front = app.front
    assert isinstance(front, CompareScreen)
    await until(pilot, lambda: "FIGURES" in front.document.text)
    return front


async def test_space_marks_runs_and_c_compares_them(maker: RunMaker, tmp_path: Path) -> None:
    run(maker, "first", 10, 0.001)
    run(maker, "second", 20, 0.01, models=[maker.model(1), maker.failed(2)], state=RunState.FAILED)
    run(maker, "third", 30)
    app = host(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await listed(app, pilot, 3)
        await pilot.press("space", "space")
        text = screen_text(app)
        assert "3 runs, 0 live ─ 2 marked" in text
        assert [line[:2] for line in text.splitlines()[3:6]] == ["* ", "* ", "> "]
        await pilot.press("C")
        screen = await compared(app, pilot)
        lines = [line.split() for line in screen.document.text.splitlines()]
        assert ["SETTINGS", "1", "first", "2", "second"] in lines
        assert ["training.learning_rate", "0.001", "0.01"] in lines
        assert ["state", "completed", "failed"] in lines
        assert ["models", "3/3", "done", "1/2", "done,", "1", "failed"] in lines
        assert ["FIGURES", "1", "first", "2", "second"] in lines
        assert " settings equal" in screen.document.text
        assert "mean ± standard deviation over 3 and 1 models" in screen.document.text
        assert not screen.chart.display
        await pilot.press("backspace")
        await until(pilot, lambda: isinstance(app.front, RunsScreen))
        assert "2 marked" in screen_text(app)
        await pilot.press("A")
        assert "marked" not in screen_text(app)


async def test_one_marked_run_is_compared_with_the_selected_one(maker: RunMaker, tmp_path: Path) -> None:
    run(maker, "first", 10)
    run(maker, "second", 20)
    app = host(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await listed(app, pilot, 2)
        await pilot.press("C")
        assert app.status.plain == "! nothing to compare: mark at least two runs with Space, then C"
        await pilot.press("space", "C")
        screen = await compared(app, pilot)
        assert "1 first" in screen.document.text
        assert "2 second" in screen.document.text
        assert app.status.plain == ""


def swept(maker: RunMaker) -> list[ModelState]:
    """Two seeds of two configs, the second of which is better."""
    return [
        maker.model(index, combination={"learning_rate": rate}, validation_accuracy=accuracy)
        for index, (rate, accuracy) in enumerate(((0.1, 0.5), (0.1, 0.75), (0.2, 0.9), (0.2, 0.9)), 1)
    ]


async def test_the_configs_of_one_sweep_are_compared(maker: RunMaker, tmp_path: Path) -> None:
    run(maker, "rates", 10, models=swept(maker))
    app = host(tmp_path)
    async with app.run_test(size=(100, 30)) as pilot:
        await listed(app, pilot, 1)
        await until(pilot, lambda: app.front.detail._read is not None and app.front.detail._read[1] is not None)
        await pilot.press("C")
        screen = await compared(app, pilot)
        lines = [line.split() for line in screen.document.text.splitlines()]
        assert ["CONFIGS", "1", "rates"] in lines
        head = lines.index(["RANK", "learning_rate", "MODELS", "VAL", "LOSS", "ACCURACY"])  # losses leave first
        assert [line[:2] for line in lines[head + 1 : head + 3]] == [["1", "0.2"], ["2", "0.1"]]
        assert lines[head + 2][-3:] == ["0.6250", "±", "0.1768"]
        assert "ranked by mean validation accuracy" in screen.document.text
        assert "settings" not in screen.document.text


async def test_more_runs_than_have_room_are_refused(maker: RunMaker, tmp_path: Path) -> None:
    for number in range(5):
        run(maker, f"run-{number}", 10 + number)
    app = host(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await listed(app, pilot, 5)
        await pilot.press(*["space"] * 5, "C")
        assert app.status.plain == "! 5 runs are marked, and at most 4 are compared: Space unmarks, A all"
        await pilot.press("space", "C")  # the last one again
        screen = await compared(app, pilot)
        assert "over 3 and 3 and 3 and 3 models" in screen.document.text


async def test_a_mark_leaves_with_its_run(maker: RunMaker, tmp_path: Path) -> None:
    run(maker, "first", 10)
    gone = run(maker, "second", 20)
    app = host(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await listed(app, pilot, 2)
        await pilot.press("space", "space")
        from forge_tui import client

        client.delete(gone)
        assert isinstance(app.front, RunsScreen)
        app.front.look()
        await listed(app, pilot, 1)
        assert "1 marked" in screen_text(app)


async def test_curves_are_shown_where_there_is_room_and_by_c(maker: RunMaker, tmp_path: Path) -> None:
    run(maker, "first", 10)
    run(maker, "second", 20)
    app = host(tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        await listed(app, pilot, 2)
        await pilot.press("space", "space", "C")
        screen = await compared(app, pilot)
        await until(pilot, lambda: screen.chart.series)
        assert [(each.label, each.kind) for each in screen.chart.series] == [
            ("first", "train"), ("first", "validation"), ("second", "train"), ("second", "validation"),
        ]  # fmt: skip
        assert all(each.edges for each in screen.chart.series)
        assert "1━ first  2━ second" in screen_text(app)
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: not screen.chart.display)
        await pilot.press("c")
        await until(pilot, lambda: screen.chart.display)
        assert screen.document.display
        await pilot.press("c")
        await until(pilot, lambda: not screen.chart.display)
        await pilot.press("z")
        await pilot.press("z")
        await until(pilot, lambda: screen.chart.display and not screen.document.display)
        await pilot.press("z")
        await until(pilot, lambda: screen.document.display and not screen.chart.display)


async def test_the_keys_of_the_chart_and_of_moving(maker: RunMaker, tmp_path: Path) -> None:
    run(maker, "first", 10)
    run(maker, "second", 20)
    app = host(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await listed(app, pilot, 2)
        await pilot.press("space", "space", "C")
        screen = await compared(app, pilot)
        await pilot.press("c")
        await until(pilot, lambda: screen.chart.series)
        chart = screen.chart
        await pilot.press("plus")
        assert chart.is_zoomed
        window = chart.window
        await pilot.press("left")
        assert chart.window < window
        await pilot.press("right", "minus", "0")
        assert not chart.is_zoomed
        log, kinds = chart.log_y, chart.kinds
        await pilot.press("y", "v", "S")
        assert chart.log_y is not log
        assert chart.kinds != kinds
        assert "smoothed 0.6" in screen_text(app)
        text = screen.query_one(Document)
        await pilot.press("G")
        await until(pilot, lambda: text.scroll_offset.y > 0)
        await pilot.press("g")
        assert text.scroll_offset.y == 0
        await pilot.press("down", "j", "k")
        assert text.scroll_offset.y == 1
        await pilot.press("pagedown", "pageup", "up", "up")
        assert text.scroll_offset.y == 0


async def test_a_live_run_is_read_again(maker: RunMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forge_tui.tui.screens.compare.READ_SECONDS", 0.05)
    run(maker, "live", 10, state=RunState.RUNNING, models=[maker.model(1, TrainingPhase.TRAINING, epoch=3, loss=0.75)])
    run(maker, "done", 20)
    app = host(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await listed(app, pilot, 2)
        await pilot.press("space", "space", "C")
        screen = await compared(app, pilot)
        assert "0.7500" in screen.document.text
        maker._stores[0].put_model(maker.model(1, TrainingPhase.TRAINING, epoch=4, loss=0.625))
        await until(pilot, lambda: "0.6250" in screen.document.text)


async def test_damaged_runs_and_strange_names_are_told_in_words(maker: RunMaker, tmp_path: Path) -> None:
    bad = run(maker, "bad", 10)
    run(maker, "[b]x[/b]\x1b[31m\u6f22", 20)
    (bad / "run.db").write_bytes(b"rubbish" * 1000)
    (bad / "settings.toml").write_text("[training]\nwarp = 9 # [/]\n")
    app = host(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await listed(app, pilot, 2)
        await pilot.press("space", "space", "C")
        screen = await compared(app, pilot)
        text = " ".join(screen.document.text.split())
        assert "is not the database of a run" in text
        assert "unknown key training.warp" in text
        assert "no settings are compared: those of only one run can be read" in text
        assert "state unreadable completed" in text
        assert "[b]x[/b]" in screen_text(app)
        assert "\x1b" not in screen_text(app)
        await pilot.press("c")
        await until(pilot, lambda: screen.chart.series)
        assert app.return_code is None


async def test_a_directory_that_has_gone_is_told(maker: RunMaker, tmp_path: Path) -> None:
    first = run(maker, "first", 10)
    app = host(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        app.push_screen(CompareScreen([first, tmp_path / "nowhere"]))
        screen = await compared(app, pilot)
        assert "there is no run in" in " ".join(screen.document.text.split())


async def test_help_lists_every_action(maker: RunMaker, tmp_path: Path) -> None:
    app = host(tmp_path)
    async with app.run_test(size=(120, 60)) as pilot:
        app.push_screen(CompareScreen([run(maker, "first", 10), run(maker, "second", 20)]))
        await compared(app, pilot)
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, Reading))
        assert isinstance(app.screen, Reading)
        assert "Compare: keys" in app.screen.text.plain
        assert all(action.help in app.screen.text.plain for action in actions_of("compare"))


@pytest.mark.parametrize("width", [56, 58, 78, 86, 118])
@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_tables_stay_aligned_at_every_width(maker: RunMaker, width: int, glyphs, count: int) -> None:  # type: ignore[no-untyped-def]
    tiny = [remeasured(maker.model(index), loss=1.5e-7 * index) for index in (1, 2)]
    paths = [run(maker, f"20261123-15021{number}-planner", 10 + number, models=tiny) for number in range(count)]
    with Comparer(paths) as comparer:
        comparison = comparer.look()
    paragraphs = comparison_document(comparison, width, glyphs)
    lines = ["".join(text for text, _ in paragraph.pieces) for paragraph in paragraphs]
    table = lines[lines.index(next(line for line in lines if line.startswith("FIGURES"))) : -1]
    assert len({cell_len(line) for line in table}) == 1
    assert cell_len(table[0]) <= width
    assert not glyphs.ascii or all(line.isascii() for line in table)
    assert width < 78 or any("1.06e-07" in line for line in table)
    for number in range(1, count + 1):
        assert any(f" {number} 2" in line or f" {number} …" in line or f" {number} ~" in line for line in table[:1])
