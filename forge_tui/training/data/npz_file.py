"""NPZ files: an array of features and one of targets."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError

import numpy as np
import torch

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import named
from forge_tui.settings.schema import Settings
from forge_tui.tables.declared import check_member
from forge_tui.tables.table import listed
from forge_tui.training.data.dataset import Dataset, assemble, check_sample_count
from forge_tui.training.data.split import choose_split
from forge_tui.training.data.targets import make_target

FEATURES = "features"
TARGETS = "targets"
# Errors for a malformed archive or header. RuntimeError: it is encrypted, or packed in an unknown way.
_DAMAGE = (
    ValueError, TypeError, OverflowError, EOFError, KeyError, RuntimeError, SyntaxError, TokenError, MemoryError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def npz_dataset(path: Path, settings: Settings, version: int = 2) -> Dataset:
    """Read arrays `features` (N, …), flattened to (N, F), and `targets`, or the one that `--target` names.

    Targets: (N,) of classes or numbers (`targets.is_classification`), or (N, K) numbers. Nothing is unpickled.
    Raises `DataError` with file, array and row (1 is the first).
    """
    wanted = settings.data.target or TARGETS
    arrays = _arrays(path, wanted)
    features, targets = arrays[FEATURES], arrays[wanted]
    place = f"{path}: array {FEATURES!r}"
    if features.ndim == 0 or targets.ndim == 0:
        raise DataError(f"{named(path)}: {FEATURES!r} or {wanted!r} is a single value; both need one row per sample")
    if len(features) != len(targets):
        raise DataError(
            f"{named(path)}: {FEATURES!r} has {len(features)} rows and {wanted!r} {len(targets)}; give both one row "
            "per sample"
        )
    check_sample_count(len(features), str(path))
    table = features.reshape(len(features), -1)
    if table.shape[1] == 0:
        raise DataError(f"{named(place)} has no columns; give at least one feature per sample")
    if table.dtype.kind not in "fiub":
        raise DataError(f"{named(place)} holds {table.dtype}; features are real numbers")
    single = _single(table, place)
    target = f"{path}: array {wanted!r}"
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
    found = make_target(targets, target, settings.data.task, version=version)
    return assemble(
        task=found.task,
        inputs=torch.from_numpy(single),
        targets=found.values,
        outputs=found.outputs,
        features=tuple(f"x{number}" for number in range(1, single.shape[1] + 1)),
        target=wanted,
        classes=found.classes,
        split=choose_split(settings, len(single), found, version),
        normalise=settings.data.normalise,
        scaling=settings.data.scaling,
    )


def _arrays(path: Path, wanted: str) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise DataError(
                    f"{named(path)} is not a .npz archive; write it with numpy.savez(path, features=…, targets=…)"
                )
            for name, why in ((FEATURES, ""), (wanted, " (--target)" if wanted != TARGETS else "")):
                if name not in file.files:
                    raise DataError(
                        f"{named(path)} has no array {name!r}{why}; there are {listed(file.files) or 'none'}"
                    )
            if wanted == FEATURES:
                raise DataError(
                    f"{named(path)}: --target {named(wanted)} names the features; name the array to predict"
                )
            assert file.zip is not None
            members = set(file.zip.namelist())
            for name in (FEATURES, wanted):
                # numpy allocates the memory that a header declares before it reads the data.
                check_member(file.zip, f"{name}.npy" if f"{name}.npy" in members else name, path)
            return {name: file[name] for name in (FEATURES, wanted)}
    except _DAMAGE as error:
        if isinstance(error, DataError):
            raise
        pickled = "allow_pickle" in str(error)
        why = "it holds Python objects, which are never unpickled" if pickled else str(error) or type(error).__name__
        raise DataError(
            f"{named(path)} is no readable .npz archive: {why}; save plain arrays with numpy.savez"
        ) from None


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
