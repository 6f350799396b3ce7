"""Estimates a worker's memory before training: data as measured, the rest computed."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from forge_tui.settings.schema import TrainingConfig
from forge_tui.training.checkpoint_writer import COPIED_BYTES
from forge_tui.training.data.dataset import Dataset
from forge_tui.training.losses import loss_in_use, stacked_losses, validation_rows
from forge_tui.training.models.network import Network
from forge_tui.training.models.stack import Stack
from forge_tui.training.own_code import NONE, OwnCode

# Memory of torch, its allocator and its thread pool in a worker beside tensors; measured 40–90 MB.
_BASE_BYTES = 64 << 20
# The memory of CUDA's libraries in a process that uses a GPU: assumed, as reported (0.5 to 1.5 GB).
_DEVICE_HOST_BYTES = 1 << 30
_ROWS = 2
# Forward: an activation, its successor and a temporary; backward: saved tensors and two gradients of the largest.
_ALIVE = 3


def estimate_memory(
    training: TrainingConfig,
    dataset: Dataset,
    network: Network,
    *,
    held: int,
    peak: int,
    members: int = 1,
    own: OwnCode = NONE,
) -> int:
    """The estimated memory of a worker in bytes, as `memory_meter` measures it; on a GPU the machine's memory.

    `held`, `peak`: memory after and during loading the data; `members`: models trained together, on the same data;
    `own`: the custom code. Runs a step on two samples and leaves no gradients.
    """
    data, each, kept = _parts(training, dataset, network, members, own)
    if any(parameter.device.type != "cpu" for parameter in network.body.parameters()):
        return _BASE_BYTES + _DEVICE_HOST_BYTES + max(peak, max(held, data) + members * kept)
    copied = members * kept if members * kept <= COPIED_BYTES else 0
    # A second, scaled copy of the data.
    training_takes = max(held, data) + data + members * each + copied
    return _BASE_BYTES + max(peak, training_takes)


def estimate_device_memory(
    training: TrainingConfig, dataset: Dataset, network: Network, own: OwnCode = NONE
) -> tuple[int, int]:
    """The estimated bytes of tensors on a GPU: for training one model, and for each further model of its group.

    The CUDA context is not included. Raises what a step raises.
    """
    data, each, _ = _parts(training, dataset, network, 1, own)
    # While it is scaled, the largest part of the data is there twice.
    return 2 * data + each, _parts(training, dataset, network, 2, own)[1]


def _parts(
    training: TrainingConfig, dataset: Dataset, network: Network, members: int, own: OwnCode
) -> tuple[int, int, int]:
    """Bytes of the data, of what a model takes while it trains, and of the part of that which a checkpoint has."""
    parameters = list(network.body.parameters())
    weights, largest = _bytes_of(parameters), max((_bytes_of([one]) for one in parameters), default=0)
    data = _bytes_of(
        tensor
        for tensor in (
            dataset.train_inputs, dataset.train_targets, dataset.validation_inputs, dataset.validation_targets,
            dataset.test_inputs, dataset.test_targets,
        )
        if isinstance(tensor, Tensor)  # data on disk takes no memory
    )  # fmt: skip
    saved, widest = _activations(network, dataset, training.label_smoothing, own, grouped=members > 1)
    batch = min(training.batch_size, dataset.train_samples)
    step = batch * (saved + _ALIVE * widest)
    validating = 0
    if dataset.validation_inputs is not None:
        rows = min(len(dataset.validation_inputs), validation_rows(dataset.validation_inputs, network.body))
        validating = _ALIVE * widest * rows
    remembered = _remembered(training)
    # Weights, gradients, and remembered tensors.
    each = weights * (2 + remembered) + 2 * largest + max(step, validating)
    return data, each, weights * (1 + remembered)


def _remembered(training: TrainingConfig) -> int:
    """How many tensors of each weight's size are kept by optimizer, average, early stopping and GrokFast."""
    remembered = 2 if training.optimizer != "sgd" else int(training.momentum > 0)
    remembered += int(training.weights_average > 0) + int(training.patience > 0)
    if training.grokfast_enabled:
        # The windowed average keeps every gradient of the window and their sum, in float64.
        remembered += 1 if training.grokfast_filter == "ema" else training.grokfast_window + 2
    return remembered


def _activations(
    network: Network, dataset: Dataset, label_smoothing: float, own: OwnCode, *, grouped: bool
) -> tuple[int, int]:
    """Bytes per sample that a step keeps until its backward pass, and those of the largest tensor.

    `grouped`: as one of several models trained together, which keep other tensors than a single one.
    """
    body, parameters, models = network.body, list(network.body.parameters()), 1
    if grouped:
        stack = Stack([body, body])
        body, parameters, models = stack.body, stack.parameters, 2
    weights = {parameter.untyped_storage().data_ptr() for parameter in parameters}
    device = next((parameter.device for parameter in parameters), torch.device("cpu"))
    # Copies: a view's storage is all of the data.
    inputs, targets = (part[:_ROWS].clone().to(device) for part in (dataset.train_inputs, dataset.train_targets))
    inputs, targets = network.scale_features(inputs), network.scale_targets(targets)
    samples = models * len(inputs)
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor  # kept alive by the graph: no address is reused

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        if grouped:
            inputs, targets = torch.stack([inputs] * models), torch.stack([targets] * models)
            loss = stacked_losses(dataset.task, body(inputs), targets, label_smoothing, own=own.loss).sum()
        else:
            loss = loss_in_use(own, dataset.task, label_smoothing)(body(inputs), targets)
    del loss
    return sum(kept.values()) // samples, max(kept.values(), default=0) // samples


def _bytes_of(tensors: Iterable[Tensor | nn.Parameter]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
