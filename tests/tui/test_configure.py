"""Configure: every action of the screen, by its keys."""

from __future__ import annotations

import inspect
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList

from forge_tui.progress.phases import RunState
from forge_tui.progress.snapshot import RunInfo, Snapshot
from forge_tui.resources.hardware import SystemResources
from forge_tui.settings.files import read_settings, write_settings
from forge_tui.settings.schema import RunSettings, Settings, TrainingConfig
from forge_tui.tui.app import ForgeApp
from forge_tui.tui.form import Form
from forge_tui.tui.form_fields import sections
from forge_tui.tui.form_source import FormSource, user_presets
from forge_tui.tui.messages import StartRefused
from forge_tui.tui.screens.configure import ConfigureScreen
from forge_tui.tui.screens.dialogs import Ask, Question, Reading
from forge_tui.tui.screens.file_picker import FilePicker
from forge_tui.tui.screens.pick import PickScreen
from forge_tui.tui.state import UiChoices
from forge_tui.tui.widgets.form_panel import FormPanel
from forge_tui.tui.widgets.line import Line
from forge_tui.tui.widgets.settings_rows import Item

MACHINE = SystemResources(
    cpu_count=4,
    memory_gb=64.0,
    available_memory_gb=60.0,
    cpu_usage_percent=2.0,
    recommended_workers=2,
    memory_per_worker_gb=8.0,
    others_cpu_percent=1.0,
)


class App(ForgeApp):
    """The app on a machine of four CPUs; it notes what it should start instead of starting it."""

    CSS_PATH = Path(inspect.getfile(ForgeApp)).parent / "styles.tcss"

    def __init__(self, state: Path, given: FormSource | None = None) -> None:
        super().__init__(host="ada@server", choices=UiChoices(state), monitor=False, given=given)
        self.started: list[tuple[Settings, str]] = []
        self.detected = MACHINE

    def start_run(self, settings: Settings, previous: str = "refuse") -> None:
        self.started.append((settings, previous))


class Hand:
    """A person at the keyboard of the screen."""

    def __init__(self, app: App, pilot: Pilot[int]) -> None:
        self.app, self.pilot = app, pilot

    @property
    def screen(self) -> ConfigureScreen:
        found = self.app.front
        assert isinstance(found, ConfigureScreen)
        return found

    @property
    def panel(self) -> FormPanel:
        return self.screen.panel

    @property
    def form(self) -> Form:
        found = self.panel.form
        assert found is not None
        return found

    @property
    def status(self) -> str:
        return self.app.status.plain

    @property
    def title(self) -> str:
        return self.panel.query_one("#form-title", Line).text.plain

    def item(self, name: str) -> Item:
        return next(row for row in self.panel.pane.settings.rows if isinstance(row, Item) and row.name == name)

    def details(self, name: str) -> list[str]:
        return [detail.text for detail in self.item(name).details]

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def type(self, text: str) -> None:
        for character in text:
            await self.pilot.press(
                {" ": "space", "/": "slash", ".": "full_stop", "_": "underscore"}.get(character, character)
            )
        await self.pilot.pause()

    async def select(self, name: str) -> None:
        self.panel.pane.settings.select(name)
        await self.pilot.pause()

    async def until(self, true: Callable[[], Any]) -> None:
        deadline = time.monotonic() + 10
        while not true():
            assert time.monotonic() < deadline, f"did not come about; status: {self.status!r}"
            await self.pilot.pause(0.01)


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in."""
    here = tmp_path / "work"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


@asynccontextmanager
async def configure(
    state: Path, size: tuple[int, int] = (80, 24), given: FormSource | None = None
) -> AsyncIterator[Hand]:
    app = App(state, given)
    async with app.run_test(size=size) as pilot:
        hand = Hand(app, pilot)
        await hand.until(lambda: app.draft.form is not None and app.draft.form.dataset_found is not None)
        await pilot.pause()
        yield hand


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "ui.json"


def snapshot(path: Path, state: RunState = RunState.RUNNING) -> Snapshot:
    run = RunInfo(
        run=path.name,
        path=str(path),
        mode="series",
        policy="shared",
        model_type="planner",
        models=1,
        epochs=7,
        state=state,
        created=0.0,
    )
    return Snapshot(run=run, models=(), state=state, revision=1, time=0.0)


def lines(hand: Hand) -> list[str]:
    """The text on the terminal, line by line."""
    width, height = hand.app.size
    rows = hand.app.screen._compositor.render_strips()
    assert len(rows) == height
    return ["".join(segment.text for segment in row)[:width] for row in rows]


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_mode_and_workers_come_first_and_nothing_is_cut(state: Path, size: tuple[int, int]) -> None:
    async with configure(state, size) as hand:
        await hand.press("right")
        drawn = "\n".join(lines(hand))

        for text in (">* Mode", "Parallel (Faster, More Memory)", "Workers", "2 instead of 3: CPU limit", "Seed"):
            assert text in drawn
        assert "Ctrl+R Start" in drawn.splitlines()[-1]
        assert all(len(line) == size[0] for line in drawn.splitlines())


async def test_arrows_and_letters_move(state: Path) -> None:
    async with configure(state) as hand:
        settings = hand.panel.pane.settings
        seen = []
        for key in ("down", "j", "k", "up", "G", "g", "end", "home", "pagedown", "pageup"):
            await hand.press(key)
            seen.append(settings.selected)

    mode, last = "training.training_mode", sections()[-1].keys[-1].key
    assert seen[:8] == [
        "training.max_parallel_workers",
        "resources.policy",
        "training.max_parallel_workers",
        mode,
        last,
        mode,
        last,
        mode,
    ]
    assert seen[8] not in (mode, last)
    assert seen[9] == mode


async def test_enter_space_and_arrows_choose_words(state: Path) -> None:
    async with configure(state) as hand:
        values = []
        for key in ("enter", "space", "right", "left"):
            await hand.press(key)
            values.append(hand.form.values["training.training_mode"])
        shown = hand.item("training.training_mode").value
        await hand.select("training.grokfast_enabled")
        await hand.press("enter")

        assert values == ["parallel", "series", "parallel", "series"]
        assert shown == "Series (Safe, Default)"
        assert hand.item("training.grokfast_enabled").value == "on"
        assert hand.item("training.grokfast_alpha").note == ""


async def test_the_verdict_follows_the_workers_while_they_are_typed(state: Path) -> None:
    name = "training.max_parallel_workers"
    async with configure(state) as hand:
        await hand.press("right", "down", "enter", "1")
        one = hand.details(name)
        await hand.press("2")
        twelve = hand.details(name)
        await hand.press("left")
        stepped = hand.panel.pane.editor.value
        await hand.press("enter")

        assert one == [
            "1 worker as requested; this machine allows 2: CPU limit: at most half of the 4 CPUs this process may use "
            "(policy shared). For more: --workers 2 (up to 2 threads)"
        ]
        assert twelve[0].startswith("2 instead of 12: CPU limit")
        assert stepped == "11"
        assert not hand.panel.pane.is_open
        assert hand.form.values[name] == 11


async def test_left_and_right_step_the_workers_without_the_editor(state: Path) -> None:
    async with configure(state) as hand:
        await hand.press("right", "down", "left", "left", "left")

        assert hand.form.values["training.max_parallel_workers"] == 1
        assert hand.item("training.max_parallel_workers").value == "1    1 ●─┄┄┄┄┄┄┄┄┄ 6".replace("●─┄", "●──")


async def test_an_error_stands_beside_its_field_and_goes_with_it(state: Path) -> None:
    async with configure(state) as hand:
        await hand.select("training.epochs")
        await hand.press("enter", "0")
        wrong, drawn = hand.details("training.epochs"), "\n".join(lines(hand))
        await hand.press("escape")

        assert wrong == ["must be at least 1"]
        assert "! must be at least 1" in drawn
        assert hand.details("training.epochs") == []
        assert hand.form.values["training.epochs"] == 100
        assert hand.panel.pane.settings.has_focus


async def test_letters_are_text_while_an_editor_is_open_and_moving_keeps_it(state: Path) -> None:
    async with configure(state) as hand:
        await hand.select("run.output")
        await hand.press("enter")
        await hand.type("jqn /2 Y")
        await hand.press("up")

        assert hand.form.values["run.output"] == "jqn /2 Y"
        assert hand.panel.pane.settings.selected == "run.seed"
        assert not hand.panel.pane.is_open


async def test_the_editor_lies_over_its_value_after_a_resize(state: Path) -> None:
    async with configure(state) as hand:
        await hand.select("training.weight_decay")
        await hand.press("enter")
        for size in ((120, 40), (60, 15), (80, 24)):
            await hand.pilot.resize_terminal(*size)
            await hand.pilot.pause()
            editor = hand.panel.pane.editor.region
            row = next(number for number, line in enumerate(lines(hand)) if "Weight decay" in line)
            assert (editor.y, editor.height) == (row, 1)
            assert editor.right <= size[0]


async def test_u_puts_the_default_back(state: Path) -> None:
    async with configure(state) as hand:
        await hand.select("training.epochs")
        await hand.press("right", "right")
        changed = hand.form.values["training.epochs"]
        await hand.press("u")

        assert (changed, hand.form.values["training.epochs"]) == (500, 100)
        assert "all defaults" in hand.title


async def test_a_csv_and_its_target_are_chosen_with_the_keyboard(state: Path, working_directory: Path) -> None:
    (working_directory / "data").mkdir()
    (working_directory / "data" / "flowers.csv").write_text("width,kind,age\n1,2,3\n", encoding="utf-8")
    (working_directory / "data" / "notes.md").write_text("", encoding="utf-8")
    (working_directory / "data" / ".secret.csv").write_text("a,b\n", encoding="utf-8")
    async with configure(state) as hand:
        await hand.select("training.dataset")
        await hand.press("enter")
        picker = hand.app.screen
        assert isinstance(picker, FilePicker)
        options = picker.query_one(OptionList)
        await hand.until(lambda: options.option_count >= 3)
        await hand.press("j", "j", "enter")
        await hand.until(lambda: "flowers.csv" in str(options.get_option_at_index(options.option_count - 1).prompt))
        names = [str(options.get_option_at_index(place).prompt).split()[0] for place in range(options.option_count)]
        await hand.press("end", "enter")
        await hand.until(lambda: hand.details("data.target"))
        missing = hand.details("data.target")
        await hand.press("down", "enter")
        assert isinstance(hand.app.screen, PickScreen)
        await hand.press("slash")
        await hand.type("ki")
        await hand.press("enter")

        assert names == ["synthetic", "../", "flowers.csv"]
        assert hand.form.values["training.dataset"] == "data/flowers.csv"
        assert missing[0].startswith("data/flowers.csv has no column 'target': say which one to predict")
        assert hand.form.values["data.target"] == "kind"
        assert hand.details("data.target") == []


async def test_the_picker_shows_hidden_files_goes_up_and_takes_a_path(state: Path, working_directory: Path) -> None:
    (working_directory / ".hidden.csv").write_text("a,b\n", encoding="utf-8")
    async with configure(state) as hand:
        await hand.select("training.dataset")
        await hand.press("enter")
        options = hand.app.screen.query_one(OptionList)
        await hand.until(lambda: options.option_count)

        def shown() -> str:
            return "\n".join(str(options.get_option_at_index(place).prompt) for place in range(options.option_count))

        assert ".hidden.csv" not in shown()
        await hand.press("full_stop")
        await hand.until(lambda: ".hidden.csv" in shown())
        await hand.press("backspace")
        await hand.until(lambda: "work/" in shown())
        assert options.highlighted is not None
        assert str(options.get_option_at_index(options.highlighted).prompt) == "work/"
        await hand.press("slash")
        hand.app.screen.query_one(Input).value = "elsewhere/x.npz"
        await hand.press("enter")
        await hand.until(lambda: hand.details("training.dataset"))

        assert hand.form.values["training.dataset"] == "elsewhere/x.npz"
        assert hand.details("training.dataset")[0].startswith("there is no such file")


async def test_start_hands_over_the_settings_and_keeps_the_form_for_next_time(state: Path) -> None:
    async with configure(state) as hand:
        await hand.press("right")
        await hand.select("training.epochs")
        await hand.press("enter", "7", "ctrl+r")
        await hand.press("ctrl+r")

        (started, previous), *others = hand.app.started
        assert (started.training.training_mode, started.training.epochs, previous) == ("parallel", 7, "refuse")
        assert others == []
        assert hand.status == "the run is starting"
    async with configure(state, given=FormSource(flags={"training.epochs": "9"})) as hand:
        assert hand.form.values["training.training_mode"] == "parallel"
        assert hand.item("training.training_mode").note == "as last time"
        assert hand.form.values["training.epochs"] == 9


async def test_start_is_refused_with_reasons_and_leads_to_the_first_field_to_mend(state: Path) -> None:
    async with configure(state) as hand:
        await hand.select("training.epochs")
        await hand.press("enter", "0", "enter", "G", "ctrl+r")

        assert hand.app.started == []
        assert hand.status == "! not started: Epochs must be at least 1"
        assert hand.panel.pane.settings.selected == "training.epochs"
        assert "1 to mend" in hand.title


async def test_a_wrong_settings_file_is_told_and_nothing_starts(state: Path, working_directory: Path) -> None:
    wrong = working_directory / "wrong.toml"
    wrong.write_text("[training]\nepochs = 0\n", encoding="utf-8")
    async with configure(state, given=FormSource(settings_file="wrong.toml")) as hand:
        told = hand.status
        await hand.press("ctrl+r")

        assert told == "! wrong.toml, line 2: training.epochs = 0: must be at least 1"
        assert hand.app.started == []
        assert hand.status.startswith("! not started: wrong.toml, line 2")


async def test_a_runner_s_refusal_stands_beside_the_setting_it_names(state: Path) -> None:
    async with configure(state) as hand:
        await hand.press("ctrl+r")
        hand.screen.post_message(StartRefused("one model needs about 90.0 GB: train with a smaller --model-size"))
        await hand.until(lambda: hand.details("training.model_size"))
        refused = hand.details("training.model_size")
        selected = hand.panel.pane.settings.selected
        await hand.press("left")
        mended = hand.details("training.model_size")
        await hand.press("ctrl+r")

        assert refused == ["one model needs about 90.0 GB: train with a smaller --model-size"]
        assert selected == "training.model_size"
        assert mended == []
        assert len(hand.app.started) == 2


@pytest.mark.parametrize(("key", "started"), [("m", ["refuse", "move"]), ("b", ["refuse"])])
async def test_an_earlier_run_is_moved_only_after_asking(state: Path, key: str, started: list[str]) -> None:
    async with configure(state) as hand:
        await hand.press("ctrl+r")
        hand.screen.post_message(StartRefused("x holds a run: give another --output, or --overwrite"))
        await hand.until(lambda: isinstance(hand.app.screen, Question))
        await hand.press(key)

        assert [previous for _, previous in hand.app.started] == started


async def test_a_preset_is_loaded(state: Path) -> None:
    async with configure(state) as hand:
        await hand.press("ctrl+o")
        await hand.until(lambda: isinstance(hand.app.screen, PickScreen))
        await hand.press("slash")
        await hand.type("dedic")
        await hand.press("enter")
        await hand.until(lambda: hand.form.values["resources.policy"] == "dedicated")

        assert hand.item("resources.policy").note == "preset dedicated"
        assert hand.status == "dedicated: 4 settings changed"


async def test_a_settings_file_is_loaded_and_a_wrong_one_refused(state: Path, working_directory: Path) -> None:
    (working_directory / "good.toml").write_text("[run]\nseed = 5\n", encoding="utf-8")
    (working_directory / "wrong.toml").write_text("[run]\nseeds = 5\n", encoding="utf-8")

    async def load(hand: Hand, name: str) -> None:
        await hand.press("ctrl+o")
        await hand.until(lambda: isinstance(hand.app.screen, PickScreen))
        await hand.press("end", "enter")
        await hand.until(lambda: isinstance(hand.app.screen, FilePicker))
        options = hand.app.screen.query_one(OptionList)
        await hand.until(lambda: options.option_count == 3)
        await hand.press("home", "down", *(["down"] if name == "wrong.toml" else []), "enter")

    async with configure(state) as hand:
        await load(hand, "good.toml")
        await hand.until(lambda: hand.form.values["run.seed"] == 5)
        note = hand.item("run.seed").note
        await load(hand, "wrong.toml")
        await hand.until(lambda: "not loaded" in hand.status)

        assert note == "good.toml:2"
        assert "wrong.toml, line 2: unknown key run.seeds; did you mean run.seed?" in hand.status


async def test_settings_are_saved_as_a_preset_and_replaced_only_after_asking(state: Path) -> None:
    async def save(hand: Hand) -> None:
        await hand.press("ctrl+s")
        assert isinstance(hand.app.screen, Ask)
        await hand.type("mine")
        await hand.press("enter")

    path = user_presets() / "mine.toml"
    async with configure(state) as hand:
        await hand.select("training.epochs")
        await hand.press("right")
        await save(hand)
        await hand.until(lambda: hand.status == f"saved: {path}")
        first = read_settings(path).training.epochs
        await hand.press("right")
        await save(hand)
        await hand.until(lambda: isinstance(hand.app.screen, Question))
        await hand.press("enter")
        kept = read_settings(path).training.epochs
        await save(hand)
        await hand.until(lambda: isinstance(hand.app.screen, Question))
        await hand.press("r")
        await hand.until(lambda: read_settings(path).training.epochs != kept)

        assert (first, kept, read_settings(path).training.epochs) == (200, 200, 500)


async def test_the_command_is_shown_and_printed_on_leaving(state: Path) -> None:
    async with configure(state) as hand:
        await hand.press("right", "Y")
        await hand.until(lambda: isinstance(hand.app.screen, Reading))
        drawn = "\n".join(lines(hand))
        await hand.press("enter")

        assert "forge-tui --no-ui --mode parallel" in drawn
        assert hand.app.farewell == "forge-tui --no-ui --mode parallel"
        assert isinstance(hand.app.screen, ConfigureScreen)


def stored(path: Path) -> Path:
    """A run directory with the settings of a run."""
    path.mkdir()
    write_settings(
        Settings(training=TrainingConfig(epochs=7, max_parallel_workers=2), run=RunSettings(output=str(path))),
        path / "settings.toml",
    )
    return path


async def test_a_live_run_s_settings_are_shown_and_stay_as_they_are(state: Path, tmp_path: Path) -> None:
    run = stored(tmp_path / "1123-planner")
    async with configure(state) as hand:
        hand.screen.show(snapshot(run))
        await hand.until(lambda: hand.panel.read_only)
        for key in ("right", "enter", "u", "ctrl+r", "ctrl+o"):
            await hand.press(key)
        workers = hand.item("training.max_parallel_workers")

        assert "Settings of 1123-planner, live: read only" in hand.title
        assert hand.form.values["training.epochs"] == 7
        assert hand.form.values["training.training_mode"] == "series"
        assert (workers.value, workers.details) == ("2", ())
        assert hand.app.started == []
        assert hand.status == "! a live run's settings stay as they are: n makes new settings from them"
        assert hand.app.screen is hand.screen


async def test_n_makes_new_settings_from_a_live_run_s(state: Path, tmp_path: Path) -> None:
    run = stored(tmp_path / "1123-planner")
    async with configure(state) as hand:
        hand.screen.show(snapshot(run))
        await hand.until(lambda: hand.panel.read_only)
        await hand.press("n")
        hand.screen.show(snapshot(run))
        await hand.press("right", "ctrl+r")

        started, _ = hand.app.started[0]
        assert (started.training.epochs, started.training.training_mode) == (7, "parallel")
        assert started.run.output is None


async def test_an_ended_run_gives_the_form_back(state: Path, tmp_path: Path) -> None:
    run = stored(tmp_path / "1123-planner")
    async with configure(state) as hand:
        await hand.press("right")
        hand.screen.show(snapshot(run))
        await hand.until(lambda: hand.panel.read_only)
        hand.screen.show(snapshot(run, RunState.COMPLETED))
        await hand.pilot.pause()

        assert not hand.panel.read_only
        assert hand.form.values["training.training_mode"] == "parallel"


async def test_the_form_is_as_it_was_left_after_another_screen(state: Path) -> None:
    async with configure(state) as hand:
        await hand.press("right", "2")
        await hand.until(lambda: not isinstance(hand.app.screen, ConfigureScreen))
        await hand.press("1")
        await hand.until(lambda: isinstance(hand.app.screen, ConfigureScreen))
        await hand.pilot.pause()

        assert hand.item("training.training_mode").value == "Parallel (Faster, More Memory)"


async def test_hostile_names_are_drawn_as_text(state: Path, working_directory: Path) -> None:
    name = "[b]\x1b[31m表e\u0301" + "x" * 250
    async with configure(state, given=FormSource(flags={"run.output": name})) as hand:
        await hand.select("run.output")
        drawn = "\n".join(lines(hand))

        assert "[b]" in drawn
        assert "\x1b" not in drawn


def test_the_screen_is_imported_without_the_schema() -> None:
    import subprocess
    import sys

    code = "import forge_tui.tui.screens.configure, sys; print([n for n in ('pydantic', 'torch') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
