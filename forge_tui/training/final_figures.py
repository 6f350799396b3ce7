"""What is measured once of a finished model, beside the metrics of its epochs."""

from __future__ import annotations

from dataclasses import dataclass, field

from forge_tui.protocol.metrics import VALIDATION, Metrics
from forge_tui.training.data.dataset import Dataset
from forge_tui.training.metrics.baseline import baseline
from forge_tui.training.placed_data import PlacedData
from forge_tui.training.state import TrainingState


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalFigures:
    """`baseline`: the metrics of a prediction without features; of the same names as the model's."""

    baseline: Metrics = field(default_factory=dict)


class FinalMeasurement:
    """Measures the finished models of a trainer."""

    def __init__(self, dataset: Dataset, data: PlacedData) -> None:
        self.dataset = dataset
        self._data = data
        self._baseline: Metrics | None = None

    def of(self, state: TrainingState, number: int) -> FinalFigures:
        """The figures of model `number` of `state`, with the weights of its file. Draws no random numbers."""
        if self._baseline is None:
            known = self._data.known
            self._baseline = {} if known is None else baseline(self._data.train_targets, known, VALIDATION)
        return FinalFigures(baseline=self._baseline)
