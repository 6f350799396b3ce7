"""Compare: runs side by side, with differing settings, results, and mean curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult

from forge_tui.errors import ForgeError
from forge_tui.reports.comparison import Comparer, Comparison
from forge_tui.tui.chart.chart_widget import Chart, Series
from forge_tui.tui.chart.seeds import SeedFeed
from forge_tui.tui.screens import chart_keys, moving, text_and_curve
from forge_tui.tui.screens.base import ForgeScreen
from forge_tui.tui.screens.compare_text import comparison_document
from forge_tui.tui.widgets.document import Document, Paragraph

READ_SECONDS = 2.0
# With fewer lines only the figures are shown, until the user requests the curves.
_CURVES_FROM_HEIGHT = 34


class CompareScreen(ForgeScreen):
    """The text scrolls above the curves; z zooms either. Everything is read in threads."""

    name_of_screen: ClassVar[str] = "compare"
    over_another = True
    PARTS: ClassVar[Mapping[str, Sequence[str]]] = {
        "moving": moving.ACTIONS,
        "room": text_and_curve.ACTIONS,
        "chart_keys": chart_keys.ACTIONS,
    }
    DEFAULT_CSS = """
    CompareScreen #curve { height: 1fr; min-height: 8; }
    CompareScreen #document { height: auto; max-height: 60%; min-height: 3; padding: 0 1; }
    CompareScreen.-no-curve #curve, CompareScreen.-zoom-text #curve { display: none; }
    CompareScreen.-no-curve #document, CompareScreen.-zoom-text #document { height: 1fr; max-height: 100%; }
    CompareScreen.-zoom-curve #document { display: none; }
    CompareScreen.-zoom-curve #curve { display: block; }
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """`paths` are the run directories, in the order of their columns."""
        super().__init__()
        self._comparer = Comparer(paths)
        self._comparison: Comparison | None = None
        self._feed: SeedFeed | None = None
        self._reading = False
        self._charted: object = None
        self.room = text_and_curve.TextAndCurve(self, self._has_room, self._room_changed)
        self.moving = moving.Moving(lambda: self.document)

    def compose_body(self) -> ComposeResult:
        """The text, the curves."""
        yield Document(only_ascii=self.forge.glyphs.ascii, id="document")
        chart = Chart(glyphs=self.forge.glyphs, id="curve")
        self.chart_keys = chart_keys.ChartKeys(chart, self.forge.choices)
        self.narrowings = (chart, self.room)
        yield chart

    def begin(self) -> None:
        """Read the runs, repeatedly while one of them is live."""
        self.document.focus()
        self._feed = SeedFeed(self.forge, self._draw_curves)
        self.document.show(lambda _width: [Paragraph((("Reading the runs…", "quiet"),))])
        self.room.fit()
        self._read()
        self.set_interval(READ_SECONDS, self._read_if_live)

    def on_unmount(self) -> None:
        """Close the runs; if a thread is reading them, after it returns."""
        if self._feed is not None:
            self._feed.stop()
        if not self._reading:
            self._comparer.close()

    @property
    def document(self) -> Document:
        """The text."""
        return self.query_one("#document", Document)

    @property
    def chart(self) -> Chart:
        """The curves."""
        return self.query_one("#curve", Chart)

    def fit(self, width: int, height: int) -> None:
        """A low terminal only shows the text."""
        super().fit(width, height)
        self.room.fit()

    # --- reading, in threads

    def _read_if_live(self) -> None:
        known = self._comparison
        if known is None or any(run.snapshot is not None and run.snapshot.state.is_live for run in known.runs):
            self._read()
        elif self._charted is None:
            self._read_curves()

    def _read(self) -> None:
        if self._reading or self.forge.front is not self:
            return
        self._reading = True

        def read(result: Comparison | ForgeError) -> None:
            self._reading = False
            if not self.is_there:
                self._comparer.close()
                return
            if isinstance(result, ForgeError):
                self.forge.tell(str(result), "error")
                return
            self._comparison = result
            glyphs = self.forge.glyphs
            self.document.show(lambda width: comparison_document(result, width, glyphs))
            self._read_curves()

        self.forge.call_in_thread(self._comparer.look, then=read)

    def _read_curves(self) -> None:
        """Read the curves if they are visible and may have changed."""
        comparison, feed = self._comparison, self._feed
        if comparison is None or feed is None or not self.chart.display:
            return
        buckets = max(1, self.chart.wanted_buckets)
        seen = (buckets, tuple(run.snapshot.models for run in comparison.runs if run.snapshot is not None))
        if seen == self._charted:
            return
        wanted = [
            (self._comparer.runs[run.path], run.snapshot.models, run.name)
            for run in comparison.runs
            if run.snapshot is not None
        ]
        if feed.refresh(wanted, buckets):
            self._charted = seen
        else:
            self._charted = None
            self.chart.explain(feed.progress)

    def _draw_curves(self, series: tuple[Series, ...]) -> None:
        if self.is_there:
            self.chart.explain("No epoch of these runs can be drawn.")
            self.chart.show(series)

    def on_chart_view_changed(self) -> None:
        """Fetch the curves for the new view or resolution."""
        self._read_curves()

    # --- panes

    def _has_room(self) -> bool:
        return self.app.size.height >= _CURVES_FROM_HEIGHT

    def _room_changed(self) -> None:
        """Read the curves for the new size."""
        self.call_after_refresh(self._read_curves)
