"""The texts of the data screen: the table in a few lines, and the selected column in full."""

from __future__ import annotations

from collections.abc import Sequence

from forge_tui.errors import ForgeError
from forge_tui.protocol.table_look import TableLook
from forge_tui.safe_io.printing import shortened
from forge_tui.text.table_lines import format_line, histogram_text, target_line, values_text
from forge_tui.tui.lists.column_cells import ColumnRow, name_text
from forge_tui.tui.widgets.cells import Piece
from forge_tui.tui.widgets.document import Paragraph
from forge_tui.tui.widgets.glyphs import Glyphs

_LONGEST_VALUE = 200


def about_table(
    name: str, look: TableLook | None, error: ForgeError | None, is_looking: bool, read_only: bool
) -> list[Paragraph]:
    """The file, its format, the target or why it cannot be predicted. `error`: why it could not be looked at."""
    first: list[Piece] = [(name, "heading")]
    if look is not None:
        rows = f"{look.rows:,} rows" if look.sample is None else f"a sample: {look.sample}"
        first.append((f": {rows}, {len(look.columns):,} columns.", "text"))
    if is_looking:
        first.append((" Looking at it…", "active"))
    if read_only:
        first.append((" Read only: a live run's settings.", "quiet"))
    found = [Paragraph(tuple(first))]
    if error is not None and not is_looking:
        words = str(error) if look is not None else f"{error}. Esc leads back."
        return [*found, Paragraph((("! ", "failed"), (words, "failed")), hang=2)]
    if look is None:
        return found
    written = format_line(look.format)
    if written is not None:
        found.append(Paragraph(((written, "text"),)))
    if look.problem is not None:
        found.append(Paragraph((("! ", "failed"), (look.problem, "failed")), hang=2))
    elif look.target is not None:
        found.append(Paragraph(((target_line(look.to_record()), "text"),), hang=2))
    else:
        advice = "" if read_only else ": T predicts the selected column"
        found.append(Paragraph(((f"No target is chosen{advice}.", "warning"),)))
    return found


def about_column(row: ColumnRow | None, rows: int, setting: str | None, glyphs: Glyphs) -> Sequence[Paragraph]:
    """The selected column: what becomes of it and why, its range or most frequent values.

    `rows` were looked at; `setting` says what it is, if one does.
    """
    if row is None:
        return []
    look = row.look
    kind: list[Piece] = [(name_text(row), "heading"), (f"  {row.kind.rstrip('*?')}", "active")]
    if row.is_new:
        kind.append((f" (as {setting} says; was: {look.reason})" if setting else f" (was: {look.reason})", "quiet"))
    else:
        kind.append((f": {look.reason}", "failed" if look.refused else "text"))
        if setting is not None and setting not in look.reason:
            kind.append((f" (in {setting})", "quiet"))
    found = [Paragraph(tuple(kind), hang=2)]
    share = f" ({look.missing / rows:.1%})" if look.missing and rows else ""
    counts = f"{look.missing:,} missing{share} · {look.distinct:,} distinct"
    if look.range is None:
        found.append(Paragraph(((counts, "text"),)))
    else:
        text = f"{counts} · {values_text(look)}"
        found.append(Paragraph(((f"{text}  ", "text"), (histogram_text(look.histogram, glyphs.spark), "active"))))
    if look.top:
        most = ", ".join(f"{shortened(value, _LONGEST_VALUE)} ({count:,})" for value, count in look.top)
        found.append(Paragraph((("most frequent: ", "label"), (most, "text")), hang=2))
    return found
