"""Studies a table with the settings of `[data]`: which column is the target, and what the others are."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from forge_tui.errors import DataError
from forge_tui.safe_io.printing import named
from forge_tui.settings.schema import DataSettings
from forge_tui.tables.kinds import Column, Kind, column_of
from forge_tui.tables.missing import words_with
from forge_tui.tables.report import ColumnReport, TableReport
from forge_tui.tables.table import Table, clean_name, listed
from forge_tui.tables.target import Target, target_of

if TYPE_CHECKING:
    import polars

DEFAULT_TARGET = "target"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Study:
    """A studied table. `columns` are all but the target, with the values of the rows that have a target.

    `group` and `validation` are the values of those columns of the settings, of the same rows.
    """

    table: Table
    target: Target
    columns: tuple[Column, ...]
    group: polars.Series | None = None
    validation: polars.Series | None = None

    @property
    def used(self) -> tuple[Column, ...]:
        """The columns that are features."""
        return tuple(column for column in self.columns if column.kind is not Kind.LEFT_OUT)

    @property
    def rows(self) -> np.ndarray:
        """The positions in the table, int64 (n,), of the rows that have a target."""
        return np.flatnonzero(self.target.has_value)

    def report(self, split: str, warnings: Sequence[str] = ()) -> TableReport:
        """What the table was found to be."""
        classes = self.target.classes
        return TableReport(
            target=self.target.name,
            task="regression" if classes is None else "classification",
            task_reason=self.target.reason,
            class_names=classes,
            rows=len(self.rows),
            rows_left_out=self.target.left_out,
            columns=tuple(ColumnReport.of(column) for column in self.columns),
            split=split,
            written=self.table.format,
            warnings=tuple(warnings),
        )


def study(table: Table, data: DataSettings) -> Study:
    """Study a table. Raises `DataError` for a target or columns that there are not, and as `kinds` and `target`."""
    goal = target_position(table, data.target)
    if table.rows < 1:
        raise DataError(f"{named(table.source)} has no samples; give a dataset with at least one row of data")
    if len(table.names) == 1:
        raise DataError(
            f"{named(table.source)}: {table.names[goal]!r} is its only column; add columns to predict it from"
        )
    chosen = _Chosen(table, data, goal)
    words = words_with(data.missing)
    target = target_of(table, goal, words, data.task, data.missing_target)
    has_all = bool(target.has_value.all())
    columns = [_column(table, position, words, chosen) for position in range(len(table.names)) if position != goal]
    if not has_all:
        columns = [_filtered(column, target.has_value) for column in columns]
    found = Study(
        table=table,
        target=target,
        columns=tuple(columns),
        group=_values_of(table, chosen.group, target.has_value),
        validation=_values_of(table, chosen.validation, target.has_value),
    )
    if not found.used:
        why = "; ".join(f"{column.name!r}: {column.reason}" for column in columns[:6])
        raise DataError(f"{named(table.source)} has no column to learn from ({named(why)}); add columns that vary")
    return found


def describe(table: Table, data: DataSettings, goal: int | None) -> list[Column]:
    """What every column is, the target at `goal` too, with the values of all rows; nested ones are left out.

    For looking at a table: nothing of it is refused but settings that name no column.
    """
    chosen, words = _Chosen(table, data, -1 if goal is None else goal), words_with(data.missing)
    found = []
    for position, name in enumerate(table.names):
        try:
            found.append(_column(table, position, words, chosen))
        except DataError as error:
            reason = str(error).removeprefix(f"{table.place(position)} ")
            refused = Column(position=position, name=name, kind=Kind.LEFT_OUT, reason=reason, refused=True)
            found.append(refused)
    return found


def target_position(table: Table, wanted: str | None) -> int:
    """The column of `--target`, or the one called `target`. Raises `DataError` naming the existing columns."""
    source, names = table.source, table.names
    name = DEFAULT_TARGET if wanted is None else clean_name(wanted)
    if name in names:
        return names.index(name)
    if wanted is None:
        raise DataError(
            f"{named(source)} has no column {DEFAULT_TARGET!r}: say with --target which one to predict; "
            f"there are {listed(names) or 'none'}"
        )
    raise DataError(f"{named(source)} has no column {wanted!r} (--target); there are {listed(names)}")


class _Chosen:
    """The columns that settings name, by position."""

    def __init__(self, table: Table, data: DataSettings, goal: int) -> None:
        self._table, self._goal = table, goal
        self.ignored = self._matching("data.ignore", data.ignore)
        self.only = self._matching("data.only", data.only)
        self.group = self._one("data.group", data.group)
        is_column = data.validation is not None and clean_name(data.validation) in table.names
        self.validation = self._one("data.validation", data.validation if is_column else None)
        self.declared: dict[int, Kind] = {}
        lists = (("categories", Kind.CATEGORY), ("numbers", Kind.NUMBER), ("dates", Kind.DATE))
        for name, kind in lists:
            for position in self._matching(f"data.{name}", getattr(data, name)):
                before = self.declared.setdefault(position, kind)
                if before is not kind:
                    column = table.names[position]
                    raise DataError(f"{table.source}: column {column!r} is in two lists of [data]: {before} and {kind}")

    def why_left_out(self, position: int) -> str | None:
        """Why the settings leave a column out; None if they do not."""
        if position in self.ignored:
            return "as data.ignore says"
        if position == self.group:
            return "data.group: it says which rows belong together"
        if position == self.validation:
            return "data.validation: it says which rows are for validation"
        if self.only and position not in self.only:
            return "not in data.only"
        return None

    def _matching(self, setting: str, patterns: Sequence[str]) -> set[int]:
        found: set[int] = set()
        names = self._table.names
        for pattern in map(clean_name, patterns):
            places = [place for place, name in enumerate(names) if name == pattern]
            places = places or [place for place, name in enumerate(names) if fnmatch.fnmatchcase(name, pattern)]
            if not places:
                raise DataError(
                    f"{named(self._table.source)} has no column {pattern!r} ({setting}); there are {listed(names)}"
                )
            found.update(place for place in places if place != self._goal)
        return found

    def _one(self, setting: str, name: str | None) -> int | None:
        if name is None:
            return None
        names = self._table.names
        if clean_name(name) not in names:
            raise DataError(
                f"{named(self._table.source)} has no column {name!r} ({setting}); there are {listed(names)}"
            )
        position = names.index(clean_name(name))
        if position == self._goal:
            raise DataError(f"{self._table.place(position)} is the target, and cannot be {setting} too")
        return position


def _column(table: Table, position: int, words: frozenset[str], chosen: _Chosen) -> Column:
    why = chosen.why_left_out(position)
    if why is not None:
        return Column(position=position, name=table.names[position], kind=Kind.LEFT_OUT, reason=why)
    return column_of(table, position, words, chosen.declared.get(position))


def _filtered(column: Column, rows: np.ndarray) -> Column:
    import polars

    return column if column.values is None else replace(column, values=column.values.filter(polars.Series(rows)))


def _values_of(table: Table, position: int | None, rows: np.ndarray) -> polars.Series | None:
    import polars

    return None if position is None else table.column(position).filter(polars.Series(rows))
