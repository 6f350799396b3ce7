"""The columns of the list of a table's columns: which fit a width, and a row's cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forge_tui.protocol.table_look import ColumnLook
from forge_tui.text.table_lines import histogram_text, kind_text, values_text
from forge_tui.tui.widgets import cells
from forge_tui.tui.widgets.cells import Piece
from forge_tui.tui.widgets.glyphs import Glyphs

GUTTER = 2
_KIND, _HISTOGRAM = 9, 12
_NAME_LEAST, _NAME_COMFORTABLE, _NAME_MOST = 12, 18, 40
_VALUES_LEAST, _VALUES_MOST = 14, 44
_REASON_LEAST, _REASON_MOST = 24, 80


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnRow:
    """A column in the list. `declared`: what the settings say of it, in a word; None if they say nothing.

    `is_new`: they say so since the last look, which knows nothing of it.
    """

    position: int
    look: ColumnLook
    is_target: bool = False
    declared: str | None = None
    is_new: bool = False

    @property
    def kind(self) -> str:
        """What becomes of it: one or two words, and a sign that the settings say so."""
        if self.is_target:
            return "target"
        if self.is_new:
            return f"{self.declared or 'auto'}?"
        word = self.declared if self.declared == "ignored" else kind_text(self.look)
        return f"{word}*" if self.declared is not None else word


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnLayout:
    """The width of each column; 0 leaves it out."""

    width: int
    name: int
    missing: int
    distinct: int
    histogram: int
    values: int
    reason: int
    gap: int


def column_layout(width: int, rows: Sequence[ColumnRow]) -> ColumnLayout:
    """The layout of a list `width` cells wide.

    As it shrinks, the reasons, long values, long names, the histogram, the distinct values, the values and the missing
    ones leave, in this order.
    """
    names = max((cells.width_of(name_text(row)) for row in rows), default=0)
    missing = max([len("MISSING"), *(len(f"{row.look.missing:,}") for row in rows)])
    distinct = max([len("DISTINCT"), *(len(f"{row.look.distinct:,}") for row in rows)])
    name, values, histogram, reason = min(max(names, _NAME_LEAST), _NAME_COMFORTABLE), _VALUES_LEAST, _HISTOGRAM, 0
    gap = 2 if width >= 80 else 1

    def rest() -> int:
        shown = [part for part in (missing, distinct, histogram, values) if part]
        return width - GUTTER - name - gap - _KIND - sum(shown) - gap * len(shown)

    if rest() < 0:
        name = max(_NAME_LEAST, name + rest())
    if rest() < 0:
        histogram = 0
    if rest() < 0:
        distinct = 0
    if rest() < 0:
        values = 0
    if rest() < 0:
        missing = 0
    name += max(0, min(rest(), min(names, _NAME_COMFORTABLE) - name))
    if values:
        values += max(0, min(rest(), _VALUES_MOST - _VALUES_LEAST))
    name += max(0, min(rest(), min(names, _NAME_MOST) - name))
    if values and rest() - gap >= _REASON_LEAST:
        reason = min(rest() - gap, _REASON_MOST)
    return ColumnLayout(
        width=width, name=name, missing=missing, distinct=distinct, histogram=histogram, values=values, reason=reason,
        gap=gap,
    )  # fmt: skip


def titles(layout: ColumnLayout, glyphs: Glyphs) -> list[Piece]:
    """The line of titles."""
    parts = [
        cells.left("NAME", layout.name, glyphs.ellipsis),
        cells.left("KIND", _KIND, glyphs.ellipsis),
        cells.right("MISSING", layout.missing) if layout.missing else "",
        cells.right("DISTINCT", layout.distinct) if layout.distinct else "",
        cells.left("HISTOGRAM", layout.histogram) if layout.histogram else "",
        cells.left("VALUES", layout.values) if layout.values else "",
        cells.left("WHAT IT IS", layout.reason) if layout.reason else "",
    ]
    text = " " * GUTTER + (" " * layout.gap).join(part for part in parts if part)
    return [(cells.left(text, layout.width, glyphs.ellipsis), "header")]


def column_row(row: ColumnRow, layout: ColumnLayout, glyphs: Glyphs) -> list[Piece]:
    """One column of the table, without the gutter."""
    look, only_ascii, gap = row.look, glyphs.ascii, " " * layout.gap
    out = look.kind == "left_out" or row.declared == "ignored"
    style = "failed" if look.refused and not row.is_new else "target" if row.is_target else "quiet" if out else "number"
    name = cells.middle(cells.clean(name_text(row), only_ascii), layout.name, glyphs.ellipsis)
    found = [(name, "quiet" if out else "name"), (gap + cells.left(row.kind, _KIND, glyphs.ellipsis), style)]
    plain = "quiet" if out else "number"
    for count, width in ((look.missing, layout.missing), (look.distinct, layout.distinct)):
        if width:
            found.append((gap + cells.right(f"{count:,}", width, glyphs.ellipsis), plain))
    if layout.histogram:
        bars = histogram_text(look.histogram, glyphs.spark)
        found.append((gap + cells.left(bars, layout.histogram, glyphs.ellipsis), "bars"))
    if layout.values:
        text = cells.clean(values_text(look), only_ascii)
        found.append((gap + cells.left(text, layout.values, glyphs.ellipsis), plain))
    if layout.reason:
        text = cells.clean(look.reason, only_ascii)
        found.append((gap + cells.left(text, layout.reason, glyphs.ellipsis), "quiet"))
    used = sum(cells.width_of(text) for text, _ in found)
    return [*found, (" " * max(0, layout.width - GUTTER - used), "number")]


def name_text(row: ColumnRow) -> str:
    """The column's name on one line."""
    return cells.clean(row.look.name) or "(no name)"
