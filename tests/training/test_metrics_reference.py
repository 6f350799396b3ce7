"""Metrics against those of scikit-learn; `.ci/run-peers` has it installed."""

from __future__ import annotations

import pytest
import torch

from forge_tui.training.data.dataset import Task
from forge_tui.training.metrics.measures import measure

metrics = pytest.importorskip("sklearn.metrics")


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_metrics_of_classes(classes: int, tied: bool) -> None:
    random = torch.Generator().manual_seed(classes)
    outputs = torch.randn(400, classes, generator=random)
    outputs = outputs.round() if tied else outputs
    targets = torch.randint(classes, (400,), generator=random)
    outputs[torch.arange(400), targets] += 1.0
    found = measure(Task.CLASSIFICATION, outputs, targets)
    truth, guesses = targets.numpy(), outputs.argmax(dim=1).numpy()
    shares, scores = outputs.double().softmax(dim=1).numpy(), outputs.log_softmax(dim=1).numpy()
    if classes == 2:
        scores = (outputs[:, 1:] - outputs[:, :1]).numpy().repeat(2, axis=1) * (-1, 1)
    # Of each class alone: scikit-learn wants shares, where rounding makes equal scores unequal.
    area = sum(metrics.roc_auc_score(truth == number, scores[:, number]) for number in range(classes)) / classes
    if not tied:
        assert area == pytest.approx(
            metrics.roc_auc_score(truth, shares[:, 1] if classes == 2 else shares, multi_class="ovr"), abs=1e-6
        )
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, guesses))
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(truth, guesses))
    assert found["f1"] == pytest.approx(metrics.f1_score(truth, guesses, average="macro"))
    assert found["log_loss"] == pytest.approx(metrics.log_loss(truth, shares), rel=1e-6)
    assert found["auc"] == pytest.approx(area, abs=1e-12)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_class_that_is_missing_in_the_targets() -> None:
    random = torch.Generator().manual_seed(0)
    outputs, targets = torch.randn(90, 4, generator=random), torch.randint(3, (90,), generator=random)
    found, guesses = measure(Task.CLASSIFICATION, outputs, targets), outputs.argmax(dim=1).numpy()
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(targets.numpy(), guesses))
    assert found["f1"] == pytest.approx(metrics.f1_score(targets.numpy(), guesses, average="macro"))


@pytest.mark.parametrize("columns", [1, 3])
def test_metrics_of_numbers(columns: int) -> None:
    random = torch.Generator().manual_seed(columns)
    targets = 1e5 + torch.randn(300, columns, generator=random) * torch.tensor([1.0, 20.0, 300.0])[:columns]
    outputs = targets + torch.randn(300, columns, generator=random)
    found, truth, guesses = measure(Task.REGRESSION, outputs, targets), targets.numpy(), outputs.numpy()
    truth, guesses = truth.astype("float64"), guesses.astype("float64")
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(truth, guesses))
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(truth, guesses))
    assert found["r2"] == pytest.approx(metrics.r2_score(truth, guesses))
