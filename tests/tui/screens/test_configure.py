"""Configure: moving, choosing and editing settings, by their keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from configuring import configure, lines
from textual.widgets import Input, OptionList

from forge_tui.tui.dialogs.file_picker import FilePicker
from forge_tui.tui.dialogs.pick import PickScreen
from forge_tui.tui.form.fields import sections
from forge_tui.tui.form.kinds import KIND, Kind
from forge_tui.tui.form.source import FormSource

pytestmark = pytest.mark.usefixtures("working_directory")


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_mode_and_workers_come_first_and_nothing_is_cut(state: Path, size: tuple[int, int]) -> None:
    async with configure(state, size) as hand:
        await hand.press("right")
        drawn = "\n".join(lines(hand))

        for text in (
            "Train",
            "built-in model",
            ">* Mode",
            "Parallel (Faster, More Memory)",
            "Workers",
            "Target column",
        ):
            assert text in drawn
        assert "2 instead of 3: CPU limit" in drawn
        assert "Ctrl+R Start" in drawn.splitlines()[-1]
        assert all(len(line) == size[0] for line in drawn.splitlines())


async def test_arrows_and_letters_move(state: Path) -> None:
    async with configure(state) as hand:
        settings = hand.panel.pane.settings
        seen = []
        await hand.press("f")
        for key in ("down", "j", "k", "up", "G", "g", "end", "home", "pagedown", "pageup"):
            await hand.press(key)
            seen.append(settings.selected)

    workers, last = "training.max_parallel_workers", sections(Kind.BUILT_IN)[-1].keys[-1].key
    assert seen[:8] == [workers, "run.models", workers, "training.training_mode", last, KIND, last, KIND]
    assert seen[8] not in (KIND, last)
    assert seen[9] == KIND


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
        await hand.press("down")

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


async def test_several_values_are_typed_as_a_sweep(state: Path) -> None:
    rate, optimizer = "training.learning_rate", "training.optimizer"
    async with configure(state) as hand:
        await hand.select(rate)
        await hand.press("V")
        await hand.type(",0.01,x")
        wrong = hand.details(rate)
        await hand.press("backspace", "0", ".", "1", "enter")
        item, models = hand.item(rate), hand.details("run.models")
        await hand.select(optimizer)
        await hand.press("V")
        await hand.type(",sgd")
        await hand.press("enter")
        words = hand.item(optimizer)
        await hand.press("enter", "escape", "right")  # opens its values again; the arrows leave them as they are
        kept = hand.form.swept(optimizer)
        told = hand.status
        await hand.press("u")

        assert wrong == ['"x" must be a number']
        assert (item.value, item.note, item.changed) == ("0.001, 0.01, 0.1", "swept: 3 values", True)
        assert models == ["3 configs (swept) × 3 seeds: 9 models"]
        assert (words.value, words.note) == ("adam, sgd", "swept: 2 values")
        assert kept == ["adam", "sgd"]
        assert told == "it is swept: Enter edits its values, u restores the default"
        assert hand.form.swept(optimizer) is None
        assert hand.form.settings().sweep == {rate: (0.001, 0.01, 0.1)}


async def test_a_range_is_typed_for_a_search(state: Path) -> None:
    rate, method = "training.learning_rate", "search.method"
    async with configure(state) as hand:
        await hand.select(rate)
        await hand.press("V", *["backspace"] * 5)
        await hand.type("1e-4..1e-1:log")
        await hand.press("enter")
        without = hand.details(rate)
        await hand.select(method)
        await hand.press("right")  # random
        await hand.select(rate)
        await hand.press("enter")  # opens its range again
        words = hand.panel.query_one("#form-help").text
        await hand.press("escape", "right")
        item, models, told = hand.item(rate), hand.details("run.models"), hand.status

        assert without == ["a range is searched: set the search method below to random or tpe, or list values"]
        assert "a range such as 1e-5..1e-1:log" in words
        assert (item.value, item.note, item.changed) == ("1e-4..1e-1:log", "searched", True)
        assert models == ["40 trials (searched) × 1 seed: 40 models"]
        assert told == "it is searched: Enter edits its values, u restores the default"
        assert hand.form.values[rate] == 0.001, "what was there before the range stays beneath it"
        assert hand.form.settings().search.space == {rate: "1e-4..1e-1:log"}


async def test_what_cannot_be_swept_says_so(state: Path) -> None:
    async with configure(state) as hand:
        await hand.select("training.epochs")
        await hand.press("V")

        assert hand.status == "! training.epochs cannot be swept: all models of a run have as many epochs"
        assert not hand.panel.pane.is_open


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
        await hand.until(lambda: options.option_count)
        prompts = [str(options.get_option_at_index(place).prompt) for place in range(options.option_count)]
        await hand.press(*["j"] * prompts.index("data/"), "enter")
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

        assert names == ["synthetic", "modular", "../", "flowers.csv"]
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


async def test_hostile_names_are_drawn_as_text(state: Path, working_directory: Path) -> None:
    name = "[b]\x1b[31m表e\u0301" + "x" * 250
    async with configure(state, given=FormSource(flags={"run.output": name})) as hand:
        await hand.select("run.output")
        drawn = "\n".join(lines(hand))

        assert "[b]" in drawn
        assert "\x1b" not in drawn
