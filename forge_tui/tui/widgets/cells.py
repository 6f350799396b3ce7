"""Text measured in terminal cells: clean, cut and padded so that columns stay aligned; numbers that fit a column."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from rich.cells import cell_len

from forge_tui.safe_io.printing import PLAIN, printable
from forge_tui.tui.widgets.glyphs import Glyphs

NUMBER_CELLS = 6
_VARIATION_SELECTORS = re.compile("[\ufe00-\ufe0f]")

Piece = tuple[str, str]
"""A piece of a line: text and the name of its style."""


def clean(text: str, only_ascii: bool = False) -> str:
    """`text` from a run or an exception as one line without control characters.

    Variation selectors are removed too: terminals disagree on whether they make a character two cells wide.
    `only_ascii` replaces other characters by a plain one, or `?`.
    """
    if text.isascii() and text.isprintable():
        return text
    text = _VARIATION_SELECTORS.sub("", printable(text))
    return text.translate(PLAIN).encode("ascii", "replace").decode("ascii") if only_ascii else text


def width_of(text: str) -> int:
    """The width of `text` in cells."""
    return len(text) if text.isascii() else cell_len(text)


def head(text: str, width: int) -> str:
    """The longest beginning of `text` of at most `width` cells; combining characters stay with their base."""
    if width_of(text) <= width:
        return text
    used = 0
    for place, character in enumerate(text):
        used += cell_len(character)
        if used > width:
            return text[:place]
    return text


def tail(text: str, width: int) -> str:
    """The longest end of `text` of at most `width` cells."""
    if width_of(text) <= width:
        return text
    used, start = 0, len(text)
    for place in range(len(text) - 1, -1, -1):
        cells = cell_len(text[place])
        if used + cells > width:
            break
        used += cells
        if cells:
            start = place
    return text[start:]


def left(text: str, width: int, ellipsis: str = "…") -> str:
    """`text` in exactly `width` cells; a longer one is cut at the end, with `ellipsis`."""
    if width <= 0:
        return ""
    if width_of(text) > width:
        text = head(text, width - 1) + ellipsis
    return text + " " * (width - width_of(text))


def middle(text: str, width: int, ellipsis: str = "…") -> str:
    """`text` in exactly `width` cells; a longer one is cut in the middle: names often differ at the end."""
    if width < 5 or width_of(text) <= width:
        return left(text, width, ellipsis)
    end = tail(text, (width - 1) // 2)
    short = head(text, width - 1 - width_of(end)) + ellipsis + end
    return short + " " * (width - width_of(short))


def right(text: str, width: int, ellipsis: str = "…") -> str:
    """`text` in exactly `width` cells, at their right end."""
    if width_of(text) > width:
        return left(text, width, ellipsis)
    return " " * (width - width_of(text)) + text


def short_number(value: float | None, glyphs: Glyphs) -> str:
    """A measured number in at most 6 cells, plus one for a minus; four decimals if they fit."""
    if value is None or not math.isfinite(value):
        return glyphs.unknown
    size = abs(value)
    sign = "-" if value < 0 else ""
    if size == 0:
        return "0"
    if size >= 1e-3:
        for places in (4, 3, 2, 1, 0):
            text = f"{size:.{places}f}"
            if len(text) <= NUMBER_CELLS:
                return sign + text
    for places in (1, 0):
        mantissa, exponent = f"{size:.{places}e}".split("e")
        text = f"{mantissa}e{int(exponent)}"
        if len(text) <= NUMBER_CELLS:
            break
    return sign + text


def short_duration(seconds: float | None, glyphs: Glyphs) -> str:
    """A duration in at most 5 cells: `0:41`, `15:07`, `3h07m`, `2d04h`, `412d`."""
    if seconds is None or not math.isfinite(seconds):
        return glyphs.unknown
    whole = max(0, round(seconds))
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if minutes < 60:
        return f"{minutes}:{second:02}"
    if hours < 10:
        return f"{hours}h{minute:02}m"
    if hours < 24:
        return f"{hours}h{minute:02}"
    return f"{days}d{hour:02}h" if days < 10 else f"{days}d"


def _means(values: Sequence[float | None], cells: int) -> Sequence[float | None]:
    """The means of `values` in `cells` equal parts; None if a value of a part is missing."""
    means: list[float | None] = []
    for cell in range(cells):
        part = values[cell * len(values) // cells : (cell + 1) * len(values) // cells]
        known = [value for value in part if value is not None]
        means.append(sum(known) / len(known) if len(known) == len(part) else None)
    return means


def sparkline(values: Sequence[float | None], width: int, glyphs: Glyphs) -> str:
    """`values` in at most `width` cells, scaled between their smallest and largest; missing ones are gap signs.

    With more values than cells, each cell shows the mean of its part.
    """
    if not values or width <= 0:
        return ""
    means = _means(values, width) if len(values) > width else values
    means = [mean if mean is not None and math.isfinite(mean) else None for mean in means]
    known = [mean for mean in means if mean is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    top = len(glyphs.spark) - 1
    # Means of equal values differ by rounding; this is not a trend.
    span = high - low if high - low > 1e-9 * max(abs(low), abs(high)) else 0.0
    return "".join(
        glyphs.gap if mean is None else glyphs.spark[round((mean - low) / span * top) if span > 0 else top // 2]
        for mean in means
    )


def pad(runs: list[Piece], width: int, style: str) -> list[Piece]:
    """`runs` in exactly `width` cells; neighbours of one style are joined."""
    used, fitted = 0, []
    last, joined = "", ""
    for text, name in (*runs, (" " * width, style)):
        cell_width = width_of(text)
        if used + cell_width > width:
            text = left(text, width - used, "")
            cell_width = width - used
        used += cell_width
        if name == last:
            joined += text
            continue
        if joined:
            fitted.append((joined, last))
        last, joined = name, text
    if joined:
        fitted.append((joined, last))
    return fitted
