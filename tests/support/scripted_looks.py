"""Looks at a table that a test answers: no file is read, and no process begins."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from forge_tui.errors import ForgeError
from forge_tui.protocol.table_look import ColumnLook, TableLook

COLUMNS = (
    ColumnLook(name="id", kind="left_out", reason="identifier: 60 different texts in 60 rows", missing=0, distinct=60,
               top=(("p0", 1), ("p1", 1), ("p10", 1))),
    ColumnLook(name="age", kind="number", reason="numbers", missing=3, distinct=40, range=(18.0, 90.0),
               histogram=(5, 1, 0, 2, 9, 9, 3, 4, 5, 6, 7, 8)),
    ColumnLook(name="born", kind="date", reason="written as %Y-%m-%d", missing=0, distinct=60,
               range=(1577836800.0, 1582934400.0), histogram=(5,) * 12),
    ColumnLook(name="district", kind="category", reason="text, 3 different values", missing=12, distinct=3,
               top=(("north", 30), ("south", 10), ("east", 8))),
    ColumnLook(name="a*", kind="boolean", reason="no or yes", missing=0, distinct=2, top=(("no", 31), ("yes", 29))),
    ColumnLook(name="a", kind="number", reason="numbers", missing=0, distinct=60, range=(0.0, 5.5),
               histogram=(5,) * 12),
    ColumnLook(name="price", kind="category", reason="text, 3 different values", missing=7, distinct=3,
               top=(("low", 20), ("high", 18), ("mid", 15))),
)  # fmt: skip


class Looks:
    """What is answered: `table`, with the settings applied to it; `error` instead, if there is one.

    `asked` has the settings of each look that has begun; `held`: none is answered before `release`.
    """

    def __init__(self, held: bool = False) -> None:
        self.columns: tuple[ColumnLook, ...] = COLUMNS
        self.error: ForgeError | None = None
        self.sample: str | None = None
        self.asked: list[dict[str, Any]] = []
        self.paths: list[Path] = []
        self.stopped = 0
        self._open = threading.Event()
        if not held:
            self._open.set()

    def hold(self) -> None:
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    def __call__(self, path: Path, data: Mapping[str, Any]) -> _Look:
        self.asked.append(dict(data))
        self.paths.append(path)
        return _Look(self, path, data)

    def answer(self, path: Path, data: Mapping[str, Any]) -> TableLook:
        self._open.wait(30)
        if self.error is not None:
            raise self.error
        columns = tuple(_as_set(column, data) for column in self.columns)
        target = data["target"]
        return TableLook(
            file=str(path),
            rows=60,
            sample=self.sample,
            format={"encoding": "utf-8", "separator": ";", "decimal": ",", "header": True},
            target=target,
            problem=None,
            task_reason=None if target is None else "3 different values that are no numbers",
            class_names=None if target is None else ("high", "low", "mid"),
            rows_left_out=None if target is None else 7,
            split=None if target is None else "stratified by class",
            columns=columns,
        )


class _Look:
    def __init__(self, looks: Looks, path: Path, data: Mapping[str, Any]) -> None:
        self._looks, self._path, self._data = looks, path, data

    def look(self) -> TableLook:
        return self._looks.answer(self._path, self._data)

    def stop(self) -> None:
        self._looks.stopped += 1


def _as_set(column: ColumnLook, data: Mapping[str, Any]) -> ColumnLook:
    lists = {"ignore": "left_out", "numbers": "number", "categories": "category", "dates": "date"}
    for setting, kind in lists.items():
        if column.name in data[setting]:
            is_refused = kind == "number" and bool(column.top)
            reason = "has 'north' in row 1, which is no number" if is_refused else f"as data.{setting} says"
            return replace(column, kind="left_out" if is_refused else kind, reason=reason, refused=is_refused)
    return column
