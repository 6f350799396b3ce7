"""Configure asks first what to train: files and functions are chosen with the keyboard, and nothing is imported."""

from __future__ import annotations

from pathlib import Path

import pytest
from configuring import Hand, configure, lines
from textual.widgets import OptionList

from forge_tui.tui.dialogs.file_picker import FilePicker
from forge_tui.tui.dialogs.pick import PickScreen
from forge_tui.tui.form.kinds import KIND, Kind
from forge_tui.tui.form.settings_rows import Item

pytestmark = pytest.mark.usefixtures("working_directory")

LOOP = '''
raise SystemExit("imported")

def train(trial):
    """The default one."""

def gan(trial, lr=1e-3):
    """Two optimizers."""
'''


def titles(hand: Hand) -> set[str]:
    """The titles of the settings that the list has."""
    return {row.title for row in hand.panel.pane.settings.rows if isinstance(row, Item)}


async def choose(hand: Hand, words: str) -> None:
    """Choose the line of the open dialog that contains `words`."""
    options = hand.app.screen.query_one(OptionList)

    def places() -> list[int]:
        prompts = [str(options.get_option_at_index(place).prompt) for place in range(options.option_count)]
        return [place for place, prompt in enumerate(prompts) if words in prompt]

    await hand.until(places)
    options.highlighted = places()[0]
    await hand.press("enter")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_first_row_is_what_to_train_and_the_others_go_by_it(state: Path, size: tuple[int, int]) -> None:
    async with configure(state, size) as hand:
        await hand.press("f", "home")
        built_in, first = titles(hand), hand.item(KIND)
        await hand.press("right", "right")
        function = titles(hand)
        about = "\n".join(lines(hand))

        assert (first.value, first.note) == ("built-in model", "1 of 4")
        assert {"Train", "Model type", "Model size", "Batch size", "Dataset"} <= built_in
        assert "Training function" not in built_in
        assert {"Train", "Training function", "Mode", "Epochs", "Models"} <= function
        assert not {"Model type", "Model size", "Batch size", "Dataset"} & function
        assert "Your training loop, a function of a trial" in about
        assert "1 to fix" in about


async def test_a_training_function_is_chosen_from_the_functions_of_a_file(state: Path, working_directory: Path) -> None:
    (working_directory / "loop.py").write_text(LOOP, encoding="utf-8")
    async with configure(state) as hand:
        await hand.press("home", "enter")
        assert isinstance(hand.app.screen, PickScreen)
        await choose(hand, "training function")
        await hand.press("down", "enter")
        assert isinstance(hand.app.screen, FilePicker)
        await choose(hand, "loop.py")
        await hand.until(lambda: isinstance(hand.app.screen, PickScreen))
        drawn = "\n".join(lines(hand))
        await choose(hand, "gan(")
        await hand.until(lambda: hand.form.parameters)
        default = hand.item("model.lr")
        await hand.select("model.lr")
        await hand.press("enter")
        await hand.type("0.5")
        await hand.press("enter", "ctrl+r")

        assert "gan(trial, lr=0.001)" in drawn
        assert "Two optimizers." in drawn
        assert hand.form.values["training.train"] == "loop.py:gan"
        ((started, _),) = hand.app.started
        assert (started.training.train, started.model) == ("loop.py:gan", {"lr": 0.5})
        assert (default.title, default.value) == ("lr", "0.001")
        assert hand.item("model.lr").note == "set here"


async def test_a_custom_model_is_chosen_too_and_the_default_function_needs_no_name(
    state: Path, working_directory: Path
) -> None:
    (working_directory / "net.py").write_text("def model(features, classes): ...\n", encoding="utf-8")
    async with configure(state) as hand:
        await hand.press("home", "right", "down", "enter")
        await choose(hand, "net.py")
        await hand.until(lambda: isinstance(hand.app.screen, PickScreen))
        await choose(hand, "model(")
        await hand.until(lambda: hand.form.kind is Kind.CUSTOM and hand.details("training.model_type") == [])

        assert hand.form.values["training.model_type"] == "net.py"
        assert hand.item("training.epochs").value == "100"


async def test_a_file_that_cannot_be_parsed_and_a_typed_module(state: Path, working_directory: Path) -> None:
    (working_directory / "loop.py").write_text("def train(:\n", encoding="utf-8")
    async with configure(state) as hand:
        await hand.press("home", "right", "right", "down", "enter")
        await choose(hand, "loop.py")
        await hand.until(lambda: "line 1" in hand.status)
        await hand.press("enter", "slash")
        await hand.type("loops:train_gan")
        await hand.press("enter")

        assert hand.form.values["training.train"] == "loops:train_gan"


async def test_what_is_set_for_another_kind_comes_back(state: Path) -> None:
    async with configure(state) as hand:
        await hand.select("training.batch_size")
        await hand.press("right", "home", "left")
        hidden = hand.form.settings if not hand.form.errors() else None
        await hand.press("right")

        assert hidden is None
        assert hand.form.settings().training.batch_size == 64


async def test_a_command_is_typed_and_started(state: Path) -> None:
    async with configure(state) as hand:
        await hand.press("home", "left", "down", "enter")
        await hand.type("python train.py {seed}")
        await hand.press("enter")
        models, epochs = hand.item("run.models").value, hand.item("training.epochs").value
        await hand.press("ctrl+r")

        assert hand.app.started, hand.status
        ((started, _),) = hand.app.started
        assert started.run.command == ("python", "train.py", "{seed}")
        assert (models, epochs, started.run.models, started.training.epochs) == ("3", "not set", 3, None)
        assert hand.item("run.command").value == "python train.py {seed}"
