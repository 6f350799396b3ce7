"""Losses of each task, and evaluation on the validation split."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn import functional

from forge_tui.errors import SettingsError
from forge_tui.protocol.metrics import CUSTOM, VALIDATION, Metrics
from forge_tui.training.data.dataset import Task
from forge_tui.training.data.stored import StoredRows
from forge_tui.training.metrics.known_targets import KnownTargets
from forge_tui.training.metrics.measures import Measures
from forge_tui.training.models.modes import evaluating
from forge_tui.training.outputs import copied, joined_outputs, kind, mapped
from forge_tui.training.own_code import NONE, OwnCode

Loss = Callable[[Any, Tensor], Tensor]
Metric = Callable[[Any, Tensor], float]

NAMES = {
    Task.CLASSIFICATION: "cross entropy",
    Task.REGRESSION: "mean squared error",
    Task.NEXT_TOKEN: "cross entropy per token",
}
# Elements of the largest tensor in a validation batch: 32 MiB in float32.
_VALIDATION_ELEMENTS = 1 << 23
_VALIDATION_ROWS = 4096
# Over an axis shorter than a vector register torch's softmax is not vectorised; transposed it takes a third (50 models,
# 32 samples, 10 classes, forward and back: 496 against 168 µs). With 16 classes or more it takes longer.
_NARROW = 16


def _token_loss(logits: Tensor, targets: Tensor, **options: Any) -> Tensor:
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), **options)


def loss_of(task: Task, label_smoothing: float = 0.0, *, class_weights: Tensor | None = None) -> Loss:
    """Mean loss of a batch from outputs and targets.

    Cross entropy (nats) for classes; for next tokens its mean over all tokens; mean squared error of the scaled
    targets for a regression. `label_smoothing` (Szegedy et al. 2016, "Rethinking the Inception Architecture",
    section 7) has no effect on a regression. `class_weights` (classes,) make it a weighted mean, as in torch's
    `cross_entropy`: divided by the batch's sum of weights.
    """
    if task is Task.REGRESSION:
        return functional.mse_loss
    loss: Callable[..., Tensor] = functional.cross_entropy if task is Task.CLASSIFICATION else _token_loss
    if not label_smoothing and class_weights is None:
        return loss
    return partial(loss, label_smoothing=label_smoothing, weight=class_weights)


def loss_in_use(own: OwnCode, task: Task, label_smoothing: float = 0.0, *, class_weights: Tensor | None = None) -> Loss:
    """The custom loss, which gets a model's whole output, or that of the task, as `loss_of`.

    The latter raises `SettingsError` if a custom model returns anything but one tensor.
    """
    if own.loss is not None:
        return own.loss
    built_in = loss_of(task, label_smoothing, class_weights=class_weights)
    if own.model is None:
        return built_in

    def loss(out: Any, targets: Tensor) -> Tensor:
        if not isinstance(out, Tensor):
            raise SettingsError(
                f"the model gives {kind(out)}, and the built-in loss ({NAMES[task]}) takes one tensor: give a custom "
                "loss (--loss file.py:function), which gets the model's whole output, or return one tensor"
            )
        return built_in(out, targets)

    return loss


def stacked_losses(
    task: Task,
    out: Any,
    targets: Tensor,
    label_smoothing: float = 0.0,
    *,
    class_weights: Tensor | None = None,
    own: Loss | None = None,
) -> Tensor:
    """The mean loss of each of M models, (M,), from outputs (M, N, …) and targets (M, N, …); as `loss_of` for each.

    `own` is a custom loss, for one model.
    """
    if own is not None:
        return vmap(own)(out, targets)
    if task is Task.REGRESSION:
        squares: Tensor = (out - targets).square()
        return squares.flatten(1).mean(dim=1)
    if out.shape[-1] < _NARROW:
        by_class = out.flatten(1, -2).transpose(1, 2).contiguous()
        wanted = targets.flatten(1)
    else:
        by_class, wanted = out.flatten(0, -2), targets.flatten()
    losses = functional.cross_entropy(
        by_class, wanted, class_weights, reduction="none", label_smoothing=label_smoothing
    ).view(len(out), -1)
    if class_weights is None:
        return losses.mean(dim=1)
    return losses.sum(dim=1) / class_weights[targets.flatten(1)].sum(dim=1)


def validate(
    body: nn.Module,
    task: Task,
    inputs: Tensor | StoredRows,
    targets: Tensor,
    *,
    own: OwnCode = NONE,
    known: KnownTargets | None = None,
) -> Metrics:
    """Evaluate `body` on scaled inputs and targets, in large batches: `validation_loss` and the task's metrics.

    Draws no random numbers. A model that returns more than one tensor has no metrics of the task. `known`: the same
    targets, with their units. `own.loss` replaces the task's, `own.metric` gets all outputs together.
    Custom code gets copies, which it may change in place, like batches of a DataLoader.
    """
    loss_function = loss_in_use(own, task)
    copy = _copying(own)
    rows = validation_rows(inputs, body)
    total = torch.zeros((), dtype=torch.float64, device=inputs.device)
    measures = _measures(own, known or KnownTargets(task, targets), 1)
    kept: list[Any] = []
    counts: list[int] = []
    with evaluating(body), _measuring(own):
        for start in range(0, len(inputs), rows):
            batch, wanted = copy(inputs[start : start + rows]), targets[start : start + rows]
            out = body(batch)
            measures.add(out.unsqueeze(0) if isinstance(out, Tensor) else out, wanted)
            if own.metric is not None:
                kept.append(copied(out))
                counts.append(len(batch))
            total.add_(loss_function(out, copy(wanted)), alpha=len(batch))
        measured = None if own.metric is None else own.metric(joined_outputs(kept, counts), targets.clone())
        return _together([total.item() / len(inputs)], measures, [measured])[0]


def validate_stacked(
    body: nn.Module,
    task: Task,
    inputs: Tensor | StoredRows,
    targets: Tensor,
    *,
    models: int,
    own: OwnCode = NONE,
    known: KnownTargets | None = None,
) -> list[Metrics]:
    """As `validate`, for every model of a stack."""
    copy = _copying(own)
    widest = max((max(parameter.shape[1:], default=1) for parameter in body.parameters()), default=1)
    rows = max(1, _rows(inputs, widest) // models)
    total = torch.zeros(models, dtype=torch.float64, device=inputs.device)
    measures = Measures(
        known or KnownTargets(task, targets), models, own_loss=own.loss is not None, copies=own.takes_part
    )
    kept: list[Any] = []
    counts: list[int] = []
    with evaluating(body), _measuring(own):
        for start in range(0, len(inputs), rows):
            batch, single = inputs[start : start + rows], targets[start : start + rows]
            samples, wanted = len(batch), single.expand(models, *single.shape)
            # A copy of an expanded tensor has separate rows for each model.
            out = body(copy(batch.expand(models, *batch.shape)))
            measures.add(out, single)
            if own.metric is not None:
                kept.append(copied(out))
                counts.append(samples)
            total.add_(stacked_losses(task, out, copy(wanted), own=own.loss), alpha=samples)
        measured: list[float | None] = [None] * models
        if own.metric is not None:
            together = joined_outputs(kept, counts, axis=1)
            measured = [own.metric(mapped(itemgetter(model), together), targets.clone()) for model in range(models)]
        return _together([loss_sum / len(inputs) for loss_sum in total.tolist()], measures, measured)


def _measures(own: OwnCode, known: KnownTargets, models: int) -> Measures:
    return Measures(known, models, own_loss=own.loss is not None, copies=own.takes_part)


def _copying(own: OwnCode) -> Callable[[Tensor], Tensor]:
    """A function that copies tensors for custom code; without custom code it does not copy."""
    return torch.clone if own.takes_part else lambda tensor: tensor


@contextlib.contextmanager
def _measuring(own: OwnCode) -> Iterator[None]:
    """Disable gradients. Custom modules may keep validation tensors for training: then no inference mode."""
    with torch.no_grad() if own.takes_part else torch.inference_mode():
        yield


def _together(losses: list[float], measures: Measures, custom: list[float | None]) -> list[Metrics]:
    """The metrics of each model."""
    found = measures.results(losses, VALIDATION)
    return [
        {"validation_loss": loss, **one, **({} if measured is None else {CUSTOM: measured})}
        for loss, one, measured in zip(losses, found, custom, strict=True)
    ]


def validation_rows(inputs: Tensor | StoredRows, body: nn.Module, most: int = _VALIDATION_ROWS) -> int:
    """How many samples `validate` takes at once, at most `most`."""
    return _rows(inputs, max((parameter.shape[0] for parameter in body.parameters()), default=1), most)


def _rows(inputs: Tensor | StoredRows, widest: int, most: int = _VALIDATION_ROWS) -> int:
    steps = inputs.shape[1] if inputs.dtype is torch.int64 else 1
    return max(1, min(most, _VALIDATION_ELEMENTS // (widest * steps)))
