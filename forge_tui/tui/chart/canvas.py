"""Curves as terminal characters: a canvas of pixels, several to a cell, drawn column by column."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from forge_tui.tui.widgets.glyphs import Glyphs

Span = tuple[float, float | None, float | None]
"""An x position, and the smallest and the largest value there; None without a number."""

_LEFT_DOTS, _RIGHT_DOTS = (0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80)
_LEFT = [sum(dot for place, dot in enumerate(_LEFT_DOTS) if bits >> place & 1) for bits in range(16)]
_RIGHT = [sum(dot for place, dot in enumerate(_RIGHT_DOTS) if bits >> place & 1) for bits in range(16)]
# Bits: upper left 1, lower left 2, upper right 4, lower right 8.
_QUADRANTS = " ▘▖▌▝▀▞▛▗▚▄▙▐▜▟█"


class Pixels(StrEnum):
    """How a cell is divided: braille 2×4, blocks 2×2, or one ASCII character."""

    BRAILLE = "braille"
    BLOCKS = "blocks"
    ASCII = "ascii"

    @property
    def across(self) -> int:
        """Pixel columns per cell."""
        return 1 if self is Pixels.ASCII else 2

    @property
    def down(self) -> int:
        """Pixel rows per cell."""
        return {Pixels.BRAILLE: 4, Pixels.BLOCKS: 2, Pixels.ASCII: 1}[self]


@dataclass(frozen=True, slots=True)
class Curve:
    """A traced curve: per pixel column a mask of its rows (bit 0 is the top), and its last pixel."""

    columns: list[int]
    last: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Projection:
    """From values to pixels: column = `left` + `per_x` · x, row = `top` + `per_y` · y (or log y)."""

    left: float
    per_x: float
    top: float
    per_y: float
    log: bool

    def column(self, x: float) -> int:
        """The pixel column of `x`, which may be outside."""
        return round(self.left + self.per_x * x)

    def row(self, y: float) -> int:
        """The pixel row of `y`, which may be outside; far below for values without a logarithm."""
        if self.log:
            return round(self.top + self.per_y * math.log(y)) if y > 0 else _FAR_BELOW
        return round(self.top + self.per_y * y)


_FAR_BELOW = 1 << 20


def trace(spans: Iterable[Span], width: int, height: int, projection: Projection, joins_gaps: bool = False) -> Curve:
    """Draw `spans` (by rising x) on `width` × `height` pixels, joined by straight lines.

    Spans that share a column become one from their smallest to their largest value. A span without numbers
    interrupts the line, unless it `joins_gaps`. Values below the lowest row are drawn on it.
    """
    columns = [0] * width
    previous: tuple[int, int, int] | None = None
    last: tuple[int, int] | None = None
    column_of, row_of, floor = projection.column, projection.row, height - 1
    for x, low, high in spans:
        if low is None or high is None:
            if not joins_gaps:
                previous = None
            continue
        column = column_of(x)
        top = min(row_of(high), floor)
        bottom = top if low == high else min(row_of(low), floor)
        if previous is not None:
            if previous[0] == column:
                top, bottom = min(top, previous[1]), max(bottom, previous[2])
            elif previous[1] > bottom + 1 or top > previous[2] + 1 or column > previous[0] + 1:
                _join(columns, height, previous, (column, top, bottom))
        if 0 <= column < width:
            columns[column] |= ((2 << (bottom - top)) - 1) << top if top >= 0 else (2 << max(bottom, 0)) - 1
            last = column, max((top + bottom) // 2, 0)
        previous = column, top, bottom
    return Curve(columns, last)


def dotted(curve: Curve, pixels: Pixels) -> Curve:
    """The curve with gaps: every other cell, and along steep parts every other bit of it."""
    run = 1 if pixels is Pixels.ASCII else 2
    rows = 2 if pixels is Pixels.BRAILLE else 1
    tallest = max((mask.bit_length() for mask in curve.columns), default=0)
    dashes = sum(((1 << rows) - 1) << place for place in range(0, tallest, 2 * rows))
    thinned = []
    for column, mask in enumerate(curve.columns):
        if mask.bit_count() > 2 * rows:
            mask &= dashes
        elif column // run % 2:
            mask = 0
        thinned.append(mask)
    return Curve(thinned, curve.last)


def faint(curve: Curve, pixels: Pixels) -> Curve:
    """The curve in fine dots, one per cell, for accompanying curves; every other pixel where it is steep."""
    tallest = max((mask.bit_length() for mask in curve.columns), default=0)
    every_other = sum(1 << place for place in range(0, tallest, 2))
    thinned = [mask & every_other if mask.bit_count() > 2 else mask for mask in curve.columns]
    return Curve([mask if column % pixels.across == 0 else 0 for column, mask in enumerate(thinned)], curve.last)


def _fill(columns: list[int], height: int, column: int, top: int, bottom: int) -> None:
    top, bottom = max(top, 0), min(bottom, height - 1)
    if top <= bottom:
        columns[column] |= ((1 << (bottom - top + 1)) - 1) << top


def _join(columns: list[int], height: int, start: tuple[int, int, int], end: tuple[int, int, int]) -> None:
    """Draw the line between two spans, column by column."""
    distance = end[0] - start[0]
    # Between the nearest ends of the two spans, so that a tall span does not distort the line.
    if start[2] < end[1]:
        begin, finish = start[2], end[1]
    elif start[1] > end[2]:
        begin, finish = start[1], end[2]
    else:
        begin = finish = (max(start[1], end[1]) + min(start[2], end[2])) // 2
    if distance == 1:
        half = (begin + finish) // 2
        for column, stop in ((start[0], begin), (end[0], finish)):
            if 0 <= column < len(columns):
                _fill(columns, height, column, min(stop, half), max(stop, half))
        return
    slope = (finish - begin) / distance
    first, final = max(0, -start[0]), min(distance, len(columns) - 1 - start[0])
    for step in range(first, final + 1):
        here = begin + slope * max(0.0, step - 0.5)
        there = begin + slope * min(float(distance), step + 0.5)
        low, high = (here, there) if here <= there else (there, here)
        _fill(columns, height, start[0] + step, round(low), round(high))


class Canvas:
    """Cells that curves are drawn on, later ones over earlier ones. Each cell has a character and a style's name."""

    def __init__(self, width: int, height: int, pixels: Pixels, glyphs: Glyphs) -> None:
        """`width` and `height` in cells."""
        self.width, self.height = width, height
        self.pixels = pixels
        self._glyphs = glyphs
        self._bits = [[0] * width for _ in range(height)]
        self._text: list[list[str]] = [[" "] * width for _ in range(height)]
        self._style = [[""] * width for _ in range(height)]

    def draw(self, curve: Curve, style: str, number: int) -> None:
        """Draw a curve in a style.

        `number` chooses its character if a cell is one pixel: from 0 for curves, -1 for faint ones.
        """
        down = self.pixels.down
        if self.pixels is Pixels.ASCII:
            plot = self._glyphs.plot
            self._draw_characters(curve, style, plot[number % len(plot)] if number >= 0 else self._glyphs.line_faint)
            return
        whole = (1 << down) - 1
        braille = self.pixels is Pixels.BRAILLE
        for column in range(self.width):
            left, right = curve.columns[2 * column], curve.columns[2 * column + 1]
            rest = left | right
            while rest:
                row = ((rest & -rest).bit_length() - 1) // down
                shift = row * down
                low, high = left >> shift & whole, right >> shift & whole
                bits = self._bits[row][column]
                bits |= _LEFT[low] | _RIGHT[high] if braille else low | high << 2
                self._bits[row][column] = bits
                self._text[row][column] = chr(0x2800 + bits) if braille else _QUADRANTS[bits]
                self._style[row][column] = style
                rest &= ~(whole << shift)

    def _draw_characters(self, curve: Curve, style: str, character: str) -> None:
        for column, mask in enumerate(curve.columns):
            while mask:
                row = (mask & -mask).bit_length() - 1
                self._text[row][column] = character
                self._style[row][column] = style
                mask &= mask - 1

    def put(self, column: int, row: int, text: str, style: str) -> None:
        """Write `text` (one cell per character) over the canvas; parts outside are left out."""
        for place, character in enumerate(text, column):
            if 0 <= place < self.width and 0 <= row < self.height:
                self._text[row][place], self._style[row][place] = character, style

    def rule(self, column: int, text: str, style: str) -> None:
        """Draw a vertical line through the empty cells of a column."""
        for row in range(self.height):
            if self.is_free(column, row, 1):
                self.put(column, row, text, style)

    def is_free(self, column: int, row: int, length: int) -> bool:
        """Whether `length` cells from there are inside and empty."""
        if column < 0 or column + length > self.width or not 0 <= row < self.height:
            return False
        return all(cell == " " for cell in self._text[row][column : column + length])

    def line(self, row: int) -> list[tuple[str, str]]:
        """A line as pieces of text, each with its style's name (empty for blank)."""
        runs: list[tuple[str, str]] = []
        text, styles = self._text[row], self._style[row]
        start = 0
        for column in range(1, self.width + 1):
            if column == self.width or styles[column] != styles[start]:
                runs.append(("".join(text[start:column]), styles[start]))
                start = column
        return runs
