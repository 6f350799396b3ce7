"""Whether models beat the baseline: what the training targets alone predict."""

from __future__ import annotations

from dataclasses import dataclass

from forge_tui.protocol.metrics import Metric, MetricTable
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import TrainingPhase


@dataclass(frozen=True, slots=True, kw_only=True)
class AgainstBaseline:
    """A completed model's most telling metric, its value, and that of the baseline."""

    metric: Metric
    value: float
    baseline: float

    @property
    def is_better(self) -> bool:
        """Whether the model beats the baseline."""
        return self.metric.badness(self.value) < self.metric.badness(self.baseline)


def against_baseline(model: ModelState, table: MetricTable) -> AgainstBaseline | None:
    """How a completed model compares; None for another one, or where no metric is known of both."""
    if model.phase is not TrainingPhase.COMPLETED:
        return None
    known = {name: value for name, value in model.metrics.items() if model.baseline.get(name) is not None}
    metric = table.headline(known)
    if metric is None:
        return None
    value, of_baseline = known[metric.name], model.baseline[metric.name]
    assert value is not None
    assert of_baseline is not None
    return AgainstBaseline(metric=metric, value=value, baseline=of_baseline)
