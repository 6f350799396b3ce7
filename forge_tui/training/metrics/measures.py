"""The metrics of a task, accumulated over batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from forge_tui.protocol.metrics import Metrics
from forge_tui.training.data.task import Task
from forge_tui.training.metrics.known_targets import KnownTargets
from forge_tui.training.metrics.of_classes import ClassMetrics
from forge_tui.training.metrics.of_numbers import NumberMetrics
from forge_tui.training.metrics.of_tokens import TokenMetrics

NAMES: Mapping[Task, tuple[str, ...]] = {
    Task.CLASSIFICATION: ("accuracy", "balanced_accuracy", "f1", "log_loss", "auc"),
    Task.REGRESSION: ("mae", "rmse", "r2"),
    Task.NEXT_TOKEN: ("perplexity",),
}
"""The metrics of each task, without the part of the data that they are measured on."""


class _OfTask(Protocol):
    def fits(self, outputs: Tensor, targets: Tensor) -> bool: ...

    def add(self, outputs: Tensor, targets: Tensor) -> None: ...

    def results(self, losses: Sequence[float]) -> list[Metrics]: ...


class Measures:
    """Accumulates the outputs of `models` for targets that each has alike; then gives their metrics.

    `own_loss`: the loss is a custom one, so nothing follows from its value. `copies`: outputs are kept as copies, since
    custom code may change them in place.
    """

    def __init__(self, known: KnownTargets, models: int, *, own_loss: bool = False, copies: bool = False) -> None:
        self._models = models
        self._of_task: _OfTask
        match known.task:
            case Task.CLASSIFICATION:
                self._of_task = ClassMetrics(known, models, own_loss=own_loss, copies=copies)
            case Task.REGRESSION:
                self._of_task = NumberMetrics(known, models)
            case Task.NEXT_TOKEN:
                self._of_task = TokenMetrics(known, models, own_loss=own_loss)
        self._is_measured = len(known) > 0

    def add(self, outputs: Any, targets: Tensor) -> None:
        """Add the next batch: outputs (M, N, …) for targets (N, …).

        Outputs that are not one tensor, or not of the task's shape, are not measured.
        """
        if self._is_measured and isinstance(outputs, Tensor) and self._of_task.fits(outputs, targets):
            self._of_task.add(outputs, targets)
        else:
            self._is_measured = False

    def results(self, losses: Sequence[float], prefix: str = "") -> list[Metrics]:
        """The metrics of each model, `prefix` before each name. `losses`: each model's mean loss."""
        if not self._is_measured:
            return [{} for _ in range(self._models)]
        return [{f"{prefix}{name}": value for name, value in one.items()} for one in self._of_task.results(losses)]


def measure(task: Task, outputs: Tensor, targets: Tensor) -> Metrics:
    """The metrics of a model's outputs (N, …), logits or predictions in the targets' units, for targets (N, …)."""
    measures = Measures(KnownTargets(task, targets), 1, own_loss=True)
    measures.add(outputs.unsqueeze(0), targets)
    (found,) = measures.results([])
    return found
