"""What is minimised, for one model and for several at once."""

from __future__ import annotations

import pytest
import torch

from forge_tui.training.data.dataset import Task
from forge_tui.training.losses import loss_of, stacked_losses


@pytest.mark.parametrize("classes", [2, 10, 15, 16, 40])
@pytest.mark.parametrize(("task", "rows"), [(Task.CLASSIFICATION, (7,)), (Task.NEXT_TOKEN, (3, 5))])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_losses_of_several_models_are_those_of_each(
    task: Task, rows: tuple[int, ...], classes: int, smoothing: float, weighted: bool
) -> None:
    torch.manual_seed(classes)
    weights = torch.rand(classes, dtype=torch.float64) + 0.1 if weighted else None
    out = torch.randn(3, *rows, classes, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, classes, (3, *rows))
    loss = loss_of(task, smoothing, class_weights=weights)
    together = stacked_losses(task, out, targets, smoothing, class_weights=weights)
    alone = torch.stack([loss(one, wanted) for one, wanted in zip(out, targets, strict=True)])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=0.0)
    gradients = [torch.autograd.grad(losses.sum(), out)[0] for losses in (together, alone)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("task", [Task.CLASSIFICATION, Task.NEXT_TOKEN])
def test_smoothed_labels_are_the_mean_with_the_evenly_spread_target(task: Task) -> None:
    torch.manual_seed(0)
    rows, classes, smoothing = (7,) if task is Task.CLASSIFICATION else (3, 5), 6, 0.3
    out, targets = torch.randn(*rows, classes, dtype=torch.float64), torch.randint(0, classes, rows)
    wanted = (1 - smoothing) * torch.nn.functional.one_hot(targets, classes).double() + smoothing / classes
    expected = -(wanted * out.log_softmax(dim=-1)).sum(dim=-1).mean()
    torch.testing.assert_close(loss_of(task, smoothing)(out, targets), expected, rtol=1e-12, atol=0.0)


def test_weights_make_it_a_weighted_mean_of_the_classes_in_the_batch() -> None:
    out = torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0], [1.0, 1.0, 4.0]], dtype=torch.float64)
    targets, weights = torch.tensor([1, 0, 1]), torch.tensor([2.0, 0.5, 9.0], dtype=torch.float64)
    each = -out.log_softmax(dim=1)[torch.arange(3), targets]
    expected = (0.5 * each[0] + 2.0 * each[1] + 0.5 * each[2]) / 3.0
    torch.testing.assert_close(
        loss_of(Task.CLASSIFICATION, class_weights=weights)(out, targets), expected, rtol=1e-12, atol=0.0
    )


def test_a_regression_has_no_labels_to_smooth() -> None:
    out, targets = torch.tensor([[1.0], [4.0]]), torch.tensor([[0.0], [2.0]])
    assert loss_of(Task.REGRESSION, 0.3)(out, targets).item() == 2.5
    assert stacked_losses(Task.REGRESSION, out[None], targets[None], 0.3).tolist() == [2.5]
