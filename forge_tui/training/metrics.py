"""Metrics on the validation split beside the loss, per task.

To add a metric, change this file and its declaration (`protocol.metrics.BUILT_IN`) only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from forge_tui.errors import SettingsError
from forge_tui.protocol.metrics import AUTO, CUSTOM, Metrics
from forge_tui.safe_io.printing import named
from forge_tui.settings.schema import TrainingConfig
from forge_tui.training.data.dataset import Task


def _is_right(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.argmax(dim=-1) == targets


def _perplexity(loss: float) -> float:
    return math.exp(loss) if loss < 700 else math.inf


OF_SAMPLES: Mapping[Task, Mapping[str, Callable[[Tensor, Tensor], Tensor]]] = {
    Task.CLASSIFICATION: {"validation_accuracy": _is_right},
    Task.REGRESSION: {},
    Task.NEXT_TOKEN: {},
}
"""Means over samples: each function returns a number per sample, (…, N), from outputs (…, N, …) and targets."""
OF_LOSS: Mapping[Task, Mapping[str, Callable[[float], float]]] = {
    Task.CLASSIFICATION: {},
    Task.REGRESSION: {},
    Task.NEXT_TOKEN: {"validation_perplexity": _perplexity},
}
"""Metrics computed from the validation loss."""


class SampleMeans:
    """The means over samples of a task's metrics, accumulated over batches, for one model or each of a stack."""

    def __init__(self, task: Task) -> None:
        self._functions = OF_SAMPLES[task]
        self._sums: dict[str, Tensor] = {}

    def add(self, outputs: Any, targets: Tensor) -> None:
        """Add a batch: outputs (N, …) or of a stack (M, N, …). Outputs other than one tensor are not measured."""
        if not isinstance(outputs, Tensor):
            return
        for name, function in self._functions.items():
            values = function(outputs, targets)
            values = values.sum(dim=-1, dtype=None if values.dtype is torch.bool else torch.float64)
            self._sums[name] = values if name not in self._sums else self._sums[name] + values

    def of_models(self, models: int, samples: int) -> list[Metrics]:
        """The metrics of each of `models` over `samples` in total."""
        sums = {name: values.reshape(-1).tolist() for name, values in self._sums.items()}
        return [{name: values[model] / samples for name, values in sums.items()} for model in range(models)]


def require_selectable(training: TrainingConfig, task: Task, *, validates: bool) -> None:
    """Raise `SettingsError` unless `training.select_by` names a metric with a goal that the run measures."""
    if training.select_by == AUTO:
        return
    measured = ["loss"]
    if validates:
        measured += ["validation_loss", *OF_SAMPLES[task], *OF_LOSS[task]]
        measured += [CUSTOM] if training.metric != AUTO else []
    if training.select_by not in measured:
        raise SettingsError(
            f"--select-by {named(training.select_by)}: these models are measured by {', '.join(measured)}; "
            "name one of them, or auto"
        )
