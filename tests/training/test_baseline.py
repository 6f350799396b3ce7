"""What the training targets alone predict, and whether a model beats it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from made_jobs import JobMaker

from forge_tui.protocol.events import ModelCompleted
from forge_tui.training.data.dataset import Task
from forge_tui.training.metrics.baseline import baseline
from forge_tui.training.metrics.known_targets import KnownTargets


def _of(task: Task, trained: object, validated: object, scale: torch.Tensor | None = None) -> dict[str, float | None]:
    return baseline(torch.tensor(trained), KnownTargets(task, torch.tensor(validated), scale))


def test_classes_get_the_most_frequent_class_and_the_shares_of_the_training_targets() -> None:
    found = _of(Task.CLASSIFICATION, [0, 1, 1, 1], [1, 0, 0, 1, 0])
    assert found == {
        "accuracy": 0.4,
        "balanced_accuracy": 0.5,
        "f1": pytest.approx(4 / 14),
        "log_loss": pytest.approx(-(3 * math.log(0.25) + 2 * math.log(0.75)) / 5),
        "auc": 0.5,
    }


def test_a_class_that_was_never_trained_has_no_log_loss() -> None:
    found = _of(Task.CLASSIFICATION, [0, 1, 1], [1, 2])
    assert (found["accuracy"], found["log_loss"], found["auc"]) == (0.5, None, None)


def test_numbers_get_the_mean_of_the_training_targets_in_the_units_of_the_data() -> None:
    found = _of(Task.REGRESSION, [[0.0], [4.0]], [[1.0], [2.0], [6.0]], torch.tensor([10.0]))
    assert found == {"mae": pytest.approx(50 / 3), "rmse": pytest.approx(10 * math.sqrt(17 / 3)),
                     "r2": pytest.approx(1 - 17 / 14)}  # fmt: skip


def test_tokens_get_their_shares_in_the_training_targets_each_counted_once_more() -> None:
    found = _of(Task.NEXT_TOKEN, [[0, 0, 1], [0, 1, 0]], [[0, 1], [2, 0]])
    shares = [5 / 9, 3 / 9, 1 / 9]
    assert found == {"perplexity": pytest.approx(math.prod(shares[n] for n in (0, 1, 2, 0)) ** -0.25)}


def test_it_agrees_with_scikit_learns_dummy_models() -> None:
    dummy = pytest.importorskip("sklearn.dummy")
    metrics = pytest.importorskip("sklearn.metrics")
    random = torch.Generator().manual_seed(0)
    trained, validated = (torch.randint(3, (n,), generator=random) for n in (200, 60))
    model = dummy.DummyClassifier(strategy="prior").fit(trained.numpy(), trained.numpy())
    found = baseline(trained, KnownTargets(Task.CLASSIFICATION, validated))
    truth, guesses = validated.numpy(), model.predict(validated.numpy())
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, guesses))
    assert found["f1"] == pytest.approx(metrics.f1_score(truth, guesses, average="macro"))
    assert found["log_loss"] == pytest.approx(metrics.log_loss(truth, model.predict_proba(truth)))


def test_a_finished_model_is_recorded_with_the_baseline(make_job: JobMaker, train: Any, tmp_path: Path) -> None:
    _, events = train(make_job(training={"epochs": 1}))
    (done,) = (event for event in events if isinstance(event, ModelCompleted))
    record = json.loads((tmp_path / "run" / "cognate_planner_1.json").read_text())
    assert record["baseline"] == done.baseline
    assert set(done.baseline) == {name for name in done.metrics if name.startswith("validation_")} - {"validation_loss"}
    assert done.baseline["validation_auc"] in (0.5, None)


def test_without_validation_there_is_no_baseline(make_job: JobMaker, train: Any) -> None:
    _, events = train(make_job(training={"epochs": 1}, data={"validation_fraction": 0.0}))
    assert [event.baseline for event in events if isinstance(event, ModelCompleted)] == [{}]
