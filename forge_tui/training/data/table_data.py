"""Tables as datasets: studied, split, and encoded by what the training split has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from forge_tui.errors import DataError, SettingsError
from forge_tui.safe_io.printing import named
from forge_tui.settings.schema import Settings
from forge_tui.tables.column_encodings import NumberEncoding
from forge_tui.tables.declared import require_memory
from forge_tui.tables.encoder import Encoder
from forge_tui.tables.kinds import first_row, texts_of
from forge_tui.tables.read import read_table
from forge_tui.tables.split_method import GIVEN_APART
from forge_tui.tables.study import Study, study
from forge_tui.tables.table import Table, listed, one_below_the_other
from forge_tui.training.data.dataset import Dataset, assemble
from forge_tui.training.data.fingerprint import split_digest
from forge_tui.training.data.split import Split, choose_split, hold_out_test, recorded
from forge_tui.training.data.targets import Target, classes_of, numbers_of
from forge_tui.training.data.version_1 import version_1_dataset

_HELD_WORDS = ("validation", "valid", "val", "test", "true", "yes", "1")
_TRAINED_WORDS = ("train", "training", "false", "no", "0")
# A column is reported if fewer than this share of its different numbers are left as 32-bit floats.
_COLLAPSED, _COMPARED = 0.9, 50_000


def table_file_dataset(path: Path, settings: Settings, version: int, encoder: Encoder | None = None) -> Dataset:
    """The dataset of a table in a file. `version`: how it is read (`data.load`). Raises `DataError`, `OSError`."""
    if version == 1:
        return version_1_dataset(path, settings)
    table, held = read_table(path, settings.data), validation_file(path, settings)
    if held is None or (settings.data.validation or "") in table.names:
        return table_dataset(table, settings, encoder)
    if not held.is_file():
        raise DataError(
            f"data.validation = {named(settings.data.validation or '')}: {named(path)} has no such column, and there "
            f"is no such file; there are the columns {listed(table.names)}"
        )
    both = one_below_the_other(table, read_table(held, settings.data))
    settings = replace(settings, data=replace(settings.data, validation=None))
    return table_dataset(both, settings, encoder, held_from=table.rows)


def validation_file(path: Path, settings: Settings) -> Path | None:
    """The file that `data.validation` names unless it is a column, relative to the table's file."""
    name = settings.data.validation
    return None if name is None else path.parent / Path(name).expanduser()


def table_dataset(
    table: Table, settings: Settings, encoder: Encoder | None = None, held_from: int | None = None
) -> Dataset:
    """The dataset of any table; `encoder` is that of a model trained before (None: the training rows' own).

    `held_from`: the row, from 0, from which all rows are for validation (None: the split is drawn). Rows without a
    target are left out. Raises `DataError` with source, column and row (1 is the first).
    """
    found = study(table, settings.data)
    target = _target(found)
    if held_from is None:
        split = _split(found, target, settings)
    else:
        split = hold_out_test(settings, _split_at(found, held_from), target)
    own = Encoder.fit(found.used, split.train.numpy(), settings.data.missing)
    encoder = encoder or own
    width = len(encoder.outputs)
    require_memory(
        8 * len(found.rows) * width, f"{table.source}: its {width:,} encoded columns", "free some, or take fewer rows"
    )
    is_own = encoder == own
    encoded = encoder.encode_columns(found.used) if is_own else encoder.encode(table)[found.rows]
    inputs = torch.from_numpy(encoded)
    made = assemble(
        task=target.task,
        inputs=inputs,
        targets=target.values,
        outputs=target.outputs,
        features=encoder.features,
        target=found.target.name,
        classes=target.classes,
        split=split,
        normalise=settings.data.normalise,
        scaling=settings.data.scaling,
        unscaled=torch.tensor(encoder.is_indicator),
    )
    report = found.report(split.record["method"], _warnings(found, made, encoder, split.train) if is_own else [])
    rows = torch.from_numpy(found.rows)  # of the file: those without a target count too
    return replace(
        made,
        encoder=encoder,
        table=report,
        split_sha256=split_digest(rows[split.train], rows[split.validation], rows[split.test]),
        # Rows of a table of their own are numbered there.
        validation_rows=rows[split.validation] + 1 - (held_from or 0),
        test_rows=rows[split.test] + 1,
    )


def _target(found: Study) -> Target:
    goal = found.target
    if goal.classes is not None:
        return classes_of(goal.values, goal.classes)
    return numbers_of(goal.values.reshape(-1, 1), f"{found.table.source}: column {goal.name!r}")


def _split(found: Study, target: Target, settings: Settings) -> Split:
    if found.validation is not None:
        return hold_out_test(settings, _given_split(found, settings), target)
    groups = None
    if found.group is not None:
        # Rows without a group are one, too.
        groups = np.unique(texts_of(found.group).fill_null("").to_numpy(), return_inverse=True)[1].reshape(-1)
    return choose_split(settings, len(found.rows), target, 2, groups)


def _split_at(found: Study, row: int) -> Split:
    held = torch.from_numpy(found.rows >= row)
    parts = (~held).nonzero().reshape(-1), held.nonzero().reshape(-1)
    return recorded(GIVEN_APART, parts, None, None)


def _given_split(found: Study, settings: Settings) -> Split:
    """The split that the column `data.validation` tells: true/false, 1/0, or train/validation."""
    assert found.validation is not None
    if settings.data.split != "auto" or settings.data.group is not None:
        raise SettingsError("data.validation tells the split: leave data.split and data.group out")
    place = f"{found.table.source}: column {settings.data.validation!r} (data.validation)"
    texts = texts_of(found.validation).str.strip_chars().str.to_lowercase()
    is_held = texts.is_in(list(_HELD_WORDS))
    unknown = ~(is_held | texts.is_in(list(_TRAINED_WORDS))).fill_null(value=False)
    if unknown.any():
        row = first_row(unknown)
        raise DataError(
            f"{named(place)} has {found.validation[row - 1]!r} in row {int(found.rows[row - 1]) + 1}; each row needs "
            "true (for validation) or false, or train or validation"
        )
    held = torch.from_numpy(is_held.to_numpy())
    if bool(held.all()):
        raise DataError(f"{named(place)} has every row for validation; rows to train on are needed")
    parts = (~held).nonzero().reshape(-1), held.nonzero().reshape(-1)
    return recorded(f"column {settings.data.validation}", parts, None, None)


def _warnings(found: Study, made: Dataset, encoder: Encoder, train: Tensor) -> list[str]:
    """What a user should know of the values: infinities, and numbers that become the same one."""
    import polars

    source, warnings, place = found.table.source, list[str](), 0
    inputs, scaling, rows = made.train_inputs[:_COMPARED], made.normalisation, train[:_COMPARED].numpy()
    if scaling is not None:
        inputs = (inputs - scaling.feature_mean) / scaling.feature_scale
    for column, encoding in zip(found.used, encoder.columns, strict=True):
        assert column.values is not None
        if column.infinite:
            counted = f"{column.infinite} infinite values, which count as missing"
            warnings.append(f"{source}: column {column.name!r} has {counted}")
        if isinstance(encoding, NumberEncoding):
            values = column.values.gather(rows).fill_null(encoding.fill)
            distinct, kept = values.n_unique(), polars.Series(inputs[:, place].numpy()).n_unique()
            if kept < _COLLAPSED * distinct:
                warnings.append(
                    f"{source}: of {distinct:,} different numbers in column {column.name!r} {kept:,} are left as "
                    "32-bit floats: a few values far from the others; take a logarithm, or leave the outliers out"
                )
        place += len(encoding.outputs)
    return warnings
