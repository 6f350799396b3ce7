"""The baseline beside the models, and the best on the test split, in words."""

from __future__ import annotations

from forge_tui.analysis.baseline import AgainstBaseline, against_baseline
from forge_tui.analysis.ranking import best_model
from forge_tui.protocol.metrics import TEST, VALIDATION, MetricTable
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.snapshot import Snapshot
from forge_tui.safe_io.printing import printable
from forge_tui.text.figures import value_of

_NAMED = 3
_OF_NUMBERS = ("mae", "rmse", "r2")


def baseline_lines(snapshot: Snapshot) -> str:
    """A line with the baseline of the completed models, and one with those that do not beat it; empty without any.

    Where there is a test split, a line says what the best of them reaches there.
    """
    found = [(model, one) for model in snapshot.models if (one := against_baseline(model, snapshot.metrics))]
    lines = list(dict.fromkeys(f"baseline: {_figure(one)} ({what_it_predicts(one)})" for _, one in found))
    worse = [model.name for model, one in found if not one.is_better]
    if worse:
        more = f" and {len(worse) - _NAMED} more" if len(worse) > _NAMED else ""
        beat = "does not beat" if len(worse) == 1 else "do not beat"
        lines.append(f"{', '.join(worse[:_NAMED])}{more} {beat} the baseline")
    best = best_model(snapshot)
    if best is not None:
        tested = snapshot.metrics[f"{TEST}{best.metric.name.removeprefix(VALIDATION)}"]
        value = best.model.metrics.get(tested.name)
        if value is not None:
            lines.append(f"{best.model.name}: {tested.title} {value_of(tested, value)}")
    return "".join(f"{printable(line)}\n" for line in lines)


def baseline_sentence(model: ModelState, table: MetricTable) -> str | None:
    """How a completed model compares with the baseline, or None."""
    found = against_baseline(model, table)
    if found is None:
        return None
    verdict = "which the model beats" if found.is_better else "which the model does not beat"
    return f"{_figure(found)} ({what_it_predicts(found)}), {verdict}"


def what_it_predicts(found: AgainstBaseline) -> str:
    """What the baseline predicts, in words."""
    name = found.metric.name.removeprefix(VALIDATION).removeprefix(TEST)
    if name in _OF_NUMBERS:
        return "always the mean of the training split"
    if name == "perplexity":
        return "characters by how frequent they are in the training split"
    return "always the most frequent class of the training split"


def _figure(found: AgainstBaseline) -> str:
    return f"{found.metric.title} {value_of(found.metric, found.baseline)}"
