"""What is known of metrics: declarations, goals, and the order in which they rank models."""

from __future__ import annotations

import math
from typing import Any

import pytest

from forge_tui.protocol.metrics import (
    BUILT_IN,
    MOST_METRICS,
    MetricTable,
    declared_metrics,
    goal_of,
    is_metric_table,
    metrics_of,
    old_keys,
)


@pytest.mark.parametrize(
    ("word", "goal"), [("higher", "higher"), ("lower", "lower"), ("largest", "higher"), ("least", "lower")]
)
def test_goals_in_words_of_today_and_of_before(word: str, goal: str) -> None:
    assert goal_of(word) == goal


def test_the_table_ranks_by_the_metric_that_is_chosen_and_then_as_ever() -> None:
    usual = ["validation_metric", "validation_perplexity", "validation_accuracy", "validation_loss", "loss"]
    assert [metric.name for metric in MetricTable().ranking] == usual
    chosen = MetricTable(select_by="validation_loss")
    assert [metric.name for metric in chosen.ranking] == ["validation_loss", *usual[:3], "loss"]
    own = MetricTable(declared_metrics([{"name": "f1", "goal": "higher"}]), select_by="f1")
    assert [metric.name for metric in own.ranking] == ["f1", *usual]
    assert own["f1"].goal == "higher"


def test_a_name_that_nobody_declared_is_a_number_without_a_goal() -> None:
    metric = MetricTable()["anything"]
    assert (metric.title, metric.goal, metric.badness(1.0)) == ("anything", None, math.inf)


@pytest.mark.parametrize(
    ("select_by", "metrics", "measure"),
    [
        ("auto", {"loss": 1.0, "validation_loss": 2.0, "validation_accuracy": 0.5}, 2.0),
        ("auto", {"loss": 1.0}, 1.0),
        ("loss", {"loss": 1.0, "validation_loss": 2.0}, 1.0),
        ("validation_accuracy", {"loss": 1.0, "validation_accuracy": 0.5}, -0.5),
        ("validation_accuracy", {"loss": 1.0}, None),
        ("validation_perplexity", {"loss": 1.0, "validation_perplexity": math.inf}, None),
    ],
)
def test_what_early_stopping_and_halving_compare(
    select_by: str, metrics: dict[str, float | None], measure: float | None
) -> None:
    assert MetricTable(select_by=select_by).measure(metrics) == measure


def test_the_records_of_a_run_say_what_is_declared_again() -> None:
    assert declared_metrics([metric.to_record() for metric in BUILT_IN]) == list(BUILT_IN)
    (own,) = declared_metrics([], {"metric": "scores.py:f1", "metric_goal": "lower"})
    assert (own.name, own.title, own.goal) == ("validation_metric", "f1", "lower")
    assert declared_metrics([own.to_record()], {"metric": "other.py:g", "metric_goal": "higher"}) == [own]


@pytest.mark.parametrize(
    "record", [{}, {"name": 7}, {"name": ""}, {"name": "a\nb"}, {"name": "x" * 101}, {"name": None, "goal": "higher"}]
)
def test_what_is_no_declaration_declares_nothing(record: dict[str, Any]) -> None:
    assert declared_metrics([record]) == []


@pytest.mark.parametrize(
    "value",
    [
        None, [], "x", {"a": "1"}, {"a": True}, {"a": math.nan}, {"a": math.inf}, {"a": 2**63}, {7: 1.0}, {"": 1.0},
        {"a\x1b[2J": 1.0}, {"x" * 101: 1.0}, {"a": [1.0]}, {"validation_accuracy": 7.0},
        {f"m{number}": 1.0 for number in range(MOST_METRICS + 1)},
    ],
)  # fmt: skip
def test_what_is_no_table_of_metrics(value: Any) -> None:
    assert not is_metric_table(value)


def test_tables_of_metrics() -> None:
    assert is_metric_table({})
    assert is_metric_table({"val/loss": 1.0, "n": 3, "unknown": None, "validation_accuracy": 1})


def test_a_record_from_before_there_were_tables_of_metrics() -> None:
    record = {"loss": None, "validation_loss": 2.0, "validation_accuracy": None, "best_loss": 1.0}
    assert metrics_of(record) == {"loss": None, "validation_loss": 2.0}
    assert metrics_of({"metrics": {"own": 1.0}, "loss": 2.0}) == {"own": 1.0}
    assert old_keys({"loss": 1.0, "own": 2.0}, at_the_end=True) == {
        "loss": 1.0, "validation_loss": None, "validation_accuracy": None, "validation_perplexity": None,
        "validation_metric": None,
    }  # fmt: skip
