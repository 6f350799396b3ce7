"""What is measured on the validation split, and which of it may decide."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from forge_tui.errors import SettingsError
from forge_tui.protocol.metrics import BUILT_IN
from forge_tui.settings.schema import TrainingConfig
from forge_tui.training.data.dataset import Task
from forge_tui.training.metrics import of_classes
from forge_tui.training.metrics.known_targets import KnownTargets
from forge_tui.training.metrics.measures import NAMES, Measures, measure
from forge_tui.training.metrics.selectable import require_selectable


def test_every_metric_that_is_computed_is_declared_for_validation_and_test() -> None:
    declared = {metric.name: metric for metric in BUILT_IN}
    for names in NAMES.values():
        for name in names:
            assert declared[f"test/{name}"].goal == declared[f"validation_{name}"].goal is not None


def _logits(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows).log()


def test_metrics_of_a_small_classification_by_hand() -> None:
    outputs = _logits((0.7, 0.2, 0.1), (0.6, 0.3, 0.1), (0.2, 0.7, 0.1), (0.1, 0.5, 0.4))
    found = measure(Task.CLASSIFICATION, outputs, torch.tensor([0, 0, 1, 2]))
    assert list(found) == list(NAMES[Task.CLASSIFICATION])
    assert found["accuracy"] == 0.75
    assert found["balanced_accuracy"] == pytest.approx(2 / 3)
    assert found["f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert found["log_loss"] == pytest.approx(-sum(map(math.log, (0.7, 0.6, 0.7, 0.4))) / 4, rel=1e-6)
    assert found["auc"] == 1.0


def test_metrics_of_a_small_regression_by_hand() -> None:
    outputs, targets = torch.tensor([[1.0], [2.0], [5.0]]), torch.tensor([[1.0], [3.0], [3.0]])
    found = measure(Task.REGRESSION, outputs, targets)
    assert found["mae"] == pytest.approx(1.0)
    assert found["rmse"] == pytest.approx(math.sqrt(5 / 3))
    assert found["r2"] == pytest.approx(1 - 5 / (8 / 3))


def test_a_regression_is_measured_in_the_units_of_its_targets() -> None:
    outputs, targets = torch.randn(2, 20, 3, generator=_random()), torch.randn(20, 3, generator=_random(1))
    scale = torch.tensor([10.0, 0.5, 3.0])
    measures = Measures(KnownTargets(Task.REGRESSION, targets, scale), 2)
    measures.add(outputs[:, :8], targets[:8])
    measures.add(outputs[:, 8:], targets[8:])
    for model, found in enumerate(measures.results([0.0, 0.0])):
        assert found == pytest.approx(measure(Task.REGRESSION, outputs[model] * scale, targets * scale), rel=1e-6)


def test_perplexity_is_that_of_the_mean_loss_per_token() -> None:
    outputs, targets = torch.randn(5, 7, 4, generator=_random()), torch.randint(4, (5, 7), generator=_random())
    loss = torch.nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten()).item()
    assert measure(Task.NEXT_TOKEN, outputs, targets)["perplexity"] == pytest.approx(math.exp(loss))
    assert Measures(KnownTargets(Task.NEXT_TOKEN, targets), 1).results([loss]) == [{"perplexity": math.exp(loss)}]
    assert Measures(KnownTargets(Task.NEXT_TOKEN, targets), 1).results([1e6]) == [{"perplexity": math.inf}]


def _random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _of(outputs: Tensor, targets: Tensor, size: int) -> list[dict[str, float | None]]:
    """The metrics of a stack, from batches of `size`."""
    measures = Measures(KnownTargets(Task.CLASSIFICATION, targets), len(outputs), own_loss=True)
    for start in range(0, len(targets), size):
        measures.add(outputs[:, start : start + size], targets[start : start + size])
    return measures.results([])


@pytest.mark.parametrize("classes", [2, 4])
def test_a_stack_in_batches_is_measured_like_each_model_at_once(classes: int) -> None:
    outputs = torch.randn(3, 50, classes, generator=_random()).mul(4).round()  # equal scores, too
    targets = torch.randint(classes, (50,), generator=_random())
    together = _of(outputs, targets, 16)
    for model in range(3):
        assert together[model] == pytest.approx(measure(Task.CLASSIFICATION, outputs[model], targets), rel=1e-12)
        assert together[model]["accuracy"] == (outputs[model].argmax(dim=1) == targets).sum().item() / 50


def test_constant_predictions_have_an_area_of_a_half() -> None:
    found = measure(Task.CLASSIFICATION, torch.tensor([[0.3, 1.0, -2.0]]).expand(6, 3), torch.tensor([0, 1, 2] * 2))
    assert (found["accuracy"], found["balanced_accuracy"]) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert found["f1"] == pytest.approx(0.5 / 3)
    assert found["auc"] == 0.5


def test_outputs_of_mixed_precision_are_measured() -> None:
    outputs, targets = torch.tensor([[2.0, 1], [1, 2], [3, 1]]), torch.tensor([0, 1, 0])
    wanted = measure(Task.CLASSIFICATION, outputs, targets)
    assert measure(Task.CLASSIFICATION, outputs.bfloat16(), targets) == wanted
    assert wanted["auc"] == 1


def test_zeros_of_both_signs_are_equal_scores() -> None:
    outputs = torch.tensor([[0.0, 0.0], [0.0, -0.0], [-0.0, -0.0], [0.0, 0.0]])
    assert measure(Task.CLASSIFICATION, outputs, torch.tensor([0, 1, 0, 1]))["auc"] == 0.5


def test_what_is_not_defined_is_unknown() -> None:
    two_of_three = measure(Task.CLASSIFICATION, torch.eye(3)[[0, 1, 0]], torch.tensor([0, 1, 1]))
    assert two_of_three["auc"] is None
    assert two_of_three["balanced_accuracy"] == 0.75  # of the classes that occur
    assert measure(Task.CLASSIFICATION, torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64))["auc"] is None
    constant = measure(Task.REGRESSION, torch.tensor([[1.0], [3.0]]), torch.tensor([[2.0], [2.0]]))
    assert (constant["mae"], constant["rmse"], constant["r2"]) == (1.0, 1.0, None)


def test_a_model_with_infinite_outputs_does_not_touch_the_others_of_its_stack() -> None:
    outputs, targets = torch.randn(2, 30, 3, generator=_random()), torch.arange(30) % 3
    broken = torch.stack((outputs[0], torch.full((30, 3), math.nan)))
    assert _of(broken, targets, 30)[0] == _of(outputs, targets, 30)[0]
    assert _of(broken, targets, 30)[1]["auc"] is None


def test_beyond_a_limit_scores_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs, targets = torch.randn(1, 30, 3, generator=_random()), torch.arange(30) % 3
    known = _of(outputs, targets, 7)[0]
    monkeypatch.setattr(of_classes, "MOST_SCORES", 89)
    assert _of(outputs, targets, 7) == [{**known, "auc": None}]


@pytest.mark.parametrize("outputs", [(torch.zeros(2, 2), torch.zeros(2)), torch.zeros(1, 2), torch.zeros(1, 2, 3, 3)])
def test_what_is_not_one_tensor_of_the_tasks_shape_is_not_measured(outputs: object) -> None:
    measures = Measures(KnownTargets(Task.CLASSIFICATION, torch.zeros(2, dtype=torch.int64)), 1)
    measures.add(outputs, torch.zeros(2, dtype=torch.int64))
    assert measures.results([0.0]) == [{}]


def test_an_output_for_fewer_classes_than_there_are_has_no_scores() -> None:
    found = measure(Task.CLASSIFICATION, torch.eye(3)[[0, 1, 2, 0]], torch.tensor([0, 1, 2, 3]))
    assert found == {"accuracy": 0.75, "balanced_accuracy": 0.75, "f1": pytest.approx(8 / 12), "log_loss": None,
                     "auc": None}  # fmt: skip


@pytest.mark.parametrize(
    ("select_by", "task", "validates", "metric"),
    [
        ("auto", Task.REGRESSION, False, "auto"),
        ("loss", Task.REGRESSION, False, "auto"),
        ("validation_loss", Task.REGRESSION, True, "auto"),
        ("validation_r2", Task.REGRESSION, True, "auto"),
        ("validation_accuracy", Task.CLASSIFICATION, True, "auto"),
        ("validation_balanced_accuracy", Task.CLASSIFICATION, True, "auto"),
        ("validation_perplexity", Task.NEXT_TOKEN, True, "auto"),
        ("validation_metric", Task.REGRESSION, True, "m.py:f"),
    ],
)
def test_metrics_that_may_decide(select_by: str, task: Task, validates: bool, metric: str) -> None:
    require_selectable(TrainingConfig(select_by=select_by, metric=metric), task, validates=validates)


@pytest.mark.parametrize(
    ("select_by", "task", "validates"),
    [
        ("validation_accuracy", Task.REGRESSION, True),
        ("validation_accuracy", Task.CLASSIFICATION, False),
        ("validation_metric", Task.CLASSIFICATION, True),
        ("test/accuracy", Task.CLASSIFICATION, True),
        ("learning_rate", Task.CLASSIFICATION, True),
        ("acuracy", Task.CLASSIFICATION, True),
    ],
)
def test_metrics_that_a_run_does_not_measure_are_refused(select_by: str, task: Task, validates: bool) -> None:
    with pytest.raises(SettingsError, match=rf"--select-by {select_by}: these models are measured by loss.*name one"):
        require_selectable(TrainingConfig(select_by=select_by), task, validates=validates)
