"""A dataset on the device that trains, scaled once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from forge_tui.training.data.dataset import Dataset
from forge_tui.training.data.stored import StoredRows
from forge_tui.training.losses import Metric
from forge_tui.training.metrics.known_targets import KnownTargets
from forge_tui.training.models.network import Network
from forge_tui.training.order import Batches


class PlacedData:
    """Training batches and validation tensors, scaled for `network.body`.

    Scaling is the same as in the network's forward pass, once instead of in every step; rows on disk are scaled when
    read.
    """

    def __init__(self, dataset: Dataset, network: Network, batch_size: int, device: torch.device) -> None:
        self.task, self._device = dataset.task, device
        samples = dataset.epoch_samples(batch_size)
        inputs, self.train_targets = self.placed(dataset.train_inputs, dataset.train_targets, network)
        self.batches = Batches(inputs, self.train_targets, batch_size, samples)
        self.validation: tuple[Tensor | StoredRows, Tensor] | None = None
        self.known: KnownTargets | None = None
        """The targets of the validation split, with what metrics need to know of them."""
        if dataset.validation_inputs is not None and dataset.validation_targets is not None:
            self.validation = self.placed(dataset.validation_inputs, dataset.validation_targets, network)
            self.known = KnownTargets(dataset.task, self.validation[1], network.target_scale)

    def placed(
        self, inputs: Tensor | StoredRows, targets: Tensor, network: Network
    ) -> tuple[Tensor | StoredRows, Tensor]:
        """Samples of a split on the device, scaled for `network.body`."""
        with torch.no_grad():
            wanted = network.scale_targets(targets.to(self._device))
            if isinstance(inputs, StoredRows):
                return inputs.placed(self._device, network.scale_features), wanted
            return network.scale_features(inputs.to(self._device)), wanted


def metric_in_units(metric: Metric | None, network: Network, targets: Tensor | None) -> Metric | None:
    """A custom metric in the units of the data, if `network` predicts scaled values.

    `targets` are those of the validation split. It is called with the predictions of `network.body` for all of them.
    With more than one output tensor it is unknown which are predictions: then outputs and targets stay as for the loss.
    """
    if metric is None or targets is None or network.target_scale is None:
        return metric

    def measured(outputs: Any, scaled: Tensor) -> float:
        if not isinstance(outputs, Tensor):
            return metric(outputs, scaled)
        # The original targets: scaling forth and back would give rounding errors.
        return metric(network.unscale_targets(outputs), targets.to(scaled.device, copy=True))

    return measured
