"""What a table was found to be, for whoever shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from forge_tui.tables.kinds import Column
from forge_tui.tables.table import TextFormat
from forge_tui.tables.target import Label


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnReport:
    """A column beside the target: `kind` is `number`, `category`, `boolean`, `date` or `left_out`."""

    name: str
    kind: str
    reason: str

    @classmethod
    def of(cls, column: Column) -> ColumnReport:
        """What is known of a column."""
        return cls(name=column.name, kind=column.kind.value, reason=column.reason)

    def to_record(self) -> dict[str, str]:
        """A JSON-able dict."""
        return {"name": self.name, "kind": self.kind, "reason": self.reason}


@dataclass(frozen=True, slots=True, kw_only=True)
class TableReport:
    """The columns in the file's order without the target; `rows_left_out` have no target.

    `class_names` is None for a regression, `task_reason` why it is this task. `written` is None for typed tables.
    `warnings`: what a user should know of the values.
    """

    target: str
    task: str
    task_reason: str
    class_names: tuple[Label, ...] | None
    rows: int
    rows_left_out: int
    columns: tuple[ColumnReport, ...]
    split: str = ""
    written: TextFormat | None = None
    warnings: tuple[str, ...] = ()

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict."""
        return {
            "target": self.target,
            "task_reason": self.task_reason,
            "class_names": None if self.class_names is None else list(self.class_names),
            "rows_left_out": self.rows_left_out,
            "columns": [column.to_record() for column in self.columns],
            "split": self.split,
            "warnings": list(self.warnings),
            "format": None if self.written is None else self.written.to_record(),
        }
