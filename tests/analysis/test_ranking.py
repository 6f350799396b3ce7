"""Which model is the best."""

from __future__ import annotations

import math
from typing import Any

import pytest

from forge_tui.analysis.ranking import LAST_PLACE, Standings, best_model, best_so_far, first_of, model_key
from forge_tui.batch.progress import progress_line
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.protocol.snapshot import ModelState, RunInfo, Snapshot


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


def test_a_place_is_that_among_all_models_and_what_has_no_number_has_none() -> None:
    models = [model(1, loss=0.3), model(2), model(3, loss=0.1), model(4, loss=math.nan), model(5, loss=0.3)]
    standings = Standings()
    standings.look(models)
    assert [standings.place(position) for position in range(5)] == [2, None, 1, None, 3]
    models[4] = model(5, loss=0.2, validation_accuracy=0.5)
    standings.look(models)
    assert [standings.place(position) for position in range(5)] == [3, None, 2, None, 1]


def test_only_models_that_changed_are_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    models = [model(index, loss=1.0 / index) for index in range(1, 301)]
    standings = Standings()
    standings.look(models)
    asked: list[int] = []

    def counted(one: ModelState) -> tuple[float, ...]:
        asked.append(one.index)
        return model_key(one)

    monkeypatch.setattr("forge_tui.analysis.ranking.model_key", counted)
    changed = [*models[:-1], model(300, loss=9.0)]
    standings.look(changed)
    assert asked == [300]
    assert [standings.place(position) for position in (298, 297, 299, 100)] == [1, 2, LAST_PLACE + 1, LAST_PLACE + 1]


def test_of_no_models_and_of_models_without_a_number_none_is_the_best() -> None:
    assert first_of([]) is None
    assert first_of([model(1, loss=math.nan), model(2)]) is None


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
        info = RunInfo(
            run="r", path="/r", mode="series", policy="shared", model_type="planner", models=3, epochs=5, created=1.0,
            state=state,
        )  # fmt: skip
        snapshot = Snapshot(run=info, models=models, state=state, revision=1, time=2.0)
        best = best_so_far(snapshot)
        assert best is not None
        assert (best.model.index, words in progress_line(snapshot)) == (index, True)
