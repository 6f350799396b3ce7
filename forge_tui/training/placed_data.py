"""A dataset on the device that trains, scaled once."""

from __future__ import annotations

import torch
from torch import Tensor

from forge_tui.training.data.dataset import Dataset
from forge_tui.training.data.stored import StoredRows
from forge_tui.training.models.network import Network
from forge_tui.training.order import Batches


class PlacedData:
    """Training batches and validation tensors as `network.body` takes them.

    Scaling here does the same operations on the same numbers as the network's forward, once instead of in every step;
    rows that stay on disk are scaled as they are read.
    """

    def __init__(self, dataset: Dataset, network: Network, batch_size: int, device: torch.device) -> None:
        def place(inputs: Tensor | StoredRows, targets: Tensor) -> tuple[Tensor | StoredRows, Tensor]:
            with torch.no_grad():
                wanted = network.scale_targets(targets.to(device))
                if isinstance(inputs, StoredRows):
                    return inputs.placed(device, network.scale_features), wanted
                return network.scale_features(inputs.to(device)), wanted

        self.task = dataset.task
        self.batches = Batches(*place(dataset.train_inputs, dataset.train_targets), batch_size)
        self.validation: tuple[Tensor | StoredRows, Tensor] | None = None
        if dataset.validation_inputs is not None and dataset.validation_targets is not None:
            self.validation = place(dataset.validation_inputs, dataset.validation_targets)
