"""Writes a drawing as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from forge_tui.reports.pictures.drawing import DARK, LIGHT, Area, Drawing, Line, Point, Shape, Text
from forge_tui.text.markup import Markup, element

_FONT = "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


def svg_file(drawing: Drawing) -> str:
    """A file of its own: light or dark as the viewer prefers, light where it is printed."""
    dark = f"@media screen and (prefers-color-scheme: dark) {{{_rules(DARK)}}}"
    page = element("rect", width="100%", height="100%", class_="f-page")
    return svg(drawing, Markup(f"<style>{_rules(LIGHT)}{dark}</style>{page}"), xmlns="http://www.w3.org/2000/svg")


def svg(drawing: Drawing, first: Markup | None = None, **attributes: str) -> Markup:
    """The element, without colours of its own: classes `f-ROLE` fill and `s-ROLE` draw in the colour of a role."""
    return element(
        "svg",
        element("title", drawing.title),
        element("desc", drawing.description),
        first,
        *map(_shape, drawing.shapes),
        viewBox=f"0 0 {drawing.width:g} {drawing.height:g}",
        width=drawing.width,
        height=drawing.height,
        role="img",
        font_family=_FONT,
        **attributes,
    )


def colour_rules(colours: Mapping[str, str], variables: bool = False) -> str:
    """CSS of the classes; with `variables` by `var(--ROLE)`, so that a page decides."""
    return "".join(
        f".f-{role}{{fill:{value}}}.s-{role}{{stroke:{value};fill:none}}"
        for role, colour in colours.items()
        for value in (f"var(--{role})" if variables else colour,)
    )


def _rules(colours: Mapping[str, str]) -> str:
    return colour_rules(colours)


def _shape(shape: Shape) -> Markup:
    match shape:
        case Text():
            return element(
                "text", shape.text, x=_rounded(shape.x), y=_rounded(shape.y), class_=f"f-{shape.role}",
                font_size=shape.size, text_anchor=None if shape.anchor == "start" else shape.anchor,
                font_weight="600" if shape.bold else None,
            )  # fmt: skip
        case Area():
            return element(
                "polygon", points=_points(shape.points), class_=f"f-{shape.role}", fill_opacity=_share(shape.opacity)
            )
        case Line():
            return element(
                "polyline", points=_points(shape.points), class_=f"s-{shape.role}", stroke_width=shape.width,
                stroke_dasharray=" ".join(f"{one:g}" for one in shape.dash) or None,
                stroke_opacity=_share(shape.opacity), stroke_linejoin="round",
            )  # fmt: skip


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _rounded(value: float) -> str:
    return f"{value:.1f}"


def _share(opacity: float) -> float | None:
    return None if opacity == 1.0 else opacity
