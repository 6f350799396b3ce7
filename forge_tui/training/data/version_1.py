"""Tables as forge-tui 0.1 read them, for runs that began then: numbers as they are, every column a feature.

Rules that have changed since: columns of row numbers and constants were features, digits with leading zeros numbers,
0 … K-1 classes with 10 rows on average, and the split was drawn at random for classes too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from forge_tui.errors import DataError
from forge_tui.settings.schema import DataSettings, Settings
from forge_tui.tables.plain_numbers import booleans_in, plain_numbers
from forge_tui.tables.read import read_table
from forge_tui.tables.study import target_position
from forge_tui.tables.table import Table
from forge_tui.training.data.dataset import Dataset, assemble, check_sample_count
from forge_tui.training.data.split import recorded, split_at_random
from forge_tui.training.data.targets import make_target

_READ = DataSettings(header=True, separator=",", decimal=".")


def version_1_dataset(path: Path, settings: Settings) -> Dataset:
    """The dataset of a table as version 1 read it. Raises `DataError` for what version 1 refused."""
    table = read_table(path, _READ)
    check_sample_count(table.rows, str(path))
    goal = target_position(table, settings.data.target)
    places = [position for position in range(len(table.names)) if position != goal]
    inputs = np.empty((table.rows, len(places)), dtype=np.float32)
    for place, position in enumerate(places):
        inputs[:, place] = _feature(table, position)
    found = make_target(_target(table, goal), table.place(goal), version=1)
    fraction, seed = settings.data.validation_fraction, settings.run.seed
    return assemble(
        task=found.task,
        inputs=torch.from_numpy(inputs),
        targets=found.values,
        outputs=found.outputs,
        features=tuple(table.names[position] for position in places),
        target=table.names[goal],
        classes=found.classes,
        split=recorded("random permutation", split_at_random(table.rows, fraction, seed), fraction, seed),
        normalise=settings.data.normalise,
        scaling=settings.data.scaling,
    )


def _feature(table: Table, position: int) -> np.ndarray:
    values = plain_numbers(table.column(position))
    if values.null_count() or not bool(values.is_finite().all()):
        raise DataError(f"{table.place(position)} has other than finite numbers, which it had not when the run began")
    return values.to_numpy()


def _target(table: Table, position: int) -> np.ndarray:
    import polars

    raw = table.column(position)
    booleans = booleans_in(raw)
    if booleans is not None:
        return booleans.to_numpy()
    if raw.dtype == polars.String:
        for dtype in (polars.Int64, polars.Float64):
            numbers = raw.cast(dtype, strict=False)
            if not numbers.null_count():
                return numbers.to_numpy()
    elif raw.dtype.is_numeric():
        narrow = raw.cast(polars.Int64, strict=False) if raw.dtype.is_integer() else raw
        return (raw.cast(polars.Float64) if narrow.null_count() or raw.dtype.is_decimal() else narrow).to_numpy()
    return np.asarray([str(value) for value in raw.to_list()], dtype=str)
