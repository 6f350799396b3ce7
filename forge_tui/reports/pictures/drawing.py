"""Shapes of a picture, in pixels from its upper left corner, and the colours of their roles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Point = tuple[float, float]
Anchor = Literal["start", "middle", "end"]

COLOURS = 8
"""How many curves have a colour of their own: roles `curve-0` … `curve-7`."""
DASHES: tuple[tuple[float, ...], ...] = ((), (7, 3), (2, 3), (9, 3, 2, 3))
"""One after another as for colours, so that colour is not the only sign."""
LIGHT = {
    "page": "#ffffff", "text": "#1b1f24", "muted": "#57606a", "grid": "#e3e6ea", "axis": "#8c959f", "other": "#a5adb6",
    "curve-0": "#0065a8", "curve-1": "#c24a00", "curve-2": "#00785a", "curve-3": "#a83e86", "curve-4": "#806600",
    "curve-5": "#5a4bc4", "curve-6": "#9a4a22", "curve-7": "#3d444d",
}  # fmt: skip
DARK = {
    "page": "#14181d", "text": "#e8ecf0", "muted": "#a3adb8", "grid": "#2b323a", "axis": "#6b7580", "other": "#5c6670",
    "curve-0": "#5cb8f0", "curve-1": "#ff9b52", "curve-2": "#35c9a0", "curve-3": "#eb9ccb", "curve-4": "#e2c244",
    "curve-5": "#aaa0ff", "curve-6": "#e0a27c", "curve-7": "#d3d9df",
}  # fmt: skip
"""Contrast with the page: text at least 4.5 to 1, curves 3 to 1 (WCAG 2.2, 1.4.3 and 1.4.11)."""


@dataclass(frozen=True, slots=True)
class Line:
    """A polyline. `role` names its colour, `opacity` is 0–1."""

    points: tuple[Point, ...]
    role: str
    width: float = 1.0
    dash: tuple[float, ...] = ()
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class Area:
    """A filled polygon without an edge."""

    points: tuple[Point, ...]
    role: str
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text; `y` is its baseline. `size` in pixels."""

    x: float
    y: float
    text: str
    role: str = "text"
    size: float = 12.0
    anchor: Anchor = "start"
    bold: bool = False


Shape = Line | Area | Text


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture; `title` and `description` are for those who cannot see it. Later shapes cover earlier ones."""

    width: float
    height: float
    title: str
    description: str
    shapes: tuple[Shape, ...]
