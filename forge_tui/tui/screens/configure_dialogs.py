"""What Configure asks: a dataset, its target column, a preset to load, a name to save under."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.screen import Screen

from forge_tui.errors import SettingsError
from forge_tui.tui.dataset_file import ENDINGS, SYNTHETIC, DatasetFile
from forge_tui.tui.form_source import Preset, preset_file
from forge_tui.tui.form_source import save as save_form
from forge_tui.tui.screens.ask_text import AskTextScreen
from forge_tui.tui.screens.file_picker import FilePicker
from forge_tui.tui.screens.pick import Choice, PickScreen

if TYPE_CHECKING:
    from forge_tui.tui.form import Form

MOVE = "move"
_FROM_FILE = "\0file"
_WRITE = "write"

Tell = Callable[..., None]


def dataset_picker(name: str) -> FilePicker:
    """Choose a dataset: `synthetic` or a file."""
    here = Path.cwd()
    start = here / SYNTHETIC if name == SYNTHETIC else here / Path(name).expanduser()
    start = start if start.parent.is_dir() else here / SYNTHETIC
    return FilePicker("Dataset", start, here, ENDINGS, [(SYNTHETIC, "made from the seed; needs no file")])


def target_picker(dataset: DatasetFile, target: str | None) -> PickScreen:
    """Choose the column or array to predict."""
    words = {dataset.default_target: "taken where none is chosen"}
    choices = [Choice(name, name, words.get(name, "")) for name in dataset.columns]
    kind = "Column" if dataset.ending == ".csv" else "Array"
    return PickScreen(f"{kind} of {dataset.name} to predict", choices, target or dataset.default_target)


def earlier_run(reason: str) -> PickScreen:
    """Ask what to do with an earlier run in the output directory."""
    choices = [
        Choice("back", "Back", "start nothing; choose another output"),
        Choice(MOVE, "Move", "move the earlier run's files to previous-N/ in it, and start"),
    ]
    return PickScreen(reason, choices)


def load(
    screen: Screen[Any], found: tuple[Preset, ...] | BaseException, take: Callable[[Path, str | None], None]
) -> None:
    """Choose one of the presets that were found, or a file; `take` gets its path, and its name if it ships with us."""
    presets = () if isinstance(found, BaseException) else found
    by_value = {str(preset.path): preset for preset in presets}
    choices = [Choice(str(preset.path), preset.name, preset.summary) for preset in presets]
    choices.append(Choice(_FROM_FILE, "a file…", "any settings file (.toml)"))

    def picked_file(path: str | None) -> None:
        if path is not None:
            take(Path.cwd() / Path(path).expanduser(), None)

    def picked(value: str | None) -> None:
        if value == _FROM_FILE:
            here = Path.cwd()
            screen.app.push_screen(FilePicker("Settings file", here / "settings", here, (".toml",)), picked_file)
        elif value is not None:
            preset = by_value[value]
            take(preset.path, preset.name if preset.shipped else None)

    screen.app.push_screen(PickScreen("Load a preset: its values replace those in the form", choices), picked)


def save(screen: Screen[Any], form: Form, tell: Tell) -> None:
    """Ask for a name or path and write the form's settings there; asks again before a file is replaced."""
    app: Any = screen.app

    def written(path: Path, result: Any) -> None:
        if isinstance(result, BaseException):
            tell(f"not saved: {result}".replace("\n", "; "), severity="error")
        else:
            tell(f"saved: {path}; Ctrl+O or --settings loads it")

    def write(path: Path) -> None:
        app.call_in_thread(save_form, form, path, then=lambda result: written(path, result))

    def named(name: str | None) -> None:
        if name is None:
            return
        try:
            path = preset_file(name)
        except SettingsError as error:
            tell(f"not saved: {error}", severity="error")
            return
        if not path.exists():
            write(path)
            return
        choices = [Choice("back", "Back", "keep the file"), Choice(_WRITE, "Replace", "write these settings over it")]
        question = PickScreen(f"{path} exists already", choices)
        app.push_screen(question, lambda answer: write(path) if answer == _WRITE else None)

    hint = "A bare name is saved among your own presets; a path is taken as it is."
    app.push_screen(AskTextScreen("Save these settings as a preset: name or path", hint), named)
