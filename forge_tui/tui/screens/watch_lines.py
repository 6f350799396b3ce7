"""The two lines of Watch: the run's progress, and the divider that describes the panes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from forge_tui.tui.screens.watch_text import counts_text
from forge_tui.tui.widgets import cells
from forge_tui.tui.widgets.line import Line, Spot, joined_ends

if TYPE_CHECKING:
    from forge_tui.protocol.snapshot import Snapshot
    from forge_tui.tui.lists.model_table import ModelTable
    from forge_tui.tui.screens.watch_curves import RunCurves
    from forge_tui.tui.screens.watch_panes import WatchPanes
    from forge_tui.tui.widgets.glyphs import Glyphs

_LEAST_CELLS = 20
_NAME_CELLS = 24


class OverallLine(Line):
    """The progress bar of the run, and the number of models per phase."""

    def draw(self, snapshot: Snapshot, glyphs: Glyphs) -> None:
        """Draw a snapshot."""
        width = max(_LEAST_CELLS, self.size.width or self.app.size.width)
        right = Text("  ").append_text(counts_text(snapshot))
        done, left = glyphs.bar(snapshot.overall_percent / 100, max(4, width - right.cell_len))
        bar = Text()
        bar.append(done, style="red" if snapshot.failed else "green")
        bar.append(left, style="dim")
        self.show(joined_ends(bar, right, width))


class DividerLine(Line):
    """The panes, the chart's content, and the table's filter and order."""

    def draw(self, panes: WatchPanes, table: ModelTable, chart: RunCurves, metrics: str, glyphs: Glyphs) -> None:
        """Draw the line for the panes' current state; `metrics`: what a grid shows, empty for one chart."""
        dash = glyphs.axis_horizontal
        right = Text(f" {table.visible_range}" if table.display else "")
        width = max(_LEAST_CELLS, self.size.width or self.app.size.width)
        words = {"chart": "c Chart", "output": "L Output", "log": "l Log"}
        if panes.chart_shown:
            words["chart"] = f"[c Chart] {', '.join(_chart_words(chart, metrics, glyphs))}"
        if panes.output_shown:
            words["output"] = "[L Output]"
        if panes.log_shown:
            words["log"] = "[l Log]"
        more = _table_words(table, chart)
        left = _joined([*words.values(), *more], dash)
        if left.cell_len + right.cell_len > width and not panes.output_shown:  # the footer and ? have its key too
            del words["output"]
            left = _joined([*words.values(), *more], dash)
        spots, start = [], cells.width_of(f"{dash}")
        for name, text in words.items():
            spots.append(Spot(start, start + cells.width_of(text), f"{name}_pane"))
            start = spots[-1].end + cells.width_of(f" {dash} ")
        left.append(dash * max(0, width - left.cell_len - right.cell_len))
        self.show(joined_ends(left, right, width), spots)


def _joined(parts: Sequence[str], dash: str) -> Text:
    return Text(dash + f" {dash} ".join(parts) + " ")


def _chart_words(chart: RunCurves, metrics: str, glyphs: Glyphs) -> list[str]:
    # The chart's legend shows the kinds; while the table is hidden, only this line names the models.
    names = chart.names
    whose = [f"{len(names)} models" if len(names) > 1 else cells.clean(names[0], glyphs.ascii)] if names else []
    words = [cells.middle(each, min(cells.width_of(each), _NAME_CELLS), glyphs.ellipsis) for each in whose]
    words.append(metrics or ("log y" if chart.log_y else "linear y"))
    if chart.over_seeds:
        words.append("seeds")
    if chart.smoothing.weight:
        words.append(f"smoothed {chart.smoothing.weight:g}")
    return words


def _table_words(table: ModelTable, chart: RunCurves) -> list[str]:
    words = []
    if table.marks:
        drawn = len(table.marks) if chart.over_seeds else len(chart.names)
        words.append(f"{len(table.marks)} marked{f', {drawn} drawn' if drawn < len(table.marks) else ''}")
    if table.chosen:
        words.append(f"{len(table.chosen)} selected (X)")
    if table.filter_text:
        words.append(cells.clean(table.filter_summary))
    if table.follow_best:
        words.append("follows best")
    if table.sort_key != "index":
        words.append(f"by {table.sort_key}{', reversed' if table.sort_reversed else ''}")
    return words
