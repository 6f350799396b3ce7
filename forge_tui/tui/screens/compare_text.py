"""A comparison of runs as paragraphs: runs, differing settings, figures; one column per run."""

from __future__ import annotations

from collections.abc import Sequence

from forge_tui.analysis.configs import ConfigResults
from forge_tui.reports.comparison import Comparison, equal_line, figure_rows, setting_rows
from forge_tui.text.config_tables import importance_line, ranked_by, result_rows
from forge_tui.text.figures import short_path
from forge_tui.tui.widgets import cells
from forge_tui.tui.widgets.cells import Piece
from forge_tui.tui.widgets.document import Paragraph
from forge_tui.tui.widgets.glyphs import Glyphs

_GAP = 2
_COLUMN_MOST = 34


def comparison_document(comparison: Comparison, width: int, glyphs: Glyphs) -> list[Paragraph]:
    """The comparison in `width` cells. Text from files is not interpreted."""
    runs = comparison.runs
    lines = [
        Paragraph(((f"{place} ", "heading"), (run.name, "text"), (f"  {short_path(run.path)}", "quiet")), hang=2)
        for place, run in enumerate(runs, 1)
    ]
    lines += [Paragraph(((problem, "failed"),), hang=2) for problem in comparison.problems]
    names = [f"{place} {run.name}" for place, run in enumerate(runs, 1)]
    settings, figures = setting_rows(comparison), figure_rows(comparison)
    label, column = _widths([("SETTINGS", *names), *settings, *figures], width)
    if settings:
        lines += [Paragraph(), *_table(("SETTINGS", *names), settings, label, column, glyphs)]
    if len(runs) > 1:
        lines.append(Paragraph(((equal_line(comparison), "quiet"),)))
    lines += [Paragraph(), *_table(("FIGURES", *names), figures, label, column, glyphs)]
    counted = [str(run.finals.models) for run in runs if run.finals is not None]
    for name, run in zip(names, runs, strict=True):
        if run.configs is not None:
            lines += [Paragraph(), Paragraph(((f"CONFIGS {name}", "heading"),), hang=2)]
            lines += [
                *_configs(run.configs, width, glyphs),
                Paragraph(((_clean(ranked_by(run.configs), glyphs), "quiet"),)),
                *(Paragraph(((_clean(line, glyphs), "quiet"),)) for line in [importance_line(run.configs)] if line),
            ]
    if counted:
        over = f"mean {_plus_minus(glyphs)} standard deviation over {' and '.join(counted)} models"
        lines.append(Paragraph(((over, "quiet"),)))
    return lines


def _configs(results: ConfigResults, width: int, glyphs: Glyphs) -> list[Paragraph]:
    """One line per config, in columns as wide as their content. Losses are left out if not all figures fit."""
    rows = [tuple(_clean(cell, glyphs) for cell in row) for row in result_rows(results)]
    first_figure = len(results.results[0].combination) + 2
    while True:
        widths = [max(cells.width_of(row[column]) for row in rows) for column in range(len(rows[0]))]
        if sum(widths) + _GAP * (len(widths) - 1) <= width or len(widths) <= first_figure + 1:
            break
        rows = [row[:first_figure] + row[first_figure + 1 :] for row in rows]
    return [
        Paragraph(
            (((" " * _GAP).join(cells.left(cell, width) for cell, width in zip(row, widths, strict=True)), style),),
            hang=4,
        )
        for row, style in zip(rows, ("label", *["text"] * (len(rows) - 1)), strict=True)
    ]


def _widths(rows: Sequence[tuple[str, ...]], width: int) -> tuple[int, int]:
    """The widths of labels and of each column: that of the content, or a share of `width` if larger."""
    count = len(rows[0]) - 1
    longest = max(cells.width_of(row[0]) for row in rows)
    needed = min(_COLUMN_MOST, max(cells.width_of(cell) for row in rows for cell in row[1:]))
    least = min(longest, width // 3)
    column = max(4, min(needed, (width - least - count * _GAP) // count))
    return max(4, min(longest, width - count * (column + _GAP))), column


def _table(
    head: tuple[str, ...], rows: Sequence[tuple[str, ...]], label: int, column: int, glyphs: Glyphs
) -> list[Paragraph]:
    found = [_line(head, label, column, glyphs, ("heading", "heading"))]
    for row in rows:
        found += [_line(part, label, column, glyphs, ("label", "text")) for part in _split(row, column)]
    return found


def _line(row: tuple[str, ...], label: int, column: int, glyphs: Glyphs, styles: tuple[str, str]) -> Paragraph:
    pieces: list[Piece] = [(cells.middle(row[0], label, glyphs.ellipsis), styles[0])]
    for cell in row[1:]:
        pieces.append((" " * _GAP + cells.middle(_clean(cell, glyphs), column, glyphs.ellipsis), styles[1]))
    return Paragraph(tuple(pieces))


def _split(row: tuple[str, ...], column: int) -> list[tuple[str, ...]]:
    """The row, or two rows with the deviations in the second if they do not fit beside the means."""
    if all(cells.width_of(cell) <= column or " ± " not in cell for cell in row[1:]):
        return [row]
    halves = [cell.partition(" ± ") for cell in row]
    return [tuple(half[0] for half in halves), tuple(f"± {half[2]}" if half[2] else "" for half in halves)]


def _clean(text: str, glyphs: Glyphs) -> str:
    if glyphs.ascii:
        text = text.replace("±", _plus_minus(glyphs)).replace("—", glyphs.unknown)
    return cells.clean(text, glyphs.ascii)


def _plus_minus(glyphs: Glyphs) -> str:
    return "+-" if glyphs.ascii else "±"
