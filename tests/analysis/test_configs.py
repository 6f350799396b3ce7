"""The models of a sweep by config: means over the seeds, and the rank of each."""

from __future__ import annotations

from typing import Any

import pytest
from measured import fields, snapshot_of

from forge_tui.analysis.configs import config_results, finals_of
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import TrainingPhase as Phase
from forge_tui.text.config_tables import configs_record, configs_table, ranked_by, result_rows


def model(index: int, rate: float | None, phase: Phase = Phase.COMPLETED, **known: Any) -> ModelState:
    values = {"name": f"m_{index}", "index": index, "seed": index, "epochs": 9, "epoch": 9, "phase": phase}
    combination = {} if rate is None else {"learning_rate": rate}
    return ModelState(**fields({**values, "combination": combination, **known}))


def test_models_of_which_nothing_is_swept_have_no_configs() -> None:
    assert config_results(snapshot_of([model(1, None), model(2, None)])) is None


def test_configs_are_ranked_by_their_mean_over_the_seeds() -> None:
    results = config_results(
        snapshot_of(
            [
                model(1, 0.1, loss=0.5, validation_loss=0.9, validation_accuracy=0.7),
                model(2, 0.1, loss=0.5, validation_loss=0.9, validation_accuracy=0.9),
                model(3, 0.2, loss=0.1, validation_loss=0.1, validation_accuracy=0.75),
                model(4, 0.2, loss=0.1, validation_loss=0.1, validation_accuracy=0.75),
                model(5, 0.3, loss=0.3, validation_loss=0.3, validation_accuracy=0.95),
                model(6, 0.3, Phase.FAILED, loss=9.0, validation_loss=9.0, validation_accuracy=0.1),
            ]
        )
    )
    assert results is not None
    assert results.metric is not None
    assert results.metric.name == "validation_accuracy"
    assert [(one.combination["learning_rate"], one.rank) for one in results.results] == [(0.3, 1), (0.1, 2), (0.2, 3)]
    second = results.results[1].finals.metrics["validation_accuracy"]
    assert (second.mean, second.deviation) == (pytest.approx(0.8), pytest.approx(0.02**0.5))
    assert result_rows(results)[:2] == [
        ("RANK", "learning_rate", "MODELS", "LOSS", "VAL LOSS", "ACCURACY"),
        ("1", "0.3", "1/2 done", "0.3000", "0.3000", "0.9500"),
    ]
    assert configs_table(results).splitlines()[2].split() == [
        "2", "0.1", "2/2", "done", "0.5000", "±", "0.000", "0.9000", "±", "0.000", "0.8000", "±", "0.1414",
    ]  # fmt: skip
    assert ranked_by(results).startswith("ranked by mean validation accuracy; mean ± standard deviation")
    record = configs_record(results)
    assert record["ranked_by"] == "validation_accuracy"
    assert [one["models"] for one in record["configs"]] == [[5, 6], [1, 2], [3, 4]]


def test_what_is_completed_comes_first_and_what_has_no_value_last() -> None:
    results = config_results(
        snapshot_of(
            [
                model(1, 0.1, Phase.QUEUED, epoch=0),
                model(2, 0.2, loss=0.5),
                model(3, 0.3, Phase.TRAINING, epoch=4, loss=0.4),
            ]
        )
    )
    assert results is not None
    assert [(one.combination["learning_rate"], one.rank) for one in results.results] == [
        (0.2, 1),
        (0.3, 2),
        (0.1, None),
    ]
    assert [row[2] for row in result_rows(results)[1:]] == ["1/1 done", "0/1 done, so far", "0/1 done"]


def test_values_of_models_that_go_on_count_only_where_none_is_completed() -> None:
    done, going_on = model(1, 0.1, loss=0.5), model(2, 0.1, Phase.TRAINING, epoch=4, loss=0.1)
    finals = finals_of([done, going_on])
    assert (finals.models, finals.so_far, finals.metrics["loss"].mean) == (1, False, 0.5)
    finals = finals_of([going_on])
    assert (finals.models, finals.so_far, finals.metrics["loss"].mean) == (1, True, 0.1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"validation_accuracy": 0.9, "validation_loss": 0.3}, {"validation_accuracy": 0.9, "validation_loss": 0.2}),
        ({"validation_loss": 0.2, "loss": 0.3}, {"validation_loss": 0.2, "loss": 0.1}),
        ({"loss": 0.1}, {"loss": 0.3, "validation_accuracy": 0.1}),
    ],
)
def test_configs_that_are_equal_in_one_figure_are_ranked_by_the_next(
    one: dict[str, float], other: dict[str, float]
) -> None:
    results = config_results(snapshot_of([model(1, 0.1, **one), model(2, 0.2, **other)]))
    assert results is not None
    assert [config.combination["learning_rate"] for config in results.results] == [0.2, 0.1]


def test_the_goal_of_a_custom_metric_is_known_though_the_first_model_never_began() -> None:
    results = config_results(
        snapshot_of(
            [
                model(1, 0.1, Phase.CANCELLED, epoch=0),
                model(2, 0.1, validation_metric=3.0, config={"metric": "m.py:f", "metric_goal": "least"}),
                model(3, 0.2, validation_metric=2.0, config={"metric": "m.py:f", "metric_goal": "least"}),
            ]
        )
    )
    assert results is not None
    assert [config.combination["learning_rate"] for config in results.results] == [0.2, 0.1]
