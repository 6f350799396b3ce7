"""What is said of the baseline beside completed models."""

from __future__ import annotations

from dataclasses import replace

import pytest
from measured import snapshot_of

from forge_tui.protocol.metrics import Metrics, MetricTable
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.text.baseline_lines import baseline_lines, baseline_sentence


def _model(metrics: Metrics, baseline: Metrics, index: int = 1) -> ModelState:
    return ModelState(name=f"m{index}", index=index, seed=0, epochs=3, phase=TrainingPhase.COMPLETED, metrics=metrics,
                      baseline=baseline)  # fmt: skip


@pytest.mark.parametrize(
    ("metrics", "baseline", "expected"),
    [
        (
            {"validation_accuracy": 0.9, "validation_f1": 0.1},
            {"validation_accuracy": 0.6, "validation_f1": 0.2},
            "accuracy 0.6000 (always the most frequent class of the training split), which the model beats",
        ),
        (
            {"validation_accuracy": 0.6},
            {"validation_accuracy": 0.6},
            "accuracy 0.6000 (always the most frequent class of the training split), which the model does not beat",
        ),
        (
            {"validation_r2": -0.2},
            {"validation_r2": -0.1},
            "R² -0.1000 (always the mean of the training split), which the model does not beat",
        ),
        (
            {"validation_perplexity": 4.0},
            {"validation_perplexity": 20.0},
            "perplexity 20.00 (characters by how frequent they are in the training split), which the model beats",
        ),
        ({"validation_accuracy": 0.9}, {}, None),
        ({"validation_accuracy": None}, {"validation_accuracy": 0.5}, None),
    ],
)
def test_a_model_is_compared_by_its_most_telling_metric(metrics: Metrics, baseline: Metrics, expected: str) -> None:
    assert baseline_sentence(_model(metrics, baseline), MetricTable()) == expected


def test_the_metric_that_selects_is_compared() -> None:
    model = _model(
        {"validation_accuracy": 0.9, "validation_f1": 0.1}, {"validation_accuracy": 0.6, "validation_f1": 0.2}
    )
    sentence = baseline_sentence(model, MetricTable(select_by="validation_f1"))
    assert sentence is not None
    assert sentence.startswith("macro F1 0.2000")
    assert sentence.endswith("which the model does not beat")


def test_a_model_that_is_not_completed_is_not_judged() -> None:
    model = replace(_model({"validation_accuracy": 0.1}, {"validation_accuracy": 0.6}), phase=TrainingPhase.FAILED)
    assert baseline_sentence(model, MetricTable()) is None


def test_the_summary_names_the_models_that_do_not_beat_it() -> None:
    models = [_model({"validation_accuracy": value}, {"validation_accuracy": 0.5}, index)
              for index, value in enumerate((0.9, 0.5, 0.4, 0.3, 0.2), 1)]  # fmt: skip
    assert baseline_lines(snapshot_of(models)) == (
        "baseline: accuracy 0.5000 (always the most frequent class of the training split)\n"
        "m2, m3, m4 and 1 more do not beat the baseline\n"
    )
    assert baseline_lines(snapshot_of(models[:1])).count("\n") == 1
    assert baseline_lines(snapshot_of([replace(models[0], baseline={})])) == ""


def test_what_the_best_reaches_on_the_test_split_is_said() -> None:
    found = [
        {"validation_accuracy": 0.9, "test/accuracy": 0.7},
        {"validation_accuracy": 0.8, "test/accuracy": 0.95},
    ]
    models = tuple(_model(metrics, {}, index) for index, metrics in enumerate(found, 1))
    assert baseline_lines(snapshot_of(models)) == "m1: test accuracy 0.7000\n"
    untested = tuple(_model({"validation_accuracy": 0.9}, {}, index) for index in (1, 2))
    assert baseline_lines(snapshot_of(untested)) == ""
