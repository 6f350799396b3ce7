"""NPZ files: arrays of features and of targets."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tokenize import TokenError

import numpy as np
import torch

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import named
from forge_tui.settings.schema import Settings
from forge_tui.tables.declared import check_member
from forge_tui.training.data.dataset import Dataset, assemble, check_sample_count
from forge_tui.training.data.npz_names import Arrays, choose_arrays, features_name
from forge_tui.training.data.split import choose_split, hold_out_test, recorded
from forge_tui.training.data.targets import make_target

# Errors for a malformed archive or header. RuntimeError: it is encrypted, or packed in an unknown way.
_DAMAGE = (
    ValueError, TypeError, OverflowError, EOFError, KeyError, RuntimeError, SyntaxError, TokenError, MemoryError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def npz_dataset(path: Path, settings: Settings, version: int = 2) -> Dataset:
    """Read arrays of features (N, …), flattened to (N, F), and of targets, by their usual names (`npz_names`).

    Arrays for validation are the validation split. Targets: (N,) of classes or numbers (`targets.is_classification`),
    or (N, K) numbers. Nothing is unpickled. Raises `DataError` with file, array and row (1 is the first).
    """
    names, arrays = _arrays(path, settings)
    features, targets = _samples(path, arrays, names.features, names.targets)
    held = 0
    if names.validation_features is not None and names.validation_targets is not None:
        others = _samples(path, arrays, names.validation_features, names.validation_targets)
        if others[0].shape[1:] != features.shape[1:] or others[1].shape[1:] != targets.shape[1:]:
            raise DataError(
                f"{named(path)}: training and validation samples have different shapes ({features.shape[1:]} and "
                f"{others[0].shape[1:]}); they must be alike"
            )
        held = len(others[0])
        features, targets = np.concatenate((features, others[0])), np.concatenate((targets, others[1]))
    found = make_target(targets, f"{path}: array {names.targets!r}", settings.data.task, version=version)
    if held:
        rows = torch.arange(len(features))
        given = recorded("given by the file", (rows[:-held], rows[-held:]), None, None)
        split = hold_out_test(settings, given, found, version)
    else:
        split = choose_split(settings, len(features), found, version)
    made = assemble(
        task=found.task,
        inputs=torch.from_numpy(features),
        targets=found.values,
        outputs=found.outputs,
        features=tuple(f"x{number}" for number in range(1, features.shape[1] + 1)),
        target=names.targets,
        classes=found.classes,
        split=split,
        normalise=settings.data.normalise,
        scaling=settings.data.scaling,
    )
    # Samples of arrays of their own are numbered there.
    return replace(made, validation_rows=split.validation + 1 - (len(features) - held if held else 0))


def _samples(
    path: Path, arrays: dict[str, np.ndarray], of_features: str, of_targets: str
) -> tuple[np.ndarray, np.ndarray]:
    """Features, float32 (N, F), and targets of one split, checked."""
    features, targets = arrays[of_features], arrays[of_targets]
    place = f"{path}: array {of_features!r}"
    if features.ndim == 0 or targets.ndim == 0:
        raise DataError(
            f"{named(path)}: {of_features!r} or {of_targets!r} is a single value; both need one row per sample"
        )
    if len(features) != len(targets):
        raise DataError(
            f"{named(path)}: {of_features!r} has {len(features)} rows and {of_targets!r} {len(targets)}; give both one "
            "row per sample"
        )
    check_sample_count(len(features), str(path))
    table = features.reshape(len(features), -1)
    if table.shape[1] == 0:
        raise DataError(f"{named(place)} has no columns; give at least one feature per sample")
    if table.dtype.kind not in "fiub":
        raise DataError(f"{named(place)} holds {table.dtype}; features are real numbers")
    single = _single(table, place)
    target = f"{path}: array {of_targets!r}"
    if targets.dtype.kind not in "fiubUS":
        raise DataError(f"{named(target)} holds {targets.dtype}; targets are numbers, or text or booleans as classes")
    if targets.ndim > 1 and targets[0].size == 1:
        targets = targets.reshape(len(targets))
    if targets.dtype.kind == "f":
        _check_finite(targets.reshape(len(targets), -1), target)
    if targets.ndim > 1 and targets.dtype.kind in "USb":
        raise DataError(f"{named(target)} has shape {targets.shape}; classes need the shape ({len(targets)},)")
    if targets.dtype.kind == "S":
        targets = np.char.decode(targets, "utf-8", "replace")
    return single, targets


def _arrays(path: Path, settings: Settings) -> tuple[Arrays, dict[str, np.ndarray]]:
    """The names of the arrays, and each by its name."""
    with _opened(path) as file:
        names = choose_arrays(path, file.files, settings.data.features_array, settings.data.target)
        return names, {name: _array(file, name, path) for name in names.all()}


def read_features(path: Path, name: str | None) -> np.ndarray:
    """The array of features of an archive, targets or not; `name` is `data.features_array`. Raises `DataError`."""
    with _opened(path) as file:
        return _array(file, features_name(path, file.files, name), path)


@contextmanager
def _opened(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise DataError(
                    f"{named(path)} is not a .npz archive; write it with numpy.savez(path, features=…, targets=…)"
                )
            yield file
    except _DAMAGE as error:
        if isinstance(error, DataError):
            raise
        pickled = "allow_pickle" in str(error)
        why = "it holds Python objects, which are never unpickled" if pickled else str(error) or type(error).__name__
        raise DataError(
            f"{named(path)} is no readable .npz archive: {why}; save plain arrays with numpy.savez"
        ) from None


def _array(file: np.lib.npyio.NpzFile, name: str, path: Path) -> np.ndarray:
    assert file.zip is not None
    # numpy allocates the memory that a header declares before it reads the data.
    check_member(file.zip, f"{name}.npy" if f"{name}.npy" in file.zip.namelist() else name, path)
    found: np.ndarray = file[name]
    return found


def _single(table: np.ndarray, place: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(table, dtype=np.float32)
    _check_finite(single, place, table)
    return single


def _check_finite(values: np.ndarray, place: str, shown: np.ndarray | None = None) -> None:
    if np.isfinite(values).all():
        return
    wrong = np.argwhere(~np.isfinite(values))
    row, column = (int(number) for number in wrong[0])
    raise DataError(
        f"{named(place)} has {(values if shown is None else shown)[row, column]} in row {row + 1}, column {column + 1} "
        f"({len(wrong)} such in all), and needs finite numbers within ±3.4e38; fill or remove such rows"
    )
