"""Which model is the best."""

from __future__ import annotations

import math
from typing import Any

import pytest
from measured import fields, snapshot_of

from forge_tui.analysis.ranking import LAST_PLACE, Standings, best_model, best_so_far, comparison_key, first_of
from forge_tui.batch.progress import progress_line
from forge_tui.protocol.metrics import MetricTable
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import RunState, TrainingPhase

TABLE = MetricTable()


def model(index: int, phase: TrainingPhase = TrainingPhase.COMPLETED, **figures: Any) -> ModelState:
    return ModelState(name=f"m{index}", index=index, seed=index, epochs=5, phase=phase, **fields(figures))


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
        ([{"validation_metric": 2.0, "config": {"metric": "m.py:f", "metric_goal": "least"}},
          {"validation_metric": 3.0, "config": {"metric": "m.py:f", "metric_goal": "least"}}], "validation_metric", 1),
        # equal ones: the next figure, then the index
        ([{"validation_accuracy": 0.9, "validation_loss": 0.3}, {"validation_accuracy": 0.9, "validation_loss": 0.2}],
         "validation_accuracy", 2),
        ([{"loss": 0.3}, {"loss": 0.3}], "loss", 1),
        ([{"validation_metric": 2.0, "validation_accuracy": 0.9, "validation_loss": 0.3},
          {"validation_metric": 2.0, "validation_accuracy": 0.8, "validation_loss": 0.2}], "validation_metric", 2),
        ([{"validation_loss": 0.2, "loss": 0.2}, {"validation_loss": 0.2, "loss": 0.1}], "validation_loss", 2),
        # unknown and not finite is worse than any
        ([{"loss": 0.1}, {"loss": 0.3, "validation_accuracy": 0.1}], "validation_accuracy", 2),
        ([{"loss": math.nan}, {"loss": 0.9}], "loss", 2),
        ([{"validation_loss": math.inf, "loss": 0.1}, {"validation_loss": None, "loss": 0.05}], "loss", 2),
    ],
)  # fmt: skip
def test_the_best_is_told_by_the_first_figure_there_is(figures: list[dict[str, Any]], figure: str, winner: int) -> None:
    found = best_model(snapshot_of(model(index, **each) for index, each in enumerate(figures, 1)))
    assert found is not None
    assert (found.metric.name, found.model.index, found.value) == (figure, winner, figures[winner - 1][figure])


def test_only_completed_models_count() -> None:
    others = [phase for phase in TrainingPhase if phase is not TrainingPhase.COMPLETED]
    models = [model(index, phase, loss=0.01) for index, phase in enumerate(others, 1)]
    assert best_model(snapshot_of(models)) is None
    found = best_model(snapshot_of([*models, model(99, loss=5.0)]))
    assert found is not None
    assert found.model.index == 99
    assert best_model(snapshot_of([model(1)])) is None


def test_a_place_is_that_among_all_models_and_what_has_no_number_has_none() -> None:
    models = [model(1, loss=0.3), model(2), model(3, loss=0.1), model(4, loss=math.nan), model(5, loss=0.3)]
    standings = Standings()
    standings.look(models, TABLE)
    assert [standings.place(position) for position in range(5)] == [2, None, 1, None, 3]
    models[4] = model(5, loss=0.2, validation_accuracy=0.5)
    standings.look(models, TABLE)
    assert [standings.place(position) for position in range(5)] == [3, None, 2, None, 1]


def test_only_models_that_changed_are_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    models = [model(index, loss=1.0 / index) for index in range(1, 301)]
    standings = Standings()
    standings.look(models, TABLE)
    asked: list[float] = []

    def counted(metrics: dict[str, float], table: MetricTable) -> tuple[float, ...]:
        asked.append(metrics["loss"])
        return comparison_key(metrics, table)

    monkeypatch.setattr("forge_tui.analysis.ranking.comparison_key", counted)
    changed = [*models[:-1], model(300, loss=9.0)]
    standings.look(changed, TABLE)
    assert asked == [9.0]
    assert [standings.place(position) for position in (298, 297, 299, 100)] == [1, 2, LAST_PLACE + 1, LAST_PLACE + 1]


def test_of_no_models_and_of_models_without_a_number_none_is_the_best() -> None:
    assert first_of([], TABLE) is None
    assert first_of([model(1, loss=math.nan), model(2)], TABLE) is None


def test_while_a_run_is_live_all_its_models_count_and_then_the_completed_ones() -> None:
    models = (
        model(1, loss=0.3, validation_loss=0.5),
        model(2, TrainingPhase.TRAINING, loss=0.4, validation_loss=0.4),
        model(3, TrainingPhase.FAILED, loss=0.1, validation_loss=0.6),
    )
    for state, index, words in (
        (RunState.RUNNING, 2, "validation loss 0.4000 at best"),
        (RunState.STOPPED, 1, "validation loss 0.5000 at best"),
    ):
        snapshot = snapshot_of(models, state)
        best = best_so_far(snapshot)
        assert best is not None
        assert (best.model.index, words in progress_line(snapshot)) == (index, True)
