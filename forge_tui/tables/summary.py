"""What is in the columns of a table: how many values are missing or different, their range, the most frequent ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from forge_tui.errors import DataError
from forge_tui.protocol.table_look import ColumnLook
from forge_tui.settings.schema import DataSettings
from forge_tui.tables.kinds import Column, Kind, texts_of
from forge_tui.tables.missing import filled, words_with
from forge_tui.tables.numbers import numbers_of
from forge_tui.tables.study import DEFAULT_TARGET, Study, describe, study
from forge_tui.tables.table import Table, clean_name

if TYPE_CHECKING:
    import polars

BINS = 12
_MOST_TOP = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TableSummary:
    """All columns in the file's order; `target` and what is known of it, `problem` why it cannot be predicted."""

    rows: int
    columns: tuple[ColumnLook, ...]
    target: str | None
    study: Study | None
    problem: str | None


def summarise(table: Table, data: DataSettings) -> TableSummary:
    """Summarise a table. Without a target in the settings, or a column of that name, none is looked at.

    Raises `DataError` for columns of the settings that there are not.
    """
    words = words_with(data.missing)
    wanted = DEFAULT_TARGET if data.target is None else clean_name(data.target)
    found, problem, goal = None, None, None
    if data.target is not None or wanted in table.names:
        goal = table.names.index(wanted) if wanted in table.names else None
        try:
            found = study(table, data)
        except DataError as error:
            if goal is None:
                raise
            problem = str(error)
    columns = describe(table, data, goal)
    summaries = []
    for position, column in enumerate(columns):
        values = filled(table.column(position), words)
        if position == goal:
            numbers = numbers_of(values, table.decimal)
            reason = "the target" if problem is None else "the target, which cannot be predicted"
            kind = "number" if found is not None and found.target.classes is None else "category"
            summaries.append(_summary(column.name, kind, reason, values, numbers if kind == "number" else None))
            continue
        summaries.append(_of_column(column, values))
    return TableSummary(
        rows=table.rows, columns=tuple(summaries), target=None if goal is None else wanted, study=found, problem=problem
    )


def _of_column(column: Column, values: polars.Series) -> ColumnLook:
    is_measured = column.kind in (Kind.NUMBER, Kind.DATE)
    known = column.values if is_measured else None
    found = _summary(column.name, column.kind.value, column.reason, values, known)
    return replace(found, refused=column.refused)


def _summary(name: str, kind: str, reason: str, values: polars.Series, numbers: polars.Series | None) -> ColumnLook:
    """`numbers`: the values as float64 where they have a range."""
    import polars

    if values.dtype.is_nested() or values.dtype == polars.Object:
        return ColumnLook(name=name, kind=kind, reason=reason, missing=values.null_count(), distinct=0)
    shown = values if numbers is None else numbers
    known = shown.drop_nulls()
    found = ColumnLook(name=name, kind=kind, reason=reason, missing=shown.null_count(), distinct=known.n_unique())
    if numbers is not None:
        known = known.filter(known.is_finite())
        if len(known):
            exact = known.to_numpy()
            counts, _ = np.histogram(exact, bins=BINS)
            ends = float(exact.min()), float(exact.max())
            return replace(found, range=ends, histogram=tuple(int(count) for count in counts))
    if values.dtype == polars.Binary:
        return found
    often = texts_of(known).value_counts().rows()
    top = sorted(often, key=lambda pair: (-pair[1], str(pair[0])))[:_MOST_TOP]
    return replace(found, top=tuple((str(value), int(count)) for value, count in top))
