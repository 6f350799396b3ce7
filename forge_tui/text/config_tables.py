"""The configs of a sweep or a search as text: the values of each, a table of results, and what mattered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from forge_tui.analysis.importance import Importance, importances
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
    """The header and one row per config, the best first: rank, own values, models done, means ± deviations.

    Of a search the first of these are the values that it took.
    """
    names = list(results.results[0].combination)
    recorded = (name for one in results.results for name in one.finals.metrics)
    metrics = [metric for metric in results.table.ordered(recorded) if metric.default]
    best = (f"BEST {results.metric.short.upper()}",) if results.by_value and results.metric is not None else ()
    rows = [("RANK", *names, "MODELS", *best, *(metric.short.upper() for metric in metrics))]
    for one in results.results:
        rows.append(
            (
                UNKNOWN if one.rank is None else str(one.rank),
                *(value_text(one.combination.get(name)) for name in names),
                models_text(one),
                *(spread_text(one.value) for _ in best),
                *(spread_text(one.finals.metrics.get(metric.name)) for metric in metrics),
            )
        )
    return rows


def configs_table(results: ConfigResults) -> str:
    """The configs of a sweep as a table, the best first."""
    head, *rows = result_rows(results)
    return table(head, rows)


def configs_record(results: ConfigResults) -> dict[str, Any]:
    """A JSON-able dict: the metric that ranks, the importance of each setting, and per config its values, models (by
    index), finals and rank; of a search also the value that it took.
    """
    return {
        "ranked_by": None if results.metric is None else results.metric.name,
        "importance": [{"key": one.key, "share": one.share} for one in config_importances(results)],
        "configs": [
            finite(
                {
                    "rank": one.rank,
                    "combination": dict(one.combination),
                    "models": [model.index for model in one.models],
                    "final": one.finals.to_record(),
                    **({"value": None if one.value is None else asdict(one.value)} if results.by_value else {}),
                }
            )
            for one in results.results
        ],
    }


def ranked_by(results: ConfigResults) -> str:
    """What the ranks and the columns mean."""
    if results.metric is None:
        return "no config has a value yet"
    if results.by_value:
        return (
            f"ranked by mean {results.metric.words} at the best epoch of each model, completed trials first; others: "
            "mean ± standard deviation over the models done"
        )
    return f"ranked by mean {results.metric.words}; mean ± standard deviation over the models done (so far: over all)"


def config_importances(results: ConfigResults) -> list[Importance]:
    """How much each setting explains of the differences between the completed models, the most first."""
    if results.metric is None:
        return []
    models = [model for one in results.results for model in one.models if model.phase is TrainingPhase.COMPLETED]
    return importances(models, results.metric, by_value=results.by_value)


def importance_line(results: ConfigResults) -> str:
    """Which setting of a search mattered: `learning_rate 62 %, batch_size 3 %`; empty if unknown, and of a sweep."""
    known = [one for one in config_importances(results) if one.share is not None] if results.by_value else []
    if not known:
        return ""
    shares = ", ".join(f"{one.key} {100 * (one.share or 0):.0f} %" for one in known)
    return f"what each setting explains of the differences between ranks: {shares}"


def models_text(result: ConfigResult) -> str:
    """How many of a config's models are done, or pruned."""
    done = sum(1 for model in result.models if model.phase is TrainingPhase.COMPLETED)
    pruned = f", {result.pruned} pruned" if result.pruned else ""
    is_live = result.finals.so_far and result.pruned < len(result.models)
    return f"{done}/{len(result.models)} done{pruned}" + (", so far" if is_live else "")
