"""Writes a drawing as PNG, by matplotlib (extra `plots`), which brings the fonts that a server may not have."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Literal

from forge_tui.errors import UsageError
from forge_tui.reports.pictures.drawing import LIGHT, Anchor, Area, Drawing, Line, Shape, Text

if TYPE_CHECKING:
    from matplotlib.artist import Artist

_SCALE = 2.0
"""Pixels of the file per pixel of the drawing."""
_DPI = 100.0
_SIDES: dict[Anchor, Literal["left", "center", "right"]] = {"start": "left", "middle": "center", "end": "right"}


def require_png() -> None:
    """Raise `UsageError` with what to install unless matplotlib is there."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"--format png needs matplotlib ({error}); `pip install 'forge-tui[plots]'` installs it, and --format svg "
            "needs nothing"
        ) from error


def png_file(drawing: Drawing) -> bytes:
    """The bytes of a PNG file with twice the drawing's pixels. Raises `UsageError` without matplotlib."""
    require_png()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, height = drawing.width * _SCALE / _DPI, drawing.height * _SCALE / _DPI
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor=LIGHT["page"])
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(0.0, drawing.width)
    axes.set_ylim(drawing.height, 0.0)
    for order, shape in enumerate(drawing.shapes):
        axes.add_artist(_artist(shape, order))
    file = io.BytesIO()
    canvas.print_png(file, metadata={"Title": drawing.title, "Description": drawing.description})
    return file.getvalue()


def _artist(shape: Shape, order: int) -> Artist:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Polygon
    from matplotlib.text import Text as PlacedText

    colour = LIGHT[shape.role]
    points = 72.0 / _DPI * _SCALE  # widths and sizes of matplotlib are in points
    match shape:
        case Line():
            across, down = zip(*shape.points, strict=True)
            line = Line2D(
                across, down, color=colour, linewidth=shape.width * points, alpha=shape.opacity, zorder=order,
                solid_joinstyle="round",
            )  # fmt: skip
            if shape.dash:
                line.set_linestyle((0.0, tuple(one / shape.width for one in shape.dash)))
            return line
        case Area():
            return Polygon(
                list(shape.points), closed=True, facecolor=colour, edgecolor="none", alpha=shape.opacity, zorder=order
            )
        case Text():
            return PlacedText(
                shape.x, shape.y, shape.text, color=colour, fontsize=shape.size * points, zorder=order,
                horizontalalignment=_SIDES[shape.anchor], verticalalignment="baseline", parse_math=False,
                fontweight="bold" if shape.bold else "normal",
            )  # fmt: skip
