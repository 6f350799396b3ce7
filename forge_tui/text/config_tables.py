"""The configs of a sweep as text: the values of each, and a table of results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from forge_tui.protocol.events import finite
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.text.figures import UNKNOWN, spread_text, table

if TYPE_CHECKING:
    from forge_tui.analysis.configs import ConfigResult, ConfigResults


def value_text(value: Any) -> str:
    """One value of a setting: `0.003`, `true`, `0.9, 0.99`."""
    match value:
        case None:
            return UNKNOWN
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case list() | tuple():
            return ", ".join(value_text(each) for each in value)
    return str(value)


def combination_text(combination: Mapping[str, Any]) -> str:
    """A config's own values: `learning_rate 0.003, batch_size 64`."""
    return ", ".join(f"{name} {value_text(value)}" for name, value in combination.items())


def result_rows(results: ConfigResults) -> list[tuple[str, ...]]:
    """The header and one row per config, the best first: rank, own values, models done, means ± deviations."""
    names = list(results.results[0].combination)
    recorded = (name for one in results.results for name in one.finals.metrics)
    metrics = [metric for metric in results.table.ordered(recorded) if metric.default]
    rows = [("RANK", *names, "MODELS", *(metric.short.upper() for metric in metrics))]
    for one in results.results:
        rows.append(
            (
                UNKNOWN if one.rank is None else str(one.rank),
                *(value_text(one.combination.get(name)) for name in names),
                _models(one),
                *(spread_text(one.finals.metrics.get(metric.name)) for metric in metrics),
            )
        )
    return rows


def configs_table(results: ConfigResults) -> str:
    """The configs of a sweep as a table, the best first."""
    head, *rows = result_rows(results)
    return table(head, rows)


def configs_record(results: ConfigResults) -> dict[str, Any]:
    """A JSON-able dict: the metric that ranks, and per config its values, models (by index), finals and rank."""
    return {
        "ranked_by": None if results.metric is None else results.metric.name,
        "configs": [
            finite(
                {
                    "rank": one.rank,
                    "combination": dict(one.combination),
                    "models": [model.index for model in one.models],
                    "final": one.finals.to_record(),
                }
            )
            for one in results.results
        ],
    }


def ranked_by(results: ConfigResults) -> str:
    """What the ranks and the columns mean."""
    if results.metric is None:
        return "no config has a value yet"
    return f"ranked by mean {results.metric.words}; mean ± standard deviation over the models done (so far: over all)"


def _models(result: ConfigResult) -> str:
    done = sum(1 for model in result.models if model.phase is TrainingPhase.COMPLETED)
    return f"{done}/{len(result.models)} done" + (", so far" if result.finals.so_far else "")
