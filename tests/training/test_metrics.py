"""What is measured on the validation split, and which of it may decide."""

from __future__ import annotations

import pytest
import torch

from forge_tui.errors import SettingsError
from forge_tui.protocol.metrics import BUILT_IN
from forge_tui.settings.schema import TrainingConfig
from forge_tui.training.data.dataset import Task
from forge_tui.training.metrics import OF_LOSS, OF_SAMPLES, SampleMeans, require_selectable


def test_every_metric_that_is_computed_is_declared() -> None:
    declared = {metric.name for metric in BUILT_IN}
    for task in Task:
        assert {*OF_SAMPLES[task], *OF_LOSS[task]} <= declared


def test_means_over_samples_are_those_of_all_batches_together() -> None:
    torch.manual_seed(0)
    outputs, targets = torch.randn(3, 50, 4), torch.randint(4, (3, 50))
    together = SampleMeans(Task.CLASSIFICATION)
    for start in range(0, 50, 16):
        together.add(outputs[:, start : start + 16], targets[:, start : start + 16])
    expected = (outputs.argmax(dim=-1) == targets).sum(dim=1) / 50
    assert [found["validation_accuracy"] for found in together.of_models(3, 50)] == pytest.approx(expected.tolist())
    for model in range(3):
        alone = SampleMeans(Task.CLASSIFICATION)
        alone.add(outputs[model], targets[model])
        assert alone.of_models(1, 50) == [together.of_models(3, 50)[model]]


def test_what_is_not_one_tensor_is_not_measured() -> None:
    means = SampleMeans(Task.CLASSIFICATION)
    means.add((torch.zeros(2, 2), torch.zeros(2)), torch.zeros(2))
    assert means.of_models(1, 2) == [{}]


@pytest.mark.parametrize(
    ("select_by", "task", "validates", "metric"),
    [
        ("auto", Task.REGRESSION, False, "auto"),
        ("loss", Task.REGRESSION, False, "auto"),
        ("validation_loss", Task.REGRESSION, True, "auto"),
        ("validation_accuracy", Task.CLASSIFICATION, True, "auto"),
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
        ("learning_rate", Task.CLASSIFICATION, True),
        ("acuracy", Task.CLASSIFICATION, True),
    ],
)
def test_metrics_that_a_run_does_not_measure_are_refused(select_by: str, task: Task, validates: bool) -> None:
    with pytest.raises(SettingsError, match=rf"--select-by {select_by}: these models are measured by loss.*name one"):
        require_selectable(TrainingConfig(select_by=select_by), task, validates=validates)
