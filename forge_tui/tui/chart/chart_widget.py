"""The chart of curves: smallest and largest value per pixel column, a logarithmic axis, gaps for NaN."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from forge_tui.tui.chart import colours, plot, readout
from forge_tui.tui.chart.canvas import Pixels
from forge_tui.tui.chart.plot import Series
from forge_tui.tui.chart.quantities import LOSS, Kind, Quantity
from forge_tui.tui.chart.smoothing import Smoothing
from forge_tui.tui.widgets import cells
from forge_tui.tui.widgets.glyphs import UNICODE, Glyphs

__all__ = ["NO_EPOCH", "Chart", "Kind", "Pixels", "Series", "Smoothing"]

NO_EPOCH = "No epoch yet: warming up."
_CLOSEST = 4.0
"""The shortest visible part of the x axis, in its units (epochs)."""
_MOST_BUCKETS = 20_000
_FAINT = " faint"


class Chart(Widget, can_focus=True, inherit_bindings=False):
    """Curves over an x axis. It binds no keys: the screen calls its methods.

    One model's two curves took 3 ms to draw at 120×40 (`tests/benchmarks/table_cost.py --chart`); the lines are kept
    until data, size, view or colours change.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = set(colours.COMPONENTS)
    DEFAULT_CSS = colours.CSS

    @dataclass
    class ViewChanged(Message):
        """Another part of the x axis is visible, or in another resolution: fetch `wanted_buckets` again."""

        chart: Chart

        @property
        def control(self) -> Chart:
            """The chart it happened in."""
            return self.chart

        def can_replace(self, message: Message) -> bool:
            """Only the newest view counts."""
            return isinstance(message, Chart.ViewChanged) and message.chart is self.chart

    @dataclass
    class Pointed(Message):
        """The cursor was put somewhere with the mouse."""

        chart: Chart

        @property
        def control(self) -> Chart:
            """The chart it happened in."""
            return self.chart

    def __init__(
        self,
        *,
        glyphs: Glyphs = UNICODE,
        pixels: Pixels | None = None,
        log_y: bool = True,
        x_title: str = "epoch",
        scales: dict[str, bool] | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        """`pixels` defaults to braille, and to ASCII with ASCII glyphs. Charts may share `scales`."""
        super().__init__(id=id, classes=classes)
        self.glyphs = glyphs
        self.pixels = pixels or (Pixels.ASCII if glyphs.ascii else Pixels.BRAILLE)
        self.x_title = x_title
        self.empty_text = NO_EPOCH
        self.scales: dict[str, bool] = {LOSS.title: log_y} if scales is None else scales
        """Whether the y axis is logarithmic, by the titles of the quantities for which it was chosen."""
        self._sign = ""
        self._quantity = LOSS
        self._smoothing = Smoothing.OFF
        self._series: tuple[Series, ...] = ()
        self._window: tuple[float, float] | None = None
        self._cursor: float | None = None
        self._lines: list[Strip] | None = None
        self._styles: dict[str, Style] = {}

    # Content

    def show(self, series: Sequence[Series]) -> None:
        """Show these curves; equal labels share a colour. A view that includes the newest x follows it."""
        series = tuple(series)
        if series == self._series:
            return
        before = plot.extent(self._series)
        self._series = series
        after = plot.extent(series)
        if self._window is not None and after is not None:
            start, end = self._window
            moved = after[1] - end if before is not None and end >= before[1] else 0.0
            self._window = self._held(start + moved, end + moved)
        self._redraw()

    def explain(self, text: str) -> None:
        """Show `text` while there is no curve to draw."""
        if text != self.empty_text:
            self.empty_text = text
            self._redraw()

    @property
    def series(self) -> tuple[Series, ...]:
        """The curves."""
        return self._series

    @property
    def log_y(self) -> bool:
        """Whether a logarithmic y axis is chosen; with negative values the axis is linear anyway."""
        return self.scales.get(self._quantity.title, self._quantity.log)

    def sign(self, text: str) -> None:
        """Show a sign before the title."""
        if text != self._sign:
            self._sign = text
            self._redraw()

    def toggle_log(self) -> None:
        """Switch between a logarithmic and a linear y axis, per quantity."""
        self.scales[self._quantity.title] = not self.log_y
        self._redraw()

    @property
    def kinds(self) -> frozenset[Kind]:
        """The kinds of curves shown."""
        return self._quantity.kinds

    @property
    def quantity(self) -> Quantity:
        """The quantity that is drawn."""
        return self._quantity

    def measure(self, quantity: Quantity) -> None:
        """Draw another quantity; requests its curves by `ViewChanged` if they differ."""
        if quantity == self._quantity:
            return
        before, self._quantity = self._quantity, quantity
        if quantity.curves != before.curves:
            self._series = ()
            self.post_message(self.ViewChanged(self))
        self._redraw()

    @property
    def smoothing(self) -> Smoothing:
        """How much the curves are smoothed."""
        return self._smoothing

    def smooth(self, smoothing: Smoothing) -> None:
        """Smooth the curves that much."""
        if smoothing is not self._smoothing:
            self._smoothing = smoothing
            self._redraw()

    # The visible part

    @property
    def window(self) -> tuple[float, float]:
        """The first and the last visible x."""
        if self._window is not None:
            return self._window
        start, end = plot.extent(self._series) or (0.0, 1.0)
        return (start, end) if end > start else (start - 0.5, end + 0.5)

    @property
    def is_zoomed(self) -> bool:
        """Whether only a part is visible."""
        return self._window is not None

    @property
    def wanted_buckets(self) -> int:
        """The number of buckets over a whole curve that gives one per visible pixel column."""
        columns = max(1, self.size.width * self.pixels.across)
        whole = plot.extent(self._series)
        start, end = self.window
        if self._window is None or whole is None or end <= start:
            return columns
        return min(_MOST_BUCKETS, math.ceil(columns * max(1.0, (whole[1] - whole[0]) / (end - start))))

    def zoom(self, direction: Literal[1, -1], around: float | None = None) -> None:
        """Show half of the visible part (1) or twice as much (-1), around an x, by default the cursor.

        Without either it is around the middle, or at the newest end if that is visible.
        """
        whole = plot.extent(self._series)
        if whole is None:
            return
        start, end = self.window
        length = (end - start) / 2 if direction > 0 else (end - start) * 2
        length = max(length, _CLOSEST)
        around = self.cursor if around is None else around
        if around is not None:
            first = around - (around - start) / (end - start) * length  # it stays at its place
        else:
            first = end - length if end >= whole[1] else (start + end - length) / 2
        self._look_at(first, first + length)

    def pan(self, direction: Literal[1, -1]) -> None:
        """Move the view right (1) or left (-1) by a quarter."""
        start, end = self.window
        step = direction * (end - start) / 4
        if self._window is not None:
            self._look_at(start + step, end + step)

    def reset(self) -> None:
        """Show everything again."""
        if self._window is not None:
            self._window = None
            self._redraw()
            self.post_message(self.ViewChanged(self))

    # The cursor

    @property
    def cursor(self) -> float | None:
        """Where the cursor stands, on the x of a point in view; None: there is none."""
        if self._cursor is None:
            return None
        return readout.nearest(self._places, self._cursor)

    @property
    def _places(self) -> list[float]:
        return readout.positions(self._series, self.kinds, *self.window)

    def move_cursor(self, by: int) -> None:
        """Move the cursor by `by` points; without one, put it on the last point in view."""
        self.point_at(readout.neighbour(self._places, self.cursor, by))

    def point_at(self, x: float | None) -> None:
        """Put the cursor on the point nearest to `x`, or remove it (None)."""
        if x != self._cursor:
            self._cursor = x
            self._redraw()

    @property
    def narrows(self) -> bool:
        """Whether the cursor hides the legend."""
        return self.cursor is not None

    def widen(self) -> None:
        """Remove the cursor."""
        self.point_at(None)

    def _x_under(self, event: events.MouseEvent) -> float | None:
        place = event.get_content_offset(self)
        return None if place is None else plot.x_at(self._series, self._view(), *self.size, place.x)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Put the cursor where the mouse is."""
        self._point(event)

    def _point(self, event: events.MouseEvent) -> None:
        x = self._x_under(event)
        if x is not None:
            self.point_at(readout.nearest(self._places, x))
            self.post_message(self.Pointed(self))

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Drag the cursor."""
        if event.button:
            self._point(event)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Zoom in around the mouse."""
        event.stop()
        self.zoom(1, self._x_under(event))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Zoom out around the mouse."""
        event.stop()
        self.zoom(-1, self._x_under(event))

    def _look_at(self, start: float, end: float) -> None:
        window = self._held(start, end)
        if window != self._window:
            self._window = window
            self._redraw()
            self.post_message(self.ViewChanged(self))

    def _held(self, start: float, end: float) -> tuple[float, float] | None:
        """The window moved inside the data; None if it includes everything."""
        whole = plot.extent(self._series)
        if whole is None or end - start >= whole[1] - whole[0]:
            return None
        shift = max(0.0, whole[0] - start) - max(0.0, end - whole[1])
        return start + shift, end + shift

    # Drawing

    def _redraw(self) -> None:
        self._lines = None
        self.refresh(layout=False)

    def on_resize(self, event: events.Resize) -> None:
        """Draw for the new size, and request other buckets."""
        self._redraw()
        self.post_message(self.ViewChanged(self))

    def notify_style_update(self) -> None:
        """Redraw with the new colours."""
        super().notify_style_update()
        self._styles.clear()
        self._lines = None

    def render_line(self, y: int) -> Strip:
        """A line of the cached picture."""
        if self._lines is None:
            self._lines = self._picture()
        if y < len(self._lines):
            return self._lines[y]
        return Strip.blank(self.size.width, self._style("label"))

    def _view(self) -> plot.View:
        start, end = self.window
        return plot.View(
            start=start,
            end=end,
            log=self.log_y,
            kinds=self.kinds,
            pixels=self.pixels,
            x_title=self.x_title,
            y_title=self._sign + self._quantity.title,
            smoothing=self._smoothing.weight,
            cursor=self.cursor,
        )

    def _picture(self) -> list[Strip]:
        width, height = self.size
        lines = plot.picture(self._series, self._view(), width, height, self.glyphs)
        if not lines:
            text = cells.left(f"  {self._why_empty()}", width, self.glyphs.ellipsis)
            return [Strip([Segment(text, self._style("empty"))], width)]
        style = self._style
        return [Strip([Segment(text, style(name or "label")) for text, name in line], width) for line in lines]

    def _why_empty(self) -> str:
        if self.size.width < plot.LEAST_WIDTH or self.size.height < plot.LEAST_HEIGHT:
            return "No room for the chart."
        shown = [each for each in self._series if each.kind in self.kinds and each.points]
        if any(each.kind == "train" for each in shown):
            return f"{self.glyphs.diverged} diverged: no epoch in view has a number."
        return "No validation value yet." if self.kinds == {"validation"} else self.empty_text

    def _style(self, name: str) -> Style:
        style = self._styles.get(name)
        if style is None:
            style = self.get_component_rich_style(f"chart--{name.removesuffix(_FAINT)}")
            style = self._styles[name] = style + Style(dim=True) if name.endswith(_FAINT) else style
        return style
