"""What was found in the columns of a dataset, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from forge_tui.protocol.table_look import ColumnLook, TableLook
from forge_tui.safe_io.printing import named
from forge_tui.text.figures import table

_MOST_CLASSES, _MOST_NAMES = 6, 100
BARS = "▁▂▃▄▅▆▇█"
_WIDEST = 40


def target_line(found: Mapping[str, Any]) -> str:
    """`Target: 'y', 2 classes (no, yes): 2 different values that are no numbers; 7 rows without it are left out.`"""
    names: Sequence[Any] | None = found.get("class_names")
    if names is None:
        what = "a number"
    else:
        shown = ", ".join(named(str(name)) for name in names[:_MOST_CLASSES])
        more = f" and {len(names) - _MOST_CLASSES} more" if len(names) > _MOST_CLASSES else ""
        what = f"{len(names)} classes ({shown}{more})"
    reason = f": {found['task_reason']}" if found.get("task_reason") else ""
    count = found.get("rows_left_out") or 0
    left_out = f"; {count:,} row{'s' if count > 1 else ''} without it left out" if count else ""
    split = f" Split: {named(str(found['split']))}." if found.get("split") else ""
    return f"Target: {named(repr(found['target']))}, {what}{reason}{left_out}.{split}"


def table_facts(look: TableLook) -> list[str]:
    """`60 rows`, `classification: 2 classes of 'y'`, `7 rows without it left out`, `split: stratified by class`."""
    facts = [f"{look.rows:,} rows" if look.sample is None else f"a sample: {look.sample}"]
    if look.target is None:
        return [*facts, f"{len(look.columns):,} columns", "no target is chosen"]
    target = named(repr(look.target))
    if look.problem is not None:
        return [*facts, f"{target} cannot be predicted"]
    names = look.class_names
    facts.append(f"regression of {target}" if names is None else f"classification: {len(names):,} classes of {target}")
    if look.rows_left_out:
        facts.append(f"{look.rows_left_out:,} row{'s' * (look.rows_left_out > 1)} without it left out")
    return [*facts, f"split: {named(str(look.split))}"]


def column_lines(columns: Sequence[Mapping[str, Any]]) -> str:
    """A line per kind and reason, with the columns of which they hold: `date: born, died (written as %Y-%m-%d)`."""
    groups: dict[tuple[str, str], list[str]] = {}
    for one in columns:
        names = groups.setdefault((str(one["kind"]), str(one["reason"])), [])
        names.append(named(str(one["name"])) or "(no name)")
    lines = []
    for (kind, reason), names in groups.items():
        more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
        why = "" if reason == "numbers" else f" ({named(reason)})"
        lines.append(f"{kind.replace('_', ' ')}: {', '.join(names[:_MOST_NAMES])}{more}{why}")
    return "\n".join(lines)


def format_line(written: Mapping[str, Any] | None) -> str | None:
    """How a text table is written, where it is not as most are; None if it is."""
    if written is None:
        return None
    parts = []
    if written["separator"] != ",":
        parts.append(f"separator {written['separator']!r}")
    if written["decimal"] != ".":
        parts.append(f"decimal {written['decimal']!r}")
    if written["encoding"] != "utf-8":
        parts.append(f"encoding {written['encoding']}")
    if not written["header"]:
        parts.append("no header: the columns are called x1, x2, …")
    return f"Format: {'; '.join(parts)}." if parts else None


def summary_table(columns: Sequence[ColumnLook]) -> str:
    """A line per column: its kind, missing and different values, range or top values, histogram, why."""
    rows = []
    for one in columns:
        rows.append(
            (
                _cut(named(one.name) or "(no name)", _WIDEST),
                kind_text(one),
                f"{one.missing:,}",
                f"{one.distinct:,}",
                histogram_text(one.histogram),
                _cut(values_text(one), _WIDEST),
                _cut(named(one.reason), 2 * _WIDEST),
            )
        )
    return table(("COLUMN", "KIND", "MISSING", "DISTINCT", "HISTOGRAM", "VALUES", "WHAT IT IS"), rows)


def kind_text(one: ColumnLook) -> str:
    """What becomes of a column, in a word or two."""
    return "refused" if one.refused else one.kind.replace("_", " ")


def values_text(one: ColumnLook, longest: int = 16) -> str:
    """The range of a column, or its most frequent values of at most `longest` characters each, with their counts."""
    if one.range is not None:
        ends = [_date(end) if one.kind == "date" else f"{end:.6g}" for end in one.range]
        return f"{ends[0]} to {ends[1]}"
    return ", ".join(f"{_cut(named(value), longest)} {count:,}" for value, count in one.top)


def histogram_text(counts: Sequence[int] | None, bars: str = BARS) -> str:
    """A character per count; `bars` from the lowest to the highest, a space for none."""
    if counts is None:
        return ""
    most = max(counts)
    return "".join(bars[-(-count * (len(bars) - 1) // most)] if count else " " for count in counts)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _date(seconds: float) -> str:
    try:
        found = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.6g} s"
    return f"{found:%Y-%m-%d}" if found.time() == datetime.min.time() else f"{found:%Y-%m-%d %H:%M}"
