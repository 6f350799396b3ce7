"""Dialogs of Configure: a way from the plan, an earlier run, presets to load and to save."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.app import App

from forge_tui.errors import ForgeError, SettingsError
from forge_tui.reports.plan_table import time_text, way_text
from forge_tui.text.figures import short_path
from forge_tui.tui.dialogs.file_picker import FilePicker
from forge_tui.tui.dialogs.pick import Option, PickScreen
from forge_tui.tui.dialogs.questions import Ask, Choice, Question
from forge_tui.tui.form.source import Preset, preset_file
from forge_tui.tui.form.source import save_form as save_form
from forge_tui.tui.widgets import cells

if TYPE_CHECKING:
    from forge_tui.protocol.plan import RunPlan
    from forge_tui.tui.app_interface import AppInterface
    from forge_tui.tui.form.form_values import Form

MOVE = "move"
_FROM_FILE = "\0file"
_SAVE_QUESTION = "Save these settings as a preset. Give a name for your own presets, or a path:"


def way_picker(plan: RunPlan) -> PickScreen:
    """Choose one of the measured ways, the best first."""
    width = max(len(way_text(one)) for one in plan.estimates)
    options = [
        Option(str(number), way_text(one).ljust(width), time_text(one)) for number, one in enumerate(plan.estimates)
    ]
    return PickScreen("How long this run would take here, from what was just measured", options, "0")


def earlier_run(reason: str) -> Question:
    """Ask what to do with an earlier run in the output directory."""
    back = Choice("b", "Back: start nothing", "back")
    return Question(reason, (back, Choice("m", "Move its files to previous-N/ in there, and start", MOVE)), "back")


def ask_for_preset(
    app: App[Any], found: tuple[Preset, ...] | BaseException, take: Callable[[Path, str | None], None]
) -> None:
    """Choose a preset or a file; `take` gets its path, and its name if it ships with the package."""
    presets = () if isinstance(found, BaseException) else found
    by_value = {str(preset.path): preset for preset in presets}
    options = [Option(str(preset.path), preset.name, preset.summary) for preset in presets]
    options.append(Option(_FROM_FILE, "a file…", "any settings file (.toml)"))

    def picked_file(path: str | None) -> None:
        if path is not None:
            take(Path.cwd() / Path(path).expanduser(), None)

    def picked(value: str | None) -> None:
        if value == _FROM_FILE:
            here = Path.cwd()
            app.push_screen(FilePicker("Settings file", here / "settings", here, (".toml",)), picked_file)
        elif value is not None:
            preset = by_value[value]
            take(preset.path, preset.name if preset.shipped else None)

    app.push_screen(PickScreen("Load a preset: its values replace those in the form", options), picked)


def ask_and_save(forge: AppInterface, form: Form) -> None:
    """Ask for a name or path and write the form's settings there; confirms before replacing a file."""

    def written(path: Path, result: ForgeError | None) -> None:
        if result is not None:
            forge.tell(f"not saved: {result}".replace("\n", "; "), "error")
        else:
            forge.tell(f"saved: {path}")

    def write(path: Path) -> None:
        forge.call_in_thread(partial(save_form, form, path), then=partial(written, path))

    def answered(path: Path, answer: str | None) -> None:
        if answer == "replace":
            write(path)

    def named(name: str | None) -> None:
        if name is None or not name.strip():
            return
        try:
            path = preset_file(name)
        except SettingsError as error:
            forge.tell(f"not saved: {error}", "error")
            return
        if not path.exists():
            write(path)
            return
        choices = (Choice("b", "Back: keep the file", "back"), Choice("r", "Replace it", "replace"))
        forge.push_screen(
            Question(f"{cells.clean(short_path(path))} exists already.", choices), partial(answered, path)
        )

    forge.push_screen(Ask(_SAVE_QUESTION), named)
