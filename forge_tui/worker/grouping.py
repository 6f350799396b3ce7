"""Checks whether models with custom code can be trained together: compares a step alone and as a group of two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from forge_tui.errors import SettingsError
from forge_tui.settings.schema import TrainingConfig
from forge_tui.training import random_state
from forge_tui.training.acceleration import autocast
from forge_tui.training.data.dataset import Dataset
from forge_tui.training.group_state import GroupState
from forge_tui.training.losses import loss_in_use
from forge_tui.training.models.modes import evaluating
from forge_tui.training.models.network import named_weights
from forge_tui.training.module_state import Built
from forge_tui.training.own_code import OwnCode, error_in_words
from forge_tui.training.placed_data import PlacedData
from forge_tui.training.state import class_weights, new_network

_ROWS = 4
# Relative to a tensor's largest number: grouped kernels round differently, but wrong results differ by far more.
_TOLERANCE = {"float32": 0.01, "bfloat16": 0.2}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Step:
    """The results of one training step: loss, and gradients and buffers by name."""

    loss: float
    gradients: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]


def grouping_problem(
    training: TrainingConfig, dataset: Dataset, seed: int, device: torch.device, own: OwnCode
) -> str | None:
    """Why such models cannot be trained together, or None. Exceptions of a single model are passed on."""
    if own.model is None and own.loss is None:
        return None
    before = random_state.capture(device)
    try:
        return _Trial(training, dataset, [seed, seed + 1], device, own).problem()
    finally:
        random_state.restore(before, device)


class _Trial:
    def __init__(
        self, training: TrainingConfig, dataset: Dataset, seeds: Sequence[int], device: torch.device, own: OwnCode
    ) -> None:
        # A single step, whose gradients are those of its batch.
        self._training = replace(training, accumulate=1)
        self._dataset, self._seeds, self._device, self._own = dataset, seeds, device, own
        self._rows = min(_ROWS, dataset.train_samples)

    def problem(self) -> str | None:
        alone: list[_Step] = []
        for seed in self._seeds:
            step = self._alone(seed)
            if isinstance(step, str):
                return step
            alone.append(step)
        try:
            together = self._together()
        except SettingsError as error:
            return str(error).partition(": such models")[0]
        except Exception as error:  # torch.func's errors about code that it cannot map
            return error_in_words(error)
        found = (self._difference(*both) for both in zip(alone, together, strict=True))
        return next((problem for problem in found if problem is not None), None)

    def _alone(self, seed: int) -> _Step | str:
        """A step of one model, or why it only works for a single model."""
        network = new_network(self._training, self._dataset, seed, self._own).to(self._device)
        data = PlacedData(self._dataset, network, self._rows, self._device)
        body, built = network.body, Built(network.body)
        inputs, targets = next(iter(data.batches.epoch(seed, 1)))
        of_classes = class_weights(self._dataset, self._device)
        loss_function = loss_in_use(self._own, data.task, self._training.label_smoothing, class_weights=of_classes)
        drawn = random_state.capture(self._device)
        with autocast(self._training.precision, self._device):
            loss = loss_function(body(inputs.clone()), targets)
        loss.backward()
        if any(not torch.equal(item, drawn[name]) for name, item in _random_numbers(self._device).items()):
            return "it draws random numbers during training, as dropout does"
        step = _Step(loss=float(loss.detach()), gradients=_gradients(body), buffers=_copies(dict(body.named_buffers())))
        weights = _copies(named_weights(body))
        with evaluating(body), torch.no_grad(), autocast(self._training.precision, self._device):
            moved = [name for name, item in named_weights(body).items() if not torch.equal(item, weights[name])]
            body(inputs)
        if moved:
            return f"{moved[0]} changes with the training mode"
        if changed := built.changed():
            return f"{changed[0]} is shared, not per model"
        return step

    def _together(self) -> list[_Step]:
        group = GroupState(self._training, self._dataset, self._seeds, self._device, self._own)
        data = PlacedData(self._dataset, group.network, self._rows, self._device)
        inputs, targets = next(iter(data.batches.epochs(self._seeds, 1)))
        group.loss(data, inputs, targets).backward()
        losses = (group.loss_sum / self._rows).tolist()
        return [
            _Step(loss=loss, gradients=group.gradients(model), buffers=group.buffers(model))
            for model, loss in enumerate(losses)
        ]

    def _difference(self, alone: _Step, together: _Step) -> str | None:
        tolerance = _TOLERANCE[self._training.precision]
        for name, buffer in alone.buffers.items():
            other = together.buffers.get(name)
            if other is None or not _is_close(buffer, other, tolerance, floor=1e-3):
                return f"{name} changes differently in a group; change buffers in place"
        if abs(alone.loss - together.loss) > tolerance * max(abs(alone.loss), 1e-3):
            return f"its loss is {alone.loss:.4g} alone and {together.loss:.4g} in a group"
        largest = max((float(item.abs().max()) for item in alone.gradients.values() if item.numel()), default=0.0)
        for name, gradient in alone.gradients.items():
            if not _is_close(gradient, together.gradients[name], tolerance, floor=1e-2 * largest):
                return f"the gradient of {name} differs in a group"
        return None


def _random_numbers(device: torch.device) -> dict[str, Tensor]:
    """The states of all random generators."""
    return {name: item for name, item in random_state.capture(device).items() if not name.endswith("gauss")}


def _gradients(body: nn.Module) -> dict[str, Tensor]:
    return {
        name: torch.zeros_like(item) if item.grad is None else item.grad.clone()
        for name, item in body.named_parameters()
    }


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def _is_close(one: Tensor, other: Tensor, tolerance: float, *, floor: float) -> bool:
    """Whether two tensors are equal within rounding, relative to their largest number or to `floor`."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.numel() == 0:
        return True
    if not (one.is_floating_point() or one.is_complex()):
        return torch.equal(one, other)
    size = max(float(one.abs().max()), floor)
    return bool((one - other).abs().max() <= tolerance * size) or bool(torch.equal(one, other))
