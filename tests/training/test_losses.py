"""What is minimised, for one model and for several at once."""

from __future__ import annotations

import pytest
import torch

from forge_tui.training.data.dataset import Task
from forge_tui.training.losses import loss_of, stacked_losses


@pytest.mark.parametrize("classes", [2, 10, 15, 16, 40])
@pytest.mark.parametrize(("task", "rows"), [(Task.CLASSIFICATION, (7,)), (Task.NEXT_TOKEN, (3, 5))])
def test_the_losses_of_several_models_are_those_of_each(task: Task, rows: tuple[int, ...], classes: int) -> None:
    torch.manual_seed(classes)
    out = torch.randn(3, *rows, classes, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, classes, (3, *rows))
    together = stacked_losses(task, out, targets)
    alone = torch.stack([loss_of(task)(one, wanted) for one, wanted in zip(out, targets, strict=True)])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=0.0)
    gradients = [torch.autograd.grad(losses.sum(), out)[0] for losses in (together, alone)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-15)
