"""NPY files: one table of numbers, which may be larger than the memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import named
from forge_tui.settings.schema import Settings
from forge_tui.tables.table import listed
from forge_tui.text.figures import memory
from forge_tui.training.data.dataset import (
    Dataset,
    check_sample_count,
    fit_scale,
    normalisation_of,
)
from forge_tui.training.data.fingerprint import split_digest
from forge_tui.training.data.running_scale import Extremes, Moments
from forge_tui.training.data.split import choose_split
from forge_tui.training.data.stored import StoredRows, StoredTable
from forge_tui.training.data.targets import Target, make_target

# Smaller features are kept in memory: reading them again in every epoch takes longer.
_KEPT_BYTES = 256 << 20
_BEGINNING = b"\x93NUMPY"


def npy_dataset(path: Path, settings: Settings, version: int = 2) -> Dataset:
    """Read numbers (N, C), one row per sample. Its columns are x1 … xC; the target is `--target` or the last.

    `targets.is_classification` decides about the target. Features of more than 256 MiB stay on disk: only the target
    and the order of the rows take memory, and scaling by quartiles, which needs sorting, is not possible. Raises
    `DataError` with file, column and row (1 is the first).
    """
    table = _table(path)
    names = [f"x{number}" for number in range(1, table.columns + 1)]
    target = _target_name(path, names, settings.data.target or names[-1])
    chosen = names.index(target)
    columns = [column for column in range(table.columns) if column != chosen]
    is_kept = 4 * table.rows * len(columns) <= _KEPT_BYTES
    scaling = settings.data.scaling if settings.data.normalise else None
    if scaling == "robust" and not is_kept:
        raise DataError(
            f"{named(path)}: --scaling robust sorts each column, and features of more than {memory(_KEPT_BYTES)} stay "
            "on disk; take --scaling standard or minmax"
        )

    def goal_of(values: np.ndarray) -> Target:
        _check_finite(path, [target], 0, values.reshape(-1, 1))
        return make_target(values, f"{path}: column {target!r}", settings.data.task, version=version)

    by_class = version > 1 and settings.data.split in ("auto", "stratified")
    goal = goal_of(table.whole_column(chosen)) if by_class else None
    split = choose_split(settings, table.rows, goal, version)
    fit = Extremes(len(columns)) if scaling == "minmax" else Moments(len(columns))
    values = _scan(path, table, names, columns, chosen, split.train, fit)
    goal = goal or goal_of(values)
    kept = torch.from_numpy(table.whole(columns)) if is_kept else None
    normalisation = None
    if scaling is not None:
        scale = fit.scale() if kept is None or scaling != "robust" else fit_scale(kept[split.train], scaling)
        normalisation = normalisation_of(goal.task, scale, goal.values[split.train])

    def features(rows: Tensor) -> Tensor | StoredRows:
        return StoredRows(table, rows, columns) if kept is None else kept[rows]

    return Dataset(
        task=goal.task,
        train_inputs=features(split.train),
        train_targets=goal.values[split.train],
        validation_inputs=features(split.validation) if len(split.validation) else None,
        validation_targets=goal.values[split.validation] if len(split.validation) else None,
        outputs=goal.outputs,
        features=tuple(names[column] for column in columns),
        target=target,
        classes=goal.classes,
        vocabulary=None,
        normalisation=normalisation,
        split=split.record,
        split_sha256=split_digest(split.train, split.validation, split.test),
        test_inputs=features(split.test) if len(split.test) else None,
        test_targets=goal.values[split.test] if len(split.test) else None,
        validation_rows=split.validation + 1,
        test_rows=split.test + 1,
    )


def _target_name(path: Path, names: Sequence[str], wanted: str) -> str:
    if wanted not in names:
        raise DataError(f"{named(path)} has no column {wanted!r} (--target); there are {listed(names)}")
    return wanted


def open_array(path: Path) -> np.memmap:
    """The array of a file, through a memory map: no number is read yet. Raises `DataError` for what is none."""
    with path.open("rb") as file:
        if file.read(len(_BEGINNING)) != _BEGINNING:
            raise DataError(f"{named(path)} is not a .npy file; write it with numpy.save")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, TypeError, OverflowError, EOFError, SyntaxError, TokenError) as error:
        objects = "Python objects" in str(error)
        why = "it holds Python objects, which are never unpickled" if objects else str(error) or type(error).__name__
        raise DataError(f"{named(path)} is no readable .npy file: {why}; write it again with numpy.save") from None
    if array.dtype.kind not in "fiub":
        raise DataError(f"{named(path)} holds {array.dtype}; features and target are real numbers")
    assert isinstance(array, np.memmap)
    return array


def _table(path: Path) -> StoredTable:
    """The file's table, its header checked; no number is read yet."""
    array = open_array(path)
    if array.ndim != 2:
        raise DataError(
            f"{named(path)} has the shape {array.shape}; give it a row a sample and a column for each feature and the "
            "target, or save features and targets apart with numpy.savez"
        )
    check_sample_count(array.shape[0], str(path))
    if array.shape[1] < 2:
        raise DataError(f"{named(path)} has {array.shape[1]} columns; at least 2 are needed, a feature and the target")
    order: Literal["C", "F"] = "C" if array.flags.c_contiguous else "F"
    return StoredTable(path, (array.shape[0], array.shape[1]), array.dtype, array.offset, order)


def _scan(
    path: Path,
    table: StoredTable,
    names: Sequence[str],
    columns: Sequence[int],
    target: int,
    train: Tensor,
    fit: Moments | Extremes,
) -> np.ndarray:
    """The target (N,); `fit` gets the features of the rows of `train`. Reads the file once."""
    trained = np.zeros(table.rows, dtype=bool)
    trained[train.numpy()] = True
    values: np.ndarray | None = None
    for start, piece in table.in_order():
        _check_finite(path, names, start, piece)
        if values is None:
            values = np.empty(table.rows, dtype=piece.dtype.newbyteorder("="))
        values[start : start + len(piece)] = piece[:, target]
        rows = piece[trained[start : start + len(piece)]][:, columns].astype(np.float32).astype(np.float64)
        if len(rows):
            fit.add(rows)
    assert values is not None
    return values


def _check_finite(path: Path, names: Sequence[str], start: int, piece: np.ndarray) -> None:
    with np.errstate(over="ignore"):
        finite = np.isfinite(piece.astype(np.float32))
    if finite.all():
        return
    row, column = (int(number) for number in np.argwhere(~finite)[0])
    raise DataError(
        f"{named(path)}: column {names[column]!r} has {piece[row, column]} in row {start + row + 1}, and needs finite "
        "numbers within ±3.4e38; fill or remove such rows"
    )
