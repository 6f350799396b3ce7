"""The whole training state in one object: the content of a checkpoint."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from forge_tui import __version__
from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.metrics import Metrics
from forge_tui.resources.processor import processor
from forge_tui.safe_io.printing import named
from forge_tui.settings.schema import TrainingConfig
from forge_tui.training import random_state
from forge_tui.training.acceleration import autocast, compiled
from forge_tui.training.averaging import MovingAverage
from forge_tui.training.checkpoint import Checkpoint
from forge_tui.training.clipping import clip
from forge_tui.training.data.dataset import Dataset
from forge_tui.training.early_stopping import BestEpoch
from forge_tui.training.grokfast import make_filter
from forge_tui.training.history import History
from forge_tui.training.losses import loss_in_use, validate
from forge_tui.training.models.build import build_model
from forge_tui.training.models.network import Network, named_weights, set_weights
from forge_tui.training.module_state import NOTHING, Built, ModuleState, prepare, restore_module, unpacked
from forge_tui.training.optimizers import Rates, hidden_matrices, make_optimizer
from forge_tui.training.own_code import NONE, OwnCode
from forge_tui.training.placed_data import PlacedData, metric_in_units
from forge_tui.training.schedules import factor_at

KEPT = ("optimizer", "filter", "average", "gradients")
"""The parts of a checkpoint with state per parameter beside its value."""


def environment(threads: int, device: torch.device) -> dict[str, Any]:
    """The conditions that affect the bytes of a result, beside settings and seed."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return {
        "threads": threads,
        "device": device.type,
        "hardware": name,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "forge_tui": __version__,
    }


@dataclass(slots=True, kw_only=True, eq=False)
class Progress:
    """The progress of one model. `exact`: its bytes are those of an uninterrupted run."""

    best_loss: float | None = None
    started: float = 0.0
    exact: bool = True
    best: BestEpoch = field(default_factory=BestEpoch)
    history: History = field(default_factory=History)


class TrainingState(ABC):
    """Models in training, in step with each other; usually one.

    `epoch` counts complete epochs, `step` all steps, `step_in_epoch` those of the current epoch, `epoch_seconds` its
    time so far, `seconds` the time of all training. `loss_sum` is each model's loss in that epoch, summed over samples
    (float64, on the device). The order of the data follows from seed and epoch, so it needs no state.
    """

    def __init__(
        self,
        network: Network,
        parameters: Sequence[nn.Parameter],
        training: TrainingConfig,
        rates: Sequence[Rates],
        samples: int,
        *,
        custom: bool,
    ) -> None:
        """`network` has shapes, names and normalisation; `parameters` are trained, with `samples` per epoch.

        `custom`: a custom module, which may freeze parameters.
        """
        self.network = network
        self.parameters = list(parameters)
        self.training = training
        self.optimizer = make_optimizer(parameters, training, rates, hidden_matrices(network.body))
        self.optimizer.freezes = custom
        self.filter = make_filter(parameters, training)
        self.average = MovingAverage(parameters, training.weights_average)
        self.autocast = autocast(training.precision, self.parameters[0].device)
        self.progress = [Progress() for _ in rates]
        self.epoch = 0
        self.step = 0
        self.step_in_epoch = 0
        self.epoch_seconds = 0.0
        self.seconds = 0.0
        self.loss_sum: Tensor
        self._samples = samples
        self._epoch_steps = -(-samples // training.batch_size)

    # --- training

    kernel = "eager"
    """What carries out a step: `eager` torch operations, or a `native` kernel."""

    def train_epoch(self, data: PlacedData, seeds: Sequence[int], may_continue: Callable[[], bool]) -> bool:
        """Train the epoch's remaining steps; False where `may_continue`, asked before each step, forbids one."""
        for inputs, targets in self.batches(data, seeds):
            if not may_continue():
                return False
            self.loss(data, inputs, targets).backward()
            self.update()
        return True

    @abstractmethod
    def batches(self, data: PlacedData, seeds: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """The remaining batches of the epoch, in the order of each model's seed."""

    @abstractmethod
    def loss(self, data: PlacedData, inputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of a batch (a scalar); adds to `loss_sum`."""

    def validate(self, data: PlacedData) -> list[Metrics]:
        """Evaluate every model on the validation split, with its averaged weights if there are any."""
        with self.average.in_use(), self.autocast:
            return self._validate(data)

    @abstractmethod
    def _validate(self, data: PlacedData) -> list[Metrics]:
        """Evaluate the present weights."""

    def update(self) -> None:
        """Update the weights after a backward pass, unless more batches are to be accumulated.

        The optimizer gets the mean gradient of the accumulated batches, filtered, then clipped. The end of an epoch
        ends an accumulation.
        """
        self.step += 1
        self.step_in_epoch += 1
        training = self.training
        if self.step_in_epoch % training.accumulate and self.step_in_epoch < self._epoch_steps:
            return
        self.filter.apply()
        if training.gradient_clip:
            clip(self.parameters, training.gradient_clip, len(self.progress))
        self.optimizer.step(self._rate_factor(self.step))
        for parameter in self.parameters:
            parameter.grad = None
        self.average.follow()

    def _accumulated(self, loss: Tensor, samples: int) -> Tensor:
        """The loss of the next batch, weighted so that the sum of gradients is the mean over all their samples.

        So the last batches of an epoch, fewer or short, have the weight that they would have in a single batch.
        """
        batches, size = self.training.accumulate, self.training.batch_size
        if batches == 1:
            return loss
        first = self.step_in_epoch - self.step_in_epoch % batches
        return loss * (samples / (min((first + batches) * size, self._samples) - first * size))

    def _rate_factor(self, step: int) -> float:
        """The schedule's factor on the learning rates in a step."""
        training = self.training
        return factor_at(training.schedule, step, training.length * self._epoch_steps, training.warmup_steps)

    def learning_rate(self, model: int) -> float:
        """A model's base learning rate, before the schedule."""
        return self.optimizer.rates[model].learning_rate

    def scheduled_rate(self, model: int) -> float:
        """A model's learning rate in the newest step."""
        return self.learning_rate(model) * self._rate_factor(self.step)

    def set_learning_rate(self, model: int, rate: float) -> None:
        """Set a model's base learning rate from the next step on."""
        self.optimizer.rates[model] = replace(self.optimizer.rates[model], learning_rate=rate)

    # --- saved state

    @abstractmethod
    def weights(self, model: int) -> dict[str, Tensor]:
        """A model's weights and buffers by name."""

    @abstractmethod
    def module_state(self, model: int, *, for_training: bool = True) -> ModuleState:
        """A custom module's state beside its weights; empty for a built-in one."""

    @abstractmethod
    def tensors(self, model: int, module: ModuleState | None = None) -> dict[str, Tensor]:
        """The tensors of a model's checkpoint, as `PART/NAME`. `module`: its `module_state`, if known."""

    def final_module(self, model: int) -> ModuleState:
        """As `final_weights`, for the module's other state."""
        best = self.progress[model].best
        return best.module if best.weights else self.module_state(model, for_training=False)

    def final_weights(self, model: int) -> dict[str, Tensor]:
        """The weights of the finished model's file: with early stopping the best epoch's, else the present ones.

        Averaged if the settings say so.
        """
        best = self.progress[model].best.weights
        if best:
            return best
        with self.average.in_use():
            return self.weights(model)

    @contextmanager
    def final_network(self, model: int) -> Iterator[Network]:
        """A network of a built-in architecture with `final_weights`, for measuring; the state stays as it is."""
        parts = {**dict(self.network.named_parameters()), **dict(self.network.named_buffers())}
        before = {name: part.data for name, part in parts.items()}
        try:
            for name, tensor in self.final_weights(model).items():
                parts[name].data = tensor.to(parts[name].device)
            yield self.network
        finally:
            for name, data in before.items():
                parts[name].data = data

    def keep_best(self, models: Sequence[int]) -> None:
        """Keep the present final weights of these models: this epoch is their best so far."""
        with self.average.in_use():
            for model in models:
                best = self.progress[model].best
                best.weights = {name: tensor.clone() for name, tensor in self.weights(model).items()}
                best.module = self.module_state(model, for_training=False).detached()

    def _kept(self) -> dict[str, dict[str, Tensor]]:
        """The state per parameter beside its value, by part of a checkpoint (those of `KEPT`).

        `gradients` are those of an unfinished accumulation; usually there are none.
        """
        pending = {str(n): item.grad for n, item in enumerate(self.parameters) if item.grad is not None}
        return {
            "optimizer": self.optimizer.state(),
            "filter": self.filter.state(),
            "average": self.average.state(),
            "gradients": pending,
        }

    def _load_kept(self, parts: Mapping[str, dict[str, Tensor]]) -> None:
        """Restore from `_kept`."""
        device = self.loss_sum.device
        self.optimizer.load(parts["optimizer"])
        self.filter.load({name: tensor.to(device) for name, tensor in parts["filter"].items()})
        self.average.load(parts["average"])
        for number, gradient in parts["gradients"].items():
            parameter = self.parameters[int(number)]
            parameter.grad = torch.empty_like(parameter).copy_(gradient)

    def bytes(self) -> int:
        """The size of all models' checkpoints together, without random states and epochs."""
        best = (progress.best.weights.values() for progress in self.progress)
        modules = (progress.best.module.tensors.values() for progress in self.progress)
        parts = (self.parameters, *best, *modules, *(state.values() for state in self._kept().values()))
        return sum(tensor.nbytes for part in parts for tensor in part)

    @abstractmethod
    def _restore(self, found: Sequence[Checkpoint]) -> None:
        """Load the tensors of each model's checkpoint."""

    def weights_are_finite(self, model: int) -> bool:
        """Whether no weight is NaN or infinite."""
        return all(is_finite(tensor) for tensor in self.weights(model).values())

    def record(self, model: int, module: ModuleState | None = None) -> dict[str, Any]:
        """The figures of a model's checkpoint, JSON-able. `module`: as for `tensors`."""
        progress = self.progress[model]
        packed = {
            "module": (module or self.module_state(model)).packed,
            "best_module": progress.best.module.packed,
        }
        return {
            **{part: value for part, value in packed.items() if value is not None},
            "epoch": self.epoch,
            "step": self.step,
            "step_in_epoch": self.step_in_epoch,
            "epoch_seconds": self.epoch_seconds,
            "seconds": self.seconds,
            "best_loss": progress.best_loss,
            "best_epoch": progress.best.epoch,
            "best_measure": progress.best.measure,
            "started": progress.started,
            "exact": progress.exact,
            "metrics": progress.history.names,
        }

    def restore(self, found: Sequence[Checkpoint]) -> None:
        """Continue exactly from the checkpoints, one per model and all of one step.

        Raises `RunDirectoryError` if they are of other models than the settings describe.
        """
        first = found[0].record
        try:
            self._restore(found)
            for name in ("epoch", "step", "step_in_epoch", "epoch_seconds", "seconds"):
                setattr(self, name, first[name])
            for progress, checkpoint in zip(self.progress, found, strict=True):
                progress.best_loss, progress.started = checkpoint.record["best_loss"], checkpoint.record["started"]
                progress.exact = checkpoint.record["exact"]
                progress.best = BestEpoch(
                    epoch=checkpoint.record.get("best_epoch", 0),
                    measure=checkpoint.record.get("best_measure"),
                    weights=checkpoint.part("best"),
                    module=ModuleState(
                        packed=checkpoint.record.get("best_module"), tensors=checkpoint.part("best_module")
                    ),
                )
                progress.history = History.from_tensor(
                    checkpoint.part("epochs")["history"], checkpoint.record.get("metrics")
                )
        except (KeyError, ValueError, RuntimeError, AttributeError, TypeError) as error:
            raise RunDirectoryError(
                f"{named(found[0].path)} is of another model than these settings describe ({error}); "
                "resume with the run's own settings, or start anew with --overwrite"
            ) from error


class SingleState(TrainingState):
    """One model."""

    def __init__(
        self, training: TrainingConfig, dataset: Dataset, seed: int, device: torch.device, own: OwnCode = NONE
    ) -> None:
        """A new model with weights from `seed`; the same on every device."""
        network = new_network(training, dataset, seed, own).to(device)
        self._built = None if own.model is None else Built(network.body)
        rates = [Rates(training.learning_rate, training.weight_decay)]
        super().__init__(
            network,
            list(network.parameters()),
            training,
            rates,
            dataset.epoch_samples(training.batch_size),
            custom=own.model is not None,
        )
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self._own = measured_in_units(own, network, dataset)
        weights = class_weights(dataset, device)
        self._loss = loss_in_use(own, dataset.task, training.label_smoothing, class_weights=weights)
        self._body = network.body
        self._forward = compiled(network.body) if training.compile else network.body

    def batches(self, data: PlacedData, seeds: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs (N, …) and targets (N, …)."""
        return data.batches.epoch(seeds[0], self.epoch + 1, self.step_in_epoch)

    def loss(self, data: PlacedData, inputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of the batch, or its share in an accumulation."""
        with self.autocast:
            loss = self._loss(self._forward(inputs), targets)
        # Summed on the device: reading a number in every step would wait for the device.
        self.loss_sum.add_(loss.detach(), alpha=len(inputs))
        return self._accumulated(loss, len(inputs))

    def _validate(self, data: PlacedData) -> list[Metrics]:
        """Its metrics."""
        if data.validation is None:
            return [{}]
        return [validate(self._body, data.task, *data.validation, own=self._own, known=data.known)]

    def weights(self, model: int) -> dict[str, Tensor]:
        """Parameters and buffers."""
        return named_weights(self.network)

    def module_state(self, model: int, *, for_training: bool = True) -> ModuleState:
        """The differences from the newly built module."""
        return NOTHING if self._built is None else self._built.state(for_training=for_training)

    def tensors(self, model: int, module: ModuleState | None = None) -> dict[str, Tensor]:
        """Weights, state beside them, random state, and the history."""
        return in_parts(
            weights=named_weights(self.network),
            module=(module or self.module_state(model)).tensors,
            **self._kept(),
            best=self.progress[0].best.weights,
            best_module=self.progress[0].best.module.tensors,
            random=random_state.capture(self.loss_sum.device),
            epochs={"loss_sum": self.loss_sum, "history": self.progress[0].history.to_tensor()},
        )

    def _restore(self, found: Sequence[Checkpoint]) -> None:
        (checkpoint,) = found
        device = self.loss_sum.device
        module = unpacked(checkpoint.record.get("module"), checkpoint.part("module"), device)
        prepare(self._body, module)
        set_weights(self.network, checkpoint.part("weights"))
        restore_module(self._body, module)
        self._load_kept({part: checkpoint.part(part) for part in KEPT})
        self.loss_sum.copy_(checkpoint.part("epochs")["loss_sum"])
        random_state.restore(checkpoint.part("random"), device)


def new_network(training: TrainingConfig, dataset: Dataset, seed: int, own: OwnCode = NONE) -> Network:
    """A network with weights from `seed`, on the CPU; seeds all generators."""
    random_state.seed_everything(seed)
    if own.model is not None:
        return Network(own.model(dataset.inputs), dataset.normalisation)
    return Network(build_model(training.model_type, training.model_size, dataset.inputs), dataset.normalisation)


def measured_in_units(own: OwnCode, network: Network, dataset: Dataset) -> OwnCode:
    """`own` with a metric in the units of the data for a regression."""
    return replace(own, metric=metric_in_units(own.metric, network, dataset.validation_targets))


def class_weights(dataset: Dataset, device: torch.device) -> Tensor | None:
    """The class weights of the loss, in the type of the models' weights; None: equal."""
    weights = dataset.class_weights
    return None if weights is None else weights.to(device, torch.get_default_dtype())


def is_finite(tensor: Tensor) -> bool:
    """Whether no number is NaN or infinite."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    if tensor.numel() == 0 or not tensor.is_floating_point():
        return True
    # NaN where there is one; a seventh of the time that torch.isfinite takes.
    least, most = tensor.detach().aminmax()
    return math.isfinite(least.item()) and math.isfinite(most.item())


def in_parts(**parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of all parts, as `PART/NAME`."""
    return {f"{part}/{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}
