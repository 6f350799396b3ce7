"""All that a resume needs, in one object: what is in it is what a checkpoint holds."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from forge_tui import __version__
from forge_tui.errors import RunDirectoryError
from forge_tui.settings.schema import TrainingConfig
from forge_tui.training import history as epochs
from forge_tui.training import random_state
from forge_tui.training.checkpoint import Checkpoint
from forge_tui.training.data.dataset import Dataset
from forge_tui.training.grokfast import GradientFilter, make_filter
from forge_tui.training.history import EpochRecord
from forge_tui.training.models.build import build_model
from forge_tui.training.models.network import Network, named_weights, set_weights
from forge_tui.training.optimizers import Optimizer, make_optimizer


def environment(threads: int, device: torch.device) -> dict[str, Any]:
    """What changes the bytes of a result beside settings and seed (contracts, Exactness)."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "threads": threads,
        "device": device.type,
        "hardware": name,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "forge_tui": __version__,
    }


@dataclass(slots=True, kw_only=True, eq=False)
class TrainingState:
    """A model in training.

    `epoch` counts whole epochs; `step` all steps, `step_in_epoch` those of the epoch begun. `loss_sum` is that
    epoch's loss summed over its samples (float64, on the device), `epoch_seconds` the time it took so far,
    `seconds` the time of all training. The order of the data follows from seed and epoch, so it needs no state.
    """

    network: Network
    optimizer: Optimizer
    filter: GradientFilter
    loss_sum: Tensor
    epoch: int = 0
    step: int = 0
    step_in_epoch: int = 0
    epoch_seconds: float = 0.0
    seconds: float = 0.0
    best_loss: float | None = None
    started: float = 0.0
    exact: bool = True
    history: list[EpochRecord] = field(default_factory=list)

    @classmethod
    def create(cls, training: TrainingConfig, dataset: Dataset, seed: int, device: torch.device) -> TrainingState:
        """A new model with the weights that `seed` gives; the same on every device."""
        random_state.seed_everything(seed)
        body = build_model(training.model_type, training.model_size, dataset.inputs)
        network = Network(body, dataset.normalisation).to(device)
        parameters = list(network.parameters())
        return cls(
            network=network,
            optimizer=make_optimizer(parameters, training),
            filter=make_filter(parameters, training),
            loss_sum=torch.zeros((), dtype=torch.float64, device=device),
        )

    @property
    def learning_rate(self) -> float:
        """The optimizer's step size."""
        return self.optimizer.rates[0].learning_rate

    def set_learning_rate(self, rate: float) -> None:
        """Use another step size from the next step on."""
        self.optimizer.rates = [replace(rates, learning_rate=rate) for rates in self.optimizer.rates]

    def weights_are_finite(self) -> bool:
        """Whether no weight is NaN or infinite."""
        return all(bool(torch.isfinite(parameter).all()) for parameter in self.network.parameters())

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of a checkpoint, as `PART/NAME`."""
        parts = {
            "weights": named_weights(self.network),
            "optimizer": self.optimizer.state(),
            "filter": self.filter.state(),
            "random": random_state.capture(self.loss_sum.device),
            "epochs": {"loss_sum": self.loss_sum, "history": epochs.to_tensor(self.history)},
        }
        return {f"{part}/{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}

    def record(self) -> dict[str, Any]:
        """The figures of a checkpoint, JSON-able."""
        names = ("epoch", "step", "step_in_epoch", "epoch_seconds", "seconds", "best_loss", "started", "exact")
        return {name: getattr(self, name) for name in names}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on exactly where `checkpoint` was made.

        Raises `RunDirectoryError` if it is of another model than the settings describe.
        """
        device = self.loss_sum.device
        try:
            set_weights(self.network, checkpoint.part("weights"))
            self.optimizer.load(checkpoint.part("optimizer"))
            self.filter.load({name: tensor.to(device) for name, tensor in checkpoint.part("filter").items()})
            self.loss_sum.copy_(checkpoint.part("epochs")["loss_sum"])
            self.history = epochs.from_tensor(checkpoint.part("epochs")["history"])
            for name in self.record():
                setattr(self, name, checkpoint.record[name])
            random_state.restore(checkpoint.part("random"), device)
        except (KeyError, ValueError, RuntimeError) as error:
            raise RunDirectoryError(
                f"{checkpoint.path} is of another model than these settings describe ({error}); "
                "resume with the run's own settings, or start anew with --overwrite"
            ) from error
