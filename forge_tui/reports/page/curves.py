"""The curves of a page: data for the script, and a picture where no script runs."""

from __future__ import annotations

from typing import Any

from forge_tui.protocol.metrics import SHARE
from forge_tui.reports.curve_sets import Curve, CurveSet, Series
from forge_tui.reports.page.tables import Section, paragraphs, section
from forge_tui.reports.pictures.curve_picture import curve_picture
from forge_tui.reports.pictures.svg import svg
from forge_tui.text.markup import data_script, element

_ABOUT = (
    "Choose a metric and the curves to compare. Point at the picture, or focus it and use the arrow keys, for the "
    "values of an epoch."
)
_MEANS = "Curves of configs are means over their models, with one standard deviation to each side."


def curves_section(curves: CurveSet) -> Section:
    """The section; without epochs it says so."""
    if not curves.metrics:
        return section("curves", "Curves", element("p", "No model has finished an epoch."))
    first = next((metric for metric in curves.metrics if metric.is_validation and metric.default), curves.metrics[0])
    still = curve_picture(f"Curves of {first.words}", curves, [first])
    texts = [_ABOUT, *([_MEANS] if curves.configs else [])]
    return section(
        "curves",
        "Curves",
        paragraphs(texts, "about"),
        element("div", element("div", svg(still), class_="still"), class_="chart", id="curves-chart"),
        paragraphs(curves.notes, "note"),
        data_script("curves-data", curves_record(curves, first.name)),
    )


def curves_record(curves: CurveSet, first: str) -> dict[str, Any]:
    """What the script draws. Each curve is [place of its epochs in `axes`, low, high, lower, upper].

    `high` is 0 where it is the same as `low`, `lower` and `upper` where there is no deviation. Five digits are kept.
    """
    axes: dict[tuple[int, ...], int] = {}

    def curve(one: Curve) -> list[Any]:
        axis = axes.setdefault(one.epochs, len(axes))
        low, high = _digits(one.low), _digits(one.high)
        return [axis, low, 0 if high == low else high, _digits(one.lower) or 0, _digits(one.upper) or 0]

    def series(one: Series) -> dict[str, Any]:
        curves = {name: curve(values) for name, values in one.curves.items()}
        return {"label": one.label, "rank": one.rank, "models": one.models, "curves": curves}

    views = [("Configs", curves.configs), ("Models", curves.models)]
    made = [{"name": name, "series": [series(one) for one in members]} for name, members in views if members]
    return {
        "first": first,
        "metrics": [
            {"name": metric.name, "title": metric.words, "log": metric.log, "share": metric.unit == SHARE}
            for metric in curves.metrics
        ],
        "views": made,
        "axes": [list(axis) for axis in axes],
    }


def _digits(values: tuple[float | None, ...]) -> list[float | None]:
    return [None if value is None else float(f"{value:.5g}") for value in values]
