"""A group of similar models, trained as one batched computation: each with the same arithmetic as alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from forge_tui.protocol.metrics import Metrics
from forge_tui.settings.schema import TrainingConfig
from forge_tui.training import random_state
from forge_tui.training.acceleration import compiled
from forge_tui.training.checkpoint import Checkpoint
from forge_tui.training.data.dataset import Dataset
from forge_tui.training.losses import stacked_losses, validate_stacked
from forge_tui.training.models.network import named_weights, set_weights
from forge_tui.training.models.stack import Stack
from forge_tui.training.module_parts import hidden_buffers, set_modes
from forge_tui.training.module_state import NOTHING, Built, ModuleState, check_alike, unpacked
from forge_tui.training.optimizers import Rates, gradients_of
from forge_tui.training.own_code import NONE, OwnCode
from forge_tui.training.packed import pack
from forge_tui.training.placed_data import PlacedData
from forge_tui.training.state import (
    KEPT,
    TrainingState,
    class_weights,
    in_parts,
    is_finite,
    measured_in_units,
    new_network,
)
from forge_tui.training.value_marks import mark_of

_BODY = "body."


class GroupState(TrainingState):
    """Several models of one architecture and batch size, with their own seeds, learning rates and weight decays."""

    def __init__(
        self,
        training: TrainingConfig,
        dataset: Dataset,
        seeds: Sequence[int],
        device: torch.device,
        own: OwnCode = NONE,
        rates: Sequence[Rates] | None = None,
    ) -> None:
        """New models with weights from their seeds; `rates` per model, by default those of `training`."""
        networks, self._random = [], []
        for seed in seeds:
            networks.append(new_network(training, dataset, seed, own).to(device))
            # No random numbers are drawn later, so the state after construction equals that of a single model.
            self._random.append(random_state.capture(device))
        self._own = measured_in_units(own, networks[0], dataset)
        bodies = [network.body for network in networks]
        self._hidden = [hidden_buffers(body) for body in bodies] if own.model is not None else []
        if own.model is not None:
            check_alike(bodies)
        self._stack = Stack(bodies)
        self._built = Built(self._stack.runs) if own.model is not None else None
        self._forward = compiled(self._stack.body) if training.compile else self._stack.body
        each = list(rates or [Rates(training.learning_rate, training.weight_decay)] * len(seeds))
        samples = dataset.epoch_samples(training.batch_size)
        super().__init__(networks[0], self._stack.parameters, training, each, samples, custom=own.model is not None)
        self._shared = {name: part for name, part in named_weights(networks[0]).items() if not name.startswith(_BODY)}
        self._order = list(named_weights(networks[0]))
        self._class_weights = class_weights(dataset, device)
        self.loss_sum = torch.zeros(len(seeds), dtype=torch.float64, device=device)

    def batches(self, data: PlacedData, seeds: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs (M, N, …) and targets (M, N, …), in each model's own order."""
        return data.batches.epochs(seeds, self.epoch + 1, self.step_in_epoch)

    def loss(self, data: PlacedData, inputs: Tensor, targets: Tensor) -> Tensor:
        """The sum of the models' mean losses: models share no weights, so each gets its own gradient."""
        smoothing, own = self.training.label_smoothing, self._own.loss
        with self.autocast:
            out = self._forward(inputs)
            losses = stacked_losses(data.task, out, targets, smoothing, class_weights=self._class_weights, own=own)
        self.loss_sum.add_(losses.detach(), alpha=inputs.shape[1])
        return self._accumulated(losses.sum(), inputs.shape[1])

    def _validate(self, data: PlacedData) -> list[Metrics]:
        """Each model's metrics."""
        if data.validation is None:
            return [{} for _ in self.progress]
        models = len(self.progress)
        return validate_stacked(
            self._stack.body, data.task, *data.validation, models=models, own=self._own, known=data.known
        )

    def weights(self, model: int) -> dict[str, Tensor]:
        """A model's parameters and buffers, named as in a single model."""
        return {name: tensor.contiguous() for name, tensor in self._weights_in_stack(model).items()}

    def gradients(self, model: int) -> dict[str, Tensor]:
        """A model's gradients, zeros for a parameter that has none, by the parameter's name in the body."""
        found = zip(self._stack.names, gradients_of(self.parameters), strict=True)
        return {name: self._stack.of_model(name, gradient, model) for name, gradient in found}

    def buffers(self, model: int) -> dict[str, Tensor]:
        """A model's buffers, including non-persistent ones, by their names in the body."""
        names = {name for name, _ in self.network.body.named_buffers()}
        return {name: tensor for name, tensor in self._stack.weights(model).items() if name in names}

    def weights_are_finite(self, model: int) -> bool:
        """Whether no weight is NaN or infinite; without copies."""
        return all(is_finite(tensor) for tensor in self._weights_in_stack(model).values())

    def _weights_in_stack(self, model: int) -> dict[str, Tensor]:
        own = {f"{_BODY}{name}": tensor for name, tensor in self._stack.weights(model).items()}
        found = self._shared | own
        return {name: found[name] for name in self._order}

    def module_state(self, model: int, *, for_training: bool = True) -> ModuleState:
        """Modes and non-persistent buffers; other state of a module is shared by the models."""
        if self._built is None:
            return NOTHING
        now = self._stack.weights(model)
        before = self._hidden[model]
        buffers = {name: now[name] for name in before if mark_of(now[name]) != before[name]}
        found: dict[str, Any] = {"buffers": buffers} if buffers else {}
        if for_training and (changed := self._built.changed_modes()):
            found["modes"] = changed
        why = "changes while models train together, which have one of it: train them apart (--fuse 1) to keep it"
        problems = {name: f"{name} {why}" for name in self._built.changed()}
        packed, tensors = pack(found) if found else (None, {})
        return ModuleState(packed=packed, tensors=tensors, problems=problems)

    def tensors(self, model: int, module: ModuleState | None = None) -> dict[str, Tensor]:
        """The tensors of a model's checkpoint, as for a single model."""
        return in_parts(
            weights=self.weights(model),
            module=(module or self.module_state(model)).tensors,
            **self._kept_of(model),
            best=self.progress[model].best.weights,
            best_module=self.progress[model].best.module.tensors,
            random=self._random[model],
            epochs={"loss_sum": self.loss_sum[model], "history": self.progress[model].history.to_tensor()},
        )

    def remove(self, model: int) -> None:
        """Remove a model; the others keep their state."""
        kept = [number for number in range(len(self.progress)) if number != model]
        states = [self._kept_of(number) for number in kept]
        rates = [self.optimizer.rates[number] for number in kept]
        progress = [self.progress[number] for number in kept]
        before = (self.epoch, self.step, self.step_in_epoch, self.epoch_seconds, self.seconds)
        self._stack = self._stack.without(model)
        self._forward = compiled(self._stack.body) if self.training.compile else self._stack.body
        self._random = [self._random[number] for number in kept]
        self._hidden = [self._hidden[number] for number in kept] if self._hidden else []
        custom = self._built is not None
        super().__init__(self.network, self._stack.parameters, self.training, rates, self._samples, custom=custom)
        self.progress = progress
        self.epoch, self.step, self.step_in_epoch, self.epoch_seconds, self.seconds = before
        self.loss_sum = self.loss_sum[kept].clone()
        self._load(states)

    def _restore(self, found: Sequence[Checkpoint]) -> None:
        for model, checkpoint in enumerate(found):
            weights = checkpoint.part("weights")
            set_weights(self.network, weights)  # checks names and shapes
            module = unpacked(checkpoint.record.get("module"), checkpoint.part("module"))
            if unknown := module.keys() - {"buffers", "modes"}:
                raise ValueError(f"its module keeps {', '.join(sorted(unknown))}, which a group cannot")
            own = {name.removeprefix(_BODY): part for name, part in weights.items() if name.startswith(_BODY)}
            self._stack.set_weights(model, own | module.get("buffers", {}))
            set_modes(self._stack.runs, module.get("modes", {}))
            self.loss_sum[model] = checkpoint.part("epochs")["loss_sum"]
            self._random[model] = checkpoint.part("random")
        self._load([{part: item.part(part) for part in KEPT} for item in found])

    def _kept_of(self, model: int) -> dict[str, dict[str, Tensor]]:
        """A model's state beside its weights, as for a single model."""
        return {part: self._of_model(state, model) for part, state in self._kept().items()}

    def _load(self, states: Sequence[Mapping[str, dict[str, Tensor]]]) -> None:
        """Restore each model's state beside its weights, named as in a single model."""
        self._load_kept({part: self._stacked([state[part] for state in states]) for part in KEPT})

    def _of_model(self, state: dict[str, Tensor], model: int) -> dict[str, Tensor]:
        """One model's part of a state whose tensors are stacked; counts are shared."""
        found = {}
        for key, tensor in state.items():
            axis = _models_axis(key)
            if axis is None:
                found[key] = tensor.clone()
            else:
                found[key] = self._stack.to_stack(self._name(key), tensor.select(axis, model)).contiguous()
        return found

    def _stacked(self, states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        found = {}
        for key, tensor in states[0].items():
            axis = _models_axis(key)
            if axis is None:
                found[key] = tensor
            else:
                name = self._name(key)
                found[key] = torch.stack([self._stack.to_stack(name, state[key]) for state in states], dim=axis)
        return found

    def _name(self, key: str) -> str:
        """The parameter of a state's key (`3.exp_avg`, `average.3`, `3`)."""
        number = next(part for part in key.split(".") if part.isdigit())
        return self._stack.names[int(number)]


def _models_axis(key: str) -> int | None:
    """The axis of the models in a stacked tensor of a state; None for a shared count."""
    if key == "seen" or key.endswith(".step"):
        return None
    return 1 if key.startswith("ring.") else 0
