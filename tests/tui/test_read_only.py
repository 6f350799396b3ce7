"""A read-only view: its keys only look, and its process refuses whatever would change something."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from run_directories import RunMaker
from steered import SteeredRun
from tui_host import Host, screen_text, until

from forge_tui import client
from forge_tui.client.table_process import TableProcess
from forge_tui.errors import ReadOnlyError
from forge_tui.exporters.tensorboard import write_event_files
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.reports.run_report import export_report, write_report
from forge_tui.safe_io import read_only
from forge_tui.settings.schema import Settings
from forge_tui.tui.bindings import ACTIONS
from forge_tui.tui.choices import UiChoices
from forge_tui.tui.form.source import FormSource, fill_form, save_form
from forge_tui.tui.offered import CHANGES, READ_ONLY, Surroundings, offered
from forge_tui.tui.screens.configure import ConfigureScreen
from forge_tui.tui.screens.runs import RunsScreen

_LOOKS = {
    "detach", "copy", "fold", "grid", "pin", "cursor_left", "cursor_right",
    "open", "back", "mark", "choose", "mark_all", "mark_none", "compare", "filter", "sort",
    "reverse", "follow_best", "scroll_to_selection", "up", "down", "page_up", "page_down", "first", "last",
    "chart_pane", "log_pane", "output_pane", "next_pane", "zoom_pane", "zoom_in", "zoom_out", "pan_left", "pan_right",
    "reset_chart", "log_y", "kinds", "seeds", "smoothing", "show_configure", "show_watch", "show_runs", "resources",
    "messages", "theme", "mouse", "suspend_process", "redraw", "palette", "help", "leave",
}  # fmt: skip
_ONLY_LOOKS = Surroundings(read_only=True)


@pytest.fixture
def only_looks(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes this process read-only until the test ends."""
    monkeypatch.setattr(read_only._State, "entered", False)
    return read_only.become_read_only


@pytest.fixture
def run(tmp_path: Path) -> Iterator[SteeredRun]:
    """A live run: a model in training, a failed one."""
    maker = RunMaker(tmp_path)
    models = [maker.model(1, TrainingPhase.TRAINING, epoch=20), maker.failed(2)]
    with SteeredRun(tmp_path / "steered", models) as steered:
        yield steered


def test_each_action_is_known_to_change_something_or_not() -> None:
    assert {action.id for action in ACTIONS} == CHANGES | _LOOKS
    assert not CHANGES & _LOOKS


def test_the_keys_of_changes_are_not_offered() -> None:
    for screen in ("configure", "watch", "runs", "model", "compare", "data"):
        assert not {action.id for action in offered(screen, _ONLY_LOOKS)} & CHANGES
        assert {action.id for action in offered(screen, Surroundings())} & CHANGES or screen == "compare"


@pytest.mark.parametrize("name", ["stop", "kill", "pause", "continue", "cancel", "retry", "workers"])
def test_a_live_run_is_not_controlled(run: SteeredRun, only_looks: Callable[[], None], name: str) -> None:
    with client.attach(run.directory.path) as attached:
        arguments = {"workers": {"workers": 3}, "cancel": {"model": "cognate_planner_1"}}.get(
            name, {"model": "cognate_planner_2"} if name == "retry" else {}
        )
        if name == "pause":
            assert attached.answer(attached.control(name, arguments), 30.0) is not None  # it is, before
        only_looks()
        sent = sorted(run.directory.commands.iterdir()) if run.directory.commands.is_dir() else []
        with pytest.raises(ReadOnlyError, match="read-only: this view does not control a run"):
            attached.control(name, arguments)
        left = sorted(run.directory.commands.iterdir()) if run.directory.commands.is_dir() else []
        assert set(left) <= set(sent)
        assert attached.snapshot().state is (RunState.PAUSED if name == "pause" else RunState.RUNNING)


def test_nothing_is_started_resumed_checked_or_measured(
    only_looks: Callable[[], None], maker: RunMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = maker.make(state=RunState.STOPPED)
    only_looks()
    before = sorted(tmp_path.rglob("*"))
    for attempt in (
        lambda: client.start(Settings()),
        lambda: client.check(Settings()),
        lambda: client.plan(Settings()),
        lambda: client.resume(path),
        lambda: TableProcess(tmp_path / "table.csv", {}).look(),
    ):
        with pytest.raises(ReadOnlyError, match="open it without --read-only"):
            attempt()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_is_not_deleted(only_looks: Callable[[], None], maker: RunMaker) -> None:
    first, second = maker.make("first"), maker.make("second")
    maker.close()
    client.delete(first)
    assert not first.exists()
    only_looks()
    with pytest.raises(ReadOnlyError, match="delete a run"):
        client.delete(second)
    assert client.attach(second).snapshot().state is RunState.COMPLETED


def test_reports_are_read_and_not_written(only_looks: Callable[[], None], maker: RunMaker, tmp_path: Path) -> None:
    path, out = maker.make(histories={1: 3, 2: 3, 3: 3}), tmp_path / "out"
    out.mkdir()
    with client.attach(path) as run:
        assert export_report(run, "text", out).is_file()
        assert write_event_files(run, out).is_dir()
        only_looks()
        before = sorted(out.rglob("*"))
        for write in (lambda: export_report(run, "text", out), lambda: write_event_files(run, out)):
            with pytest.raises(ReadOnlyError, match="write a report"):
                write()
        shown = io.StringIO()
        write_report(run, "text", shown)
        assert shown.getvalue()
    assert sorted(out.rglob("*")) == before


def test_settings_and_choices_are_not_saved(only_looks: Callable[[], None], tmp_path: Path) -> None:
    form = fill_form(FormSource(), {}).form
    save_form(form, tmp_path / "one.toml")
    choices = UiChoices(tmp_path / "ui.json")
    choices.put("theme", "light")
    assert UiChoices(tmp_path / "ui.json").get("theme") == "light"
    only_looks()
    with pytest.raises(ReadOnlyError, match="save settings"):
        save_form(form, tmp_path / "two.toml")
    choices.put("theme", "dark")
    assert choices.get("theme") == "dark"
    assert UiChoices(tmp_path / "ui.json").get("theme") == "light"
    assert {path.name for path in tmp_path.iterdir()} >= {"one.toml", "ui.json"}
    assert not (tmp_path / "two.toml").exists()


@pytest.mark.parametrize("key", ["p", "s", "x", "r", "w", "K", "n"])
async def test_a_key_that_would_change_the_run_says_that_the_view_is_read_only(
    run: SteeredRun, only_looks: Callable[[], None], key: str
) -> None:
    attached = client.attach(run.directory.path)
    only_looks()
    app = Host(RunsScreen, run=attached, surroundings=_ONLY_LOOKS)
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: app.controller.snapshot is not None)
        await until(pilot, lambda: "p Pause" not in screen_text(app) and "? Help" in screen_text(app))
        await pilot.press(key)
        await until(pilot, lambda: READ_ONLY in app.status.plain)
        assert len(app.screen_stack) == 1
        assert "Watch, read-only" in screen_text(app)
    assert attached.snapshot().state is RunState.RUNNING


async def test_what_a_screen_would_send_is_refused_with_the_reason(
    run: SteeredRun, only_looks: Callable[[], None]
) -> None:
    """Not only its keys: the app itself cannot send a command."""
    attached = client.attach(run.directory.path)
    only_looks()
    app = Host(RunsScreen, run=attached, surroundings=_ONLY_LOOKS)
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: app.controller.snapshot is not None)
        app.steering.send("stop", [{}])
        await until(pilot, lambda: "read-only: this view does not control a run" in app.status.plain)


async def test_configure_shows_settings_and_changes_none(
    only_looks: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    only_looks()
    app = Host(ConfigureScreen, surroundings=_ONLY_LOOKS, choices=UiChoices(tmp_path / "ui.json"))
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("1")
        await until(pilot, lambda: isinstance(app.front, ConfigureScreen) and app.front.draft.form is not None)
        assert isinstance(app.front, ConfigureScreen)
        draft = app.front.draft
        before = draft.form
        await until(pilot, lambda: "Workers" in screen_text(app))
        assert "w changes" not in screen_text(app)
        for key in ("enter", "right", "ctrl+r", "ctrl+s", "ctrl+o", "V", "U", "P", "c"):
            app.status.tell("")
            await pilot.press(key)
            await until(pilot, lambda: READ_ONLY in app.status.plain)
        app.status.tell("")
        app.front.panel.open_selected()  # as a click does
        await until(pilot, lambda: READ_ONLY in app.status.plain)
        assert draft.form is before
        assert len(app.screen_stack) == 1
    assert os.listdir(tmp_path) == []


async def test_a_view_without_a_run_opens_on_the_list_of_runs(maker: RunMaker, tmp_path: Path) -> None:
    path = maker.make("run-1")
    app = Host(ConfigureScreen, surroundings=_ONLY_LOOKS, choices=UiChoices(tmp_path / "ui.json"))
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: isinstance(app.front, RunsScreen) and app.front.is_there and app.front.runs.looks)
        for key in ("D", "R", "e"):
            app.status.tell("")
            await pilot.press(key)
            await until(pilot, lambda: READ_ONLY in app.status.plain)
        await pilot.press("enter")
        await until(
            pilot, lambda: app.controller.snapshot is not None and app.controller.snapshot.run.path == str(path)
        )
