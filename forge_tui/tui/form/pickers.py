"""Dialogs to choose a dataset and its target."""

from __future__ import annotations

from pathlib import Path

from forge_tui.tui.dialogs.file_picker import FilePicker
from forge_tui.tui.dialogs.pick import Option, PickScreen
from forge_tui.tui.form.dataset_file import ENDINGS, MADE, SYNTHETIC, DatasetFile
from forge_tui.tui.widgets import cells


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
    kind = "Column" if dataset.ending == ".csv" else "Array"
    return PickScreen(f"{kind} of {cells.clean(dataset.name)} to predict", options, target or dataset.default_target)
