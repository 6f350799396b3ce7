"""Frames of a dataset function as datasets: a whole table, or features and targets apart."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import named
from forge_tui.settings.schema import Settings
from forge_tui.tables.encoder import Encoder
from forge_tui.tables.table import Table, by_position, listed, one_below_the_other
from forge_tui.training.data.dataset import Dataset
from forge_tui.training.data.frames import is_frame, needs_table, series_of, table_of
from forge_tui.training.data.table_data import table_dataset

_TARGET = "target"


def whole_table_dataset(given: Any, source: str, settings: Settings, encoder: Encoder | None = None) -> Dataset:
    """The dataset of a frame, of which `--target` names the column to predict. Raises `DataError`."""
    table = table_of(given, source)
    return _with_content(table_dataset(table, settings, encoder), table)


def parts_dataset(parts: Mapping[str, Any], source: str, settings: Settings, encoder: Encoder | None = None) -> Dataset:
    """The dataset of `inputs` that are a table, and `targets` (N,), with or without those for validation.

    Raises `DataError` for lengths and columns that do not fit, and other parts.
    """
    others = [name for name in ("vocabulary", "classes") if parts.get(name) is not None]
    if others:
        raise DataError(f"{named(source)} gives {others[0]} beside a table, whose classes are the target's own values")
    table, target = _joined(parts["inputs"], parts["targets"], source, "")
    held_from = None
    if parts.get("validation_inputs") is not None:
        held, _ = _joined(parts["validation_inputs"], parts["validation_targets"], source, "validation_", target)
        held_from = table.rows
        table = one_below_the_other(table, held)
    settings = replace(settings, data=replace(settings.data, target=target))
    made = table_dataset(table, settings, encoder, held_from)
    # Splits provided by the dataset are hashed as they are (`fingerprint.of_tensors`).
    return _with_content(made, table) if held_from is None else replace(made, split_sha256=None)


def _joined(inputs: Any, targets: Any, source: str, part: str, target: str | None = None) -> tuple[Table, str]:
    """Features and target as one table, and the target's name: its own, or `target`."""
    import numpy as np
    import polars

    place, is_known = f"{source}: {part}targets", target is not None
    table = table_of(inputs if needs_table(inputs) else np.asarray(inputs), f"{source}: {part}inputs")
    if is_frame(targets):
        columns = table_of(targets, place)
        if len(columns.names) != 1:
            raise DataError(f"{named(place)} have {len(columns.names)} columns ({listed(columns.names)}); give one")
        target = target or columns.names[0] or None
        targets = columns.column(0)
    elif getattr(targets, "ndim", 1) == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    values = series_of(targets, place)
    if len(values) != table.rows:
        raise DataError(
            f"{named(source)}: {table.rows} {part}inputs and {len(values)} {part}targets; each sample has one of both"
        )
    if target is None:
        own = getattr(targets, "name", None)
        target = own if isinstance(own, str) and own and not own.isdigit() else _TARGET
    if not is_known:
        while target in table.names:
            target = f"{target}_"
    frame = table.frame.with_columns(values.alias(str(table.frame.width)))
    joined = Table(source=source, names=(*table.names, target), frame=by_position(polars.DataFrame(frame)))
    return joined, target


def _with_content(made: Dataset, table: Table) -> Dataset:
    """With the digest of the table's values as text: binary forms differ between versions of polars."""
    import polars

    found = hashlib.sha256(repr(table.names).encode())
    for position in range(len(table.names)):
        column = table.column(position)
        if column.dtype.is_temporal():  # durations have no text
            column = column.to_physical()
        if not column.dtype.is_nested() and column.dtype not in (polars.Binary, polars.Object):
            found.update(column.cast(polars.String).to_frame().write_csv(include_header=False).encode())
    return replace(made, content_sha256=found.hexdigest())
