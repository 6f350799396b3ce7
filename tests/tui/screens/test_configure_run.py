"""Configure: starting, presets, the command, and a live run's settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from configuring import Hand, configure, lines, snapshot, stored
from run_directories import RunMaker
from textual.widgets import OptionList
from tui_host import until

from forge_tui.client.run import Run
from forge_tui.errors import DataError
from forge_tui.protocol.phases import RunState
from forge_tui.protocol.plan import Estimate, RunPlan, Way
from forge_tui.settings.files import read_settings
from forge_tui.settings.schema import Settings
from forge_tui.tui.app import ForgeApp
from forge_tui.tui.choices import UiChoices
from forge_tui.tui.dialogs.file_picker import FilePicker
from forge_tui.tui.dialogs.pick import PickScreen
from forge_tui.tui.dialogs.questions import Ask, Question, Reading
from forge_tui.tui.form.source import FormSource, user_presets
from forge_tui.tui.messages import StartRefused
from forge_tui.tui.screens.configure import ConfigureScreen
from forge_tui.tui.terminal.terminal_app import ending

pytestmark = pytest.mark.usefixtures("working_directory")


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
    async with configure(state) as hand:
        assert hand.form.values["training.training_mode"] == "parallel"
        assert hand.item("training.training_mode").note == "as last time"
        assert hand.form.values["training.epochs"] == 7
        assert hand.title.startswith(" 2 settings as last time: U puts all defaults back")
    async with configure(state, given=FormSource(flags={"run.seed": "9"})) as hand:
        assert (hand.form.values["training.epochs"], hand.form.values["run.seed"]) == (100, 9)
        assert "last time" not in hand.title


async def test_u_puts_all_defaults_back_at_once_and_what_was_there_again(state: Path) -> None:
    UiChoices(state).put("form", {"training.epochs": 7})
    async with configure(state) as hand:
        await hand.select("training.batch_size")
        await hand.press("right", "U")
        reset, told, title = hand.form, hand.status, hand.title
        await hand.press("U")
        back = hand.form
        await hand.press("U")

        assert reset.changed() == ()
        assert told == "all settings are at their defaults; U again undoes this"
        assert "all defaults" in title
        assert "last time" not in title
        assert (back.values["training.epochs"], back.values["training.batch_size"]) == (7, 64)
    async with configure(state) as hand:  # reset is reset: the last form is forgotten
        assert hand.form.changed() == ()


async def test_attached_to_a_run_the_form_has_no_values_of_last_time(
    state: Path, maker: RunMaker, working_directory: Path
) -> None:
    UiChoices(state).put("form", {"training.epochs": 7})
    app = ForgeApp(run=Run(maker.make("old", RunState.COMPLETED)), choices=UiChoices(state), monitor=False)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.controller.snapshot is not None)
        await pilot.press("1")
        await until(pilot, lambda: app.draft.form is not None)

        assert app.draft.form is not None
        assert app.draft.form.changed() == ()


async def test_start_is_refused_with_reasons_and_leads_to_the_first_field_to_mend(state: Path) -> None:
    async with configure(state) as hand:
        await hand.select("training.epochs")
        await hand.press("enter", "0", "enter", "G", "ctrl+r")

        assert hand.app.started == []
        assert hand.status == "! not started: Epochs: must be at least 1"
        assert hand.panel.pane.settings.selected == "training.epochs"
        assert "1 to fix" in hand.title


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
        hand.screen.post_message(StartRefused("one model needs about 90.0 GiB: train with a smaller --model-size"))
        await hand.until(lambda: hand.panel.pane.settings.selected == "training.model_size")
        refused = hand.details("training.model_size")
        selected = hand.panel.pane.settings.selected
        await hand.press("left")
        mended = hand.details("training.model_size")
        await hand.press("ctrl+r")

        assert refused == ["one model needs about 90.0 GiB: train with a smaller --model-size"]
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


async def test_the_command_is_shown_and_printed_on_leaving_as_it_is_then(state: Path) -> None:
    async with configure(state) as hand:
        await hand.press("right", "Y")
        await hand.until(lambda: isinstance(hand.app.screen, Reading))
        drawn = "\n".join(lines(hand))
        await hand.press("enter")
        shown = ending(hand.app)
        await hand.select("training.epochs")
        await hand.press("enter", "7", "enter")

        assert "forge-tui --no-ui --mode parallel" in drawn
        assert shown == "forge-tui --no-ui --mode parallel\n"
        assert ending(hand.app) == "forge-tui --no-ui --epochs 7 --mode parallel\n"
        assert isinstance(hand.app.screen, ConfigureScreen)


async def test_the_command_of_a_live_run_stays_that_of_the_run(state: Path, tmp_path: Path) -> None:
    run = stored(tmp_path / "1123-planner")
    async with configure(state) as hand:
        hand.screen.show(snapshot(run))
        await hand.until(lambda: hand.panel.read_only)
        await hand.press("Y", "enter", "n", "right")

        assert hand.form.values["training.training_mode"] == "parallel"
        assert ending(hand.app) == f"forge-tui --no-ui --epochs 7 --workers 2 --output {run}\n"


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
        assert (workers.value, workers.details, workers.note) == ("2", (), "w changes them")
        assert hand.app.started == []
        assert hand.status == "! a live run's settings cannot be changed: n makes new settings from them"
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


def test_the_screen_is_imported_without_the_schema() -> None:
    import subprocess
    import sys

    code = "import forge_tui.tui.screens.configure, sys; print([n for n in ('pydantic', 'torch') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


PLAN = RunPlan(
    estimates=(
        Estimate(Way("parallel", 2, 4, 1), 12.34, 4_000.0, 1 << 28),
        Estimate(Way("series", 1, 1, 2), 250.0, 1_000.0, 1 << 27),
    ),
    reason="fastest of 2 measured ways",
    measured_seconds=3.0,
)


async def test_p_measures_and_the_way_chosen_is_put_into_the_form(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[Settings] = []

    def plan(settings: Settings) -> RunPlan:
        measured.append(settings)
        return PLAN

    monkeypatch.setattr("forge_tui.client.plan", plan)
    async with configure(state) as hand:
        await hand.press("P")
        await hand.until(lambda: isinstance(hand.app.screen, PickScreen))
        drawn = "\n".join(lines(hand))
        assert "parallel: 2 workers of 4 models, 1 thread each" in drawn
        assert "12.3 s" in drawn
        assert "4:10" in drawn
        await hand.press("down", "enter")
        assert hand.form.values["training.training_mode"] == "series"
        assert hand.form.values["resources.threads"] == 2
        await hand.press("P")
        await hand.until(lambda: isinstance(hand.app.screen, PickScreen))
        await hand.press("enter")
        assert hand.form.values["engine.fuse"] == 4
        assert hand.form.values["training.max_parallel_workers"] == 2
    assert measured[0].training.training_mode == "series"


async def test_what_cannot_be_measured_is_told(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def plan(settings: Settings) -> RunPlan:
        raise DataError("nowhere.csv: no such file")

    monkeypatch.setattr("forge_tui.client.plan", plan)
    async with configure(state) as hand:
        await hand.press("P")
        await hand.until(lambda: "not measured: nowhere.csv: no such file" in hand.status)
        await hand.select("training.epochs")
        await hand.press("enter", "0", "up")
        await hand.press("P")
        assert "not measured: Epochs: must be at least 1" in hand.status
