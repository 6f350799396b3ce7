"""Dialogs to choose what is trained, a function in a file, a dataset and its target."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from forge_tui.settings.own_names import function_name, named_function
from forge_tui.settings.training_function import NONE
from forge_tui.tui.dialogs.file_picker import FilePicker
from forge_tui.tui.dialogs.pick import Option, PickScreen
from forge_tui.tui.form.dataset_file import ENDINGS, MADE, SYNTHETIC, DatasetFile
from forge_tui.tui.form.functions import Functions, default_function, functions_in
from forge_tui.tui.form.kinds import Kind
from forge_tui.tui.widgets import cells

if TYPE_CHECKING:
    from forge_tui.tui.app_interface import AppInterface
    from forge_tui.tui.form.form_values import Form


def dataset_picker(name: str) -> FilePicker:
    """Choose a dataset: a generated one, or a file."""
    here = Path.cwd()
    start = here / SYNTHETIC if name in MADE else here / Path(name).expanduser()
    start = start if start.parent.is_dir() else here / SYNTHETIC
    return FilePicker("Dataset", start, here, ENDINGS, list(MADE.items()))


def target_picker(dataset: DatasetFile, target: str | None) -> PickScreen:
    """Choose the column or array to predict."""
    words = {dataset.default_target: "taken where none is chosen"}
    options = [Option(name, name, words.get(name, "")) for name in dataset.columns]
    kind = "Array" if dataset.ending == ".npz" else "Column"
    return PickScreen(f"{kind} of {cells.clean(dataset.name)} to predict", options, target or dataset.default_target)


def kind_picker(kind: Kind) -> PickScreen:
    """Choose what is trained."""
    return PickScreen("What to train", [Option(one, str(one), one.help) for one in Kind], kind)


def picks_function(kind: Kind, name: str) -> bool:
    """Whether a setting names a function, which is chosen from a file."""
    return kind in (Kind.CUSTOM, Kind.FUNCTION) and name == kind.setting


def pick_function(app: AppInterface, form: Form, name: str, put: Callable[[str], None]) -> None:
    """Let the user choose a file, and one of its functions; `put` takes `file.py:function`, or a typed text.

    Files are read in a thread and parsed, never imported.
    """
    here = Path.cwd()
    given = str(form.values[name])
    named = named_function(given) if given != NONE else None
    start = here / Path(named[0] if named is not None and named[0].endswith(".py") else "train.py").expanduser()
    start = start if start.parent.is_dir() else here / "train.py"
    default = default_function(name)

    def chosen(file: str | None) -> None:
        if file is None:
            return
        if not file.endswith(".py"):  # typed: a module, or a file with its function
            put(file)
            return
        read = partial(functions_in, here / Path(file).expanduser())
        app.call_in_thread(read, then=partial(listed, file), subject="functions")

    def listed(file: str, found: Functions | BaseException) -> None:
        if isinstance(found, BaseException) or found.problem is not None:
            app.tell(f"{file}: {found if isinstance(found, BaseException) else found.problem}", "error")
            return
        options = [Option(one.name, one.signature, one.summary) for one in found.functions]
        wanted = function_name(given, default)

        def take(function: str | None) -> None:
            if function is not None:
                put(file if function == default else f"{file}:{function}")

        app.push_screen(PickScreen(f"Functions of {cells.clean(file)}", options, wanted), take)

    picker = FilePicker("Training function" if form.kind is Kind.FUNCTION else "Custom model", start, here, (".py",))
    app.push_screen(picker, chosen)
