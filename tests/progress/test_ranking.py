"""Which model is the best."""

from __future__ import annotations

import math
from typing import Any

import pytest

from forge_tui.progress.phases import TrainingPhase
from forge_tui.progress.ranking import best_model
from forge_tui.progress.snapshot import ModelState


def model(index: int, phase: TrainingPhase = TrainingPhase.COMPLETED, **figures: Any) -> ModelState:
    return ModelState(name=f"m{index}", index=index, seed=index, epochs=5, phase=phase, **figures)


@pytest.mark.parametrize(
    ("figures", "figure", "winner"),
    [
        ([{"loss": 0.1, "validation_accuracy": 0.8}, {"loss": 0.3, "validation_accuracy": 0.9}],
         "validation_accuracy", 2),
        ([{"loss": 0.1, "validation_loss": 0.4, "validation_perplexity": 1.5},
          {"loss": 0.3, "validation_loss": 0.3, "validation_perplexity": 1.3}], "validation_perplexity", 2),
        ([{"loss": 0.3, "validation_loss": 0.2}, {"loss": 0.1, "validation_loss": 0.4}], "validation_loss", 1),
        ([{"loss": 0.3}, {"loss": 0.1}], "loss", 2),
        ([{"validation_accuracy": 0.9, "validation_metric": 2.0},
          {"validation_accuracy": 0.8, "validation_metric": 3.0}], "validation_metric", 2),
        ([{"validation_metric": 2.0, "config": {"metric_goal": "least"}},
          {"validation_metric": 3.0, "config": {"metric_goal": "least"}}], "validation_metric", 1),
        # equal ones: the next figure, then the index
        ([{"validation_accuracy": 0.9, "validation_loss": 0.3}, {"validation_accuracy": 0.9, "validation_loss": 0.2}],
         "validation_accuracy", 2),
        ([{"loss": 0.3}, {"loss": 0.3}], "loss", 1),
        # unknown and not finite is worse than any
        ([{"loss": 0.1}, {"loss": 0.3, "validation_accuracy": 0.1}], "validation_accuracy", 2),
        ([{"loss": math.nan}, {"loss": 0.9}], "loss", 2),
        ([{"validation_loss": math.inf, "loss": 0.1}, {"validation_loss": None, "loss": 0.05}], "loss", 2),
    ],
)  # fmt: skip
def test_the_best_is_told_by_the_first_figure_there_is(figures: list[dict[str, Any]], figure: str, winner: int) -> None:
    found = best_model([model(index, **each) for index, each in enumerate(figures, 1)])
    assert found is not None
    assert (found.figure, found.model.index, found.value) == (figure, winner, figures[winner - 1][figure])


def test_only_completed_models_count() -> None:
    others = [phase for phase in TrainingPhase if phase is not TrainingPhase.COMPLETED]
    models = [model(index, phase, loss=0.01) for index, phase in enumerate(others, 1)]
    assert best_model(models) is None
    found = best_model([*models, model(99, loss=5.0)])
    assert found is not None
    assert found.model.index == 99
    assert best_model([model(1)]) is None
