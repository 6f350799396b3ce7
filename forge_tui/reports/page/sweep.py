"""The configs of a sweep or a search on a page: their ranking, which settings matter, parallel coordinates."""

from __future__ import annotations

import math
from typing import Any

from forge_tui.analysis.configs import ConfigResults
from forge_tui.analysis.spread import Spread
from forge_tui.protocol.metrics import SHARE
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.reports.curve_sets import choice_words, spread_choice
from forge_tui.reports.page.tables import Cell, Section, data_table, number_cell, paragraphs, section
from forge_tui.text.config_tables import combination_text, config_importances, models_text, ranked_by, value_text
from forge_tui.text.figures import UNKNOWN, spread_text
from forge_tui.text.markup import Markup, data_script, element

MOST_ROWS, MOST_LINES = 300, 400
"""The configs of the table and of the picture."""
_MOST_TICKS = 12
_LOG_FROM = 10.0
"""The ratio of the largest to the smallest value from which an axis is logarithmic."""


def sweep_section(results: ConfigResults) -> Section:
    """The section of a run with a sweep or a search."""
    return section(
        "sweep", "Search" if results.by_value else "Sweep", element("h3", "Ranking of the configs"), _ranking(results),
        element("h3", "Importance of the settings"), *_importance(results),
        element("h3", "All configs at once"), *_parallel(results),
    )  # fmt: skip


def _ranking(results: ConfigResults) -> Markup:
    every = results.results
    chosen = [every[place] for place in spread_choice(len(every), MOST_ROWS)]
    keys = list(every[0].combination)
    recorded = dict.fromkeys(name for one in every for name in one.finals.metrics)
    metrics = [metric for metric in results.table.ordered(recorded) if metric.default]
    best = [f"Best {results.metric.title}"] if results.by_value and results.metric is not None else []
    rows: list[list[Cell | str]] = []
    for one in chosen:
        finals = one.finals.metrics
        rows.append(
            [
                number_cell(UNKNOWN if one.rank is None else str(one.rank), one.rank),
                *(_value(one.combination.get(key)) for key in keys),
                Cell(models_text(one)),
                *(_spread_cell(one.value) for _ in best),
                *(_spread_cell(finals.get(metric.name)) for metric in metrics),
            ]
        )
    head = ["Rank", *keys, "Models", *best, *(metric.title for metric in metrics)]
    text = ranked_by(results)
    notes = [f"{text[:1].upper()}{text[1:]}."]
    if len(chosen) < len(every):
        notes.append(f"Of {len(every):,} configs {choice_words(MOST_ROWS)} are in the table.")
    return element("div", data_table("Configs, the best first", head, rows, sortable=True), paragraphs(notes, "note"))


def _value(value: Any) -> Cell:
    return Cell(value_text(value), float(value) if _is_number(value) else None, _is_number(value))


def _spread_cell(found: Spread | None) -> Cell:
    return number_cell(spread_text(found), None if found is None else found.mean)


def _importance(results: ConfigResults) -> list[Markup]:
    metric = results.metric
    if metric is None:
        return [element("p", "No config has a value yet.")]
    every = [model for one in results.results for model in one.models]
    completed = [model for model in every if model.phase is TrainingPhase.COMPLETED]
    found = config_importances(results)
    if not found:
        return [element("p", "No model is completed.")]
    rows: list[list[Cell | str]] = []
    for one in found:
        share = one.share
        bar = element("progress", max=1.0, value=share, aria_hidden="true") if share is not None else None
        text = UNKNOWN if share is None else f"{share:.0%}"
        rows.append(
            [one.key, number_cell(text, share), Cell(bar, classes="bar"), number_cell(str(one.levels), one.levels)]
        )
    about = (
        f"How much of the differences between the ranks of the {len(completed):,} completed models by {metric.words} "
        "each setting explains alone (by Kruskal and Wallis, corrected for chance; numbers with more than six values "
        "in five bins). What only a combination of settings does, and what the seed does, is the rest."
    )
    table = data_table("Importance of the swept settings", ["Setting", "Share", "", "Values"], rows)
    return [table, element("p", about, class_="note")]


def _parallel(results: ConfigResults) -> list[Markup]:
    every = [one for one in results.results if one.finals.metrics]
    if results.metric is None or not every:
        return [element("p", "No config has a value yet.")]
    chosen = [every[place] for place in spread_choice(len(every), MOST_LINES)]
    keys = list(chosen[0].combination)
    recorded = dict.fromkeys(name for one in chosen for name in one.finals.metrics)
    metrics = [metric for metric in results.table.ordered(recorded) if metric.goal is not None or metric.default]
    record = {
        "axes": [_axis(key, [one.combination.get(key) for one in chosen]) for key in keys],
        "metrics": [
            {"name": metric.name, "title": metric.words, "log": metric.log, "goal": metric.goal,
             "share": metric.unit == SHARE}
            for metric in metrics
        ],
        "first": results.metric.name,
        "lines": [
            {"rank": one.rank, "label": combination_text(one.combination), "soFar": one.finals.so_far,
             "means": {name: float(f"{found.mean:.5g}") for name, found in one.finals.metrics.items()}}
            for one in chosen
        ],
    }  # fmt: skip
    notes = ["The table of configs above has the same values."]
    if len(chosen) < len(every):
        notes.append(f"Of {len(every):,} configs {choice_words(MOST_LINES)} are drawn.")
    return [
        element(
            "p",
            "A line per config. Drag along an axis to see only the configs within, click it to see all again; the "
            "arrow keys go from config to config.",
            class_="about",
        ),
        element("div", element("noscript", "This picture needs JavaScript."), class_="chart", id="parallel-chart"),
        paragraphs(notes, "note"),
        data_script("parallel-data", record),
    ]


def _axis(key: str, values: list[Any]) -> dict[str, Any]:
    """An axis and `at`, the place of each value on it: a number, or one of `words`."""
    if not all(map(_is_number, values)):
        words = [value_text(value) for value in values]
        return {"key": key, "words": list(dict.fromkeys(words)), "at": words}
    different = sorted(set(values))
    low, high = different[0], different[-1]
    ticks = different if len(different) <= _MOST_TICKS else None
    return {"key": key, "log": low > 0 and high / low >= _LOG_FROM, "ticks": ticks, "at": values}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
