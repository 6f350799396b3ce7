"""A dataset on the device that trains, scaled once."""

from __future__ import annotations

import torch
from torch import Tensor

from forge_tui.training.data.dataset import Dataset
from forge_tui.training.models.network import Network
from forge_tui.training.order import Batches


class PlacedData:
    """Training batches and validation tensors as `network.body` takes them.

    Scaling here does the same operations on the same numbers as the network's forward, once instead of in every step.
    """

    def __init__(self, dataset: Dataset, network: Network, batch_size: int, device: torch.device) -> None:
        def place(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
            with torch.no_grad():
                return network.scale_features(inputs.to(device)), network.scale_targets(targets.to(device))

        self.task = dataset.task
        self.batches = Batches(*place(dataset.train_inputs, dataset.train_targets), batch_size)
        self.validation: tuple[Tensor, Tensor] | None = None
        if dataset.validation_inputs is not None and dataset.validation_targets is not None:
            self.validation = place(dataset.validation_inputs, dataset.validation_targets)
