"""Which models of a run are completed, and which is the best: by its validation metric, or without by its loss."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from forge_tui.errors import ForgeError
from forge_tui.progress.phases import TrainingPhase
from forge_tui.progress.snapshot import ModelState, Snapshot

FIGURES = ("validation_metric", "validation_accuracy", "validation_perplexity", "validation_loss", "loss")
"""What decides, the first of these that there is."""


def largest_is_best(figure: str, model: ModelState | None) -> bool:
    """Whether of this figure of such models the largest value is the best; of all others the least is."""
    if figure == "validation_metric":
        return model is None or model.config.get("metric_goal") != "least"
    return figure == "validation_accuracy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The best of the completed models, the field of `ModelState` that tells so, and its value there."""

    model: ModelState
    figure: str
    value: float


def best_model(models: Iterable[ModelState]) -> Best | None:
    """The best of those that are completed, or None where none is.

    What decides is the first figure that any of them has: a metric of the user's own, accuracy, perplexity, validation
    loss, loss. Between equal ones the next of these decides, then the lower index. A number that is unknown, NaN or
    infinite is worse than any.
    """
    completed = [model for model in models if model.phase is TrainingPhase.COMPLETED]
    for place, figure in enumerate(FIGURES):
        known = [model for model in completed if math.isfinite(_badness(model, figure))]
        if known:
            best = min(known, key=lambda model: (*(_badness(model, one) for one in FIGURES[place:]), model.index))
            return Best(model=best, figure=figure, value=getattr(best, figure))
    return None


def require_completed(run: str, snapshot: Snapshot) -> tuple[ModelState, ...]:
    """The completed models of a run. Raises `ForgeError` with what to do where there is none."""
    completed = tuple(model for model in snapshot.models if model.phase is TrainingPhase.COMPLETED)
    if completed:
        return completed
    if snapshot.state.is_live:
        raise ForgeError(
            f"run {run}: no model is completed yet ({snapshot.state}); `forge-tui wait {run}` waits for the end"
        )
    raise ForgeError(f"run {run}: no model is completed ({snapshot.state}); `forge-tui resume {run}` goes on with it")


def _badness(model: ModelState, figure: str) -> float:
    value: float | None = getattr(model, figure)
    if value is None or not math.isfinite(value):
        return math.inf
    return -value if largest_is_best(figure, model) else value
