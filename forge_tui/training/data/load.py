"""From the settings to the dataset they name."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forge_tui.errors import DataError
from forge_tui.settings.schema import DataSettings, Settings
from forge_tui.training.data.class_weights import balanced
from forge_tui.training.data.csv_file import csv_dataset
from forge_tui.training.data.dataset import Dataset
from forge_tui.training.data.modular import modular_dataset
from forge_tui.training.data.npy_file import npy_dataset
from forge_tui.training.data.npz_file import npz_dataset
from forge_tui.training.data.own_data import own_dataset
from forge_tui.training.data.parquet_file import parquet_dataset
from forge_tui.training.data.synthetic import synthetic_dataset
from forge_tui.training.data.text_file import text_dataset

_MADE: dict[str, Callable[[DataSettings, int], Dataset]] = {
    "synthetic": synthetic_dataset,
    "modular": modular_dataset,
}
_READERS: dict[str, Callable[[Path, Settings], Dataset]] = {
    ".csv": csv_dataset,
    ".parquet": parquet_dataset,
    ".npy": npy_dataset,
    ".npz": npz_dataset,
    ".txt": text_dataset,
}


def load_dataset(settings: Settings, working_directory: Path, own: Callable[[], Any] | None = None) -> Dataset:
    """Read `training.dataset`; a relative path counts from `working_directory`. The split is fixed by `run.seed`.

    `own` is the user's own function where the settings name one. Raises `DataError` with the file and the place in it,
    `SettingsError` for class weights without classes.
    """
    found = _read(settings, working_directory) if own is None else own_dataset(own(), settings)
    return balanced(found) if settings.data.class_weights == "balanced" else found


def _read(settings: Settings, working_directory: Path) -> Dataset:
    name = settings.training.dataset
    if name in _MADE:
        return _MADE[name](settings.data, settings.run.seed)
    path = working_directory / Path(name).expanduser()
    known, made = ", ".join(_READERS), ", ".join(f"`{word}`" for word in _MADE)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"--dataset {name}: unknown kind of dataset; give {made} or a file that ends in {known}, or a function of "
            "your own (module:function or file.py:function)"
        )
    try:
        _check_file(path, known, working_directory)
        return reader(path, settings)
    except OSError as error:
        hint = "; check its permissions" if error.errno in (errno.EACCES, errno.EPERM) else ""
        raise DataError(f"--dataset {path} cannot be read: {error.strerror or error}{hint}") from None


def _check_file(path: Path, known: str, working_directory: Path) -> None:
    """Raise `DataError` unless it is a file: to open a pipe would wait for ever. Raises `OSError`."""
    if not path.exists():
        raise DataError(f"--dataset {path}: there is no such file; check the path (it counts from {working_directory})")
    if path.is_dir():
        raise DataError(f"--dataset {path} is a directory; give a file that ends in {known}")
    if not path.is_file():
        raise DataError(f"--dataset {path} is no file but a pipe, a socket or a device; save the data as a file")
