"""Adam, AdamW, SGD and Muon, the first three with torch's fused kernels: one call per step for all parameters.

Called directly: `torch.optim` computes the same bytes with the same kernels, but takes 90 µs more per step in Python, a
sixth of a small model's step, and imports torch._dynamo (1.2 s and 60 MB in every process).

A parameter may have the weights of several models, stacked along its first axis; each model then has its own learning
rate and weight decay.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from forge_tui.settings.schema import TrainingConfig

EPSILON = 1e-8
_MOMENTUM = 0.95


@dataclass(frozen=True, slots=True)
class Rates:
    """Learning rate and weight decay of one model, or of several with equal ones."""

    learning_rate: float
    weight_decay: float


class Optimizer(Protocol):
    """Updates parameters in place from their gradients.

    `step` takes a factor on the learning rates. `state` is for resume, as `NUMBER.NAME` (number of the parameter).
    `freezes`: parameters may be frozen; frozen ones are not changed.
    """

    rates: list[Rates]
    freezes: bool

    def step(self, factor: float = 1.0) -> None: ...

    def state(self) -> dict[str, Tensor]: ...

    def load(self, state: dict[str, Tensor]) -> None: ...


class Adam:
    """Adam (Kingma & Ba 2015) with coupled weight decay, or AdamW (Loshchilov & Hutter 2019) with it decoupled."""

    def __init__(
        self, parameters: Sequence[nn.Parameter], rates: Sequence[Rates], betas: tuple[float, float], *, decoupled: bool
    ) -> None:
        self.rates = list(rates)
        self.freezes = False
        self._parameters: list[Tensor] = list(parameters)
        self._betas = betas
        self._kernel = torch._fused_adamw_ if decoupled else torch._fused_adam_
        self._averages = [torch.zeros_like(item) for item in parameters]
        self._squares = [torch.zeros_like(item) for item in parameters]
        # One count for all parameters of a device: separate counts would take a kernel call each.
        counts = {item.device: torch.zeros((), dtype=torch.float32, device=item.device) for item in parameters}
        self._counts = list(counts.values())
        self._steps = [counts[item.device] for item in parameters]

    @torch.no_grad()
    def step(self, factor: float = 1.0) -> None:
        """One step; a parameter without a gradient counts as one whose gradient is zero."""
        torch._foreach_add_(self._counts, 1.0)
        tensors = [self._parameters, gradients_of(self._parameters), self._averages, self._squares]
        steps = self._steps
        if self.freezes:
            *tensors, steps = _trained(self._parameters, [*tensors, steps])
        for rates, (parameters, gradients, averages, squares) in _parts(self.rates, tensors):
            self._kernel(
                parameters,
                gradients,
                averages,
                squares,
                [],
                steps,
                lr=rates.learning_rate * factor,
                beta1=self._betas[0],
                beta2=self._betas[1],
                weight_decay=rates.weight_decay,
                eps=EPSILON,
                amsgrad=False,
                maximize=False,
            )

    @property
    def moments(self) -> tuple[list[Tensor], list[Tensor]]:
        """The averages of gradients and of their squares, one per parameter."""
        return self._averages, self._squares

    @property
    def steps_taken(self) -> int:
        """The number of steps, equal for all parameters."""
        return int(self._counts[0].item())

    def has_stepped(self, steps: int) -> None:
        """Count steps that something else has done, with these parameters and moments."""
        torch._foreach_add_(self._counts, float(steps))

    def state(self) -> dict[str, Tensor]:
        """Moment estimates and steps; empty before the first step."""
        if not self._steps or self._steps[0].item() == 0:
            return {}
        parts = {"step": self._steps, "exp_avg": self._averages, "exp_avg_sq": self._squares}
        return {f"{number}.{name}": part[number] for number in range(len(self._steps)) for name, part in parts.items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore from `state`."""
        parts = {"step": self._steps, "exp_avg": self._averages, "exp_avg_sq": self._squares}
        _load(state, parts)


class Sgd:
    """Stochastic gradient descent with momentum and coupled weight decay."""

    def __init__(self, parameters: Sequence[nn.Parameter], rates: Sequence[Rates], momentum: float) -> None:
        self.rates = list(rates)
        self.freezes = False
        self._parameters: list[Tensor] = list(parameters)
        self._momentum = momentum
        self._buffers = [torch.zeros_like(item) for item in parameters] if momentum else []
        self._is_first = True

    @torch.no_grad()
    def step(self, factor: float = 1.0) -> None:
        """One step; a parameter without a gradient counts as one whose gradient is zero."""
        tensors = [self._parameters, gradients_of(self._parameters), self._buffers]
        if self.freezes:
            tensors = _trained(self._parameters, tensors)
        for rates, (parameters, gradients, buffers) in _parts(self.rates, tensors):
            torch._fused_sgd_(
                parameters,
                gradients,
                buffers,
                weight_decay=rates.weight_decay,
                momentum=self._momentum,
                lr=rates.learning_rate * factor,
                dampening=0.0,
                nesterov=False,
                maximize=False,
                is_first_step=self._is_first,
            )
        self._is_first = False

    def state(self) -> dict[str, Tensor]:
        """The momentum; empty before the first step."""
        if self._is_first:
            return {}
        return {f"{number}.momentum_buffer": buffer for number, buffer in enumerate(self._buffers)}

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore from `state`."""
        _load(state, {"momentum_buffer": self._buffers})
        self._is_first = not state


class Muon:
    """Muon (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks") for matrices, else AdamW.

    A matrix is updated with its orthogonalised momentum, with all singular values near 1, from five Newton-Schulz
    steps. The update is scaled by 0.2 √(longer side) times the learning rate, as large as AdamW's, so that both share
    learning rate and decoupled weight decay (Liu et al. 2025, "Muon is Scalable for LLM Training", section 2.2).
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        rates: Sequence[Rates],
        betas: tuple[float, float],
        matrices: Collection[int],
    ) -> None:
        """`matrices` are the numbers of the parameters with orthogonal updates: matrices, or stacks of them."""
        self.rates = list(rates)
        self.freezes = False
        self._numbers = sorted(matrices)
        self._matrices: list[Tensor] = [parameters[number] for number in self._numbers]
        self._momenta = [torch.zeros_like(item) for item in self._matrices]
        self._others = [number for number in range(len(parameters)) if number not in matrices]
        self._adam = Adam([parameters[number] for number in self._others], rates, betas, decoupled=True)
        self._is_first = True

    @torch.no_grad()
    def step(self, factor: float = 1.0) -> None:
        """One step; a parameter without a gradient counts as one whose gradient is zero."""
        self._is_first = False
        self._adam.rates, self._adam.freezes = self.rates, self.freezes
        self._adam.step(factor)
        rates = [one.learning_rate * factor for one in self.rates]
        decays = [1.0 - rate * one.weight_decay for rate, one in zip(rates, self.rates, strict=True)]
        for matrix, momentum, gradient in zip(self._matrices, self._momenta, gradients_of(self._matrices), strict=True):
            if not matrix.requires_grad:
                continue
            momentum.mul_(_MOMENTUM).add_(gradient)
            step = orthogonal(gradient.add(momentum, alpha=_MOMENTUM))  # Nesterov's
            size = 0.2 * max(matrix.shape[-2:]) ** 0.5
            matrix.mul_(self._each(matrix, decays)).sub_(step.mul_(self._each(matrix, rates) * size))

    def _each(self, matrix: Tensor, values: Sequence[float]) -> Tensor | float:
        """A factor per stacked model for its matrices; a single one if all are equal."""
        if len(set(values)) == 1:
            return values[0]
        return torch.tensor(values, dtype=matrix.dtype, device=matrix.device).view(-1, 1, 1)

    def state(self) -> dict[str, Tensor]:
        """Momenta and AdamW's state; empty before the first step."""
        if self._is_first:
            return {}
        found = {
            f"{number}.momentum_buffer": momentum for number, momentum in zip(self._numbers, self._momenta, strict=True)
        }
        return found | {self._renumbered(key, self._others): item for key, item in self._adam.state().items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore from `state`."""
        if not state:
            return
        for number, momentum in zip(self._numbers, self._momenta, strict=True):
            momentum.copy_(state[f"{number}.momentum_buffer"])
        places = {number: place for place, number in enumerate(self._others)}
        own = {key: item for key, item in state.items() if int(key.partition(".")[0]) in places}
        self._adam.load({self._renumbered(key, places): item for key, item in own.items()})
        self._is_first = False

    @staticmethod
    def _renumbered(key: str, numbers: Sequence[int] | Mapping[int, int]) -> str:
        number, _, name = key.partition(".")
        return f"{numbers[int(number)]}.{name}"


def orthogonal(matrix: Tensor) -> Tensor:
    """Approximately the nearest orthogonal matrices, (…, m, n): singular values become 0.7 to 1.2.

    Five steps of the Newton-Schulz iteration with the coefficients of Jordan et al. 2024.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[-2] > matrix.shape[-1]
    x: Tensor = matrix.transpose(-2, -1) if tall else matrix
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        square = x @ x.transpose(-2, -1)
        x = a * x + (b * square + c * square @ square) @ x
    return x.transpose(-2, -1) if tall else x


def hidden_matrices(module: nn.Module) -> frozenset[int]:
    """The numbers of the hidden matrices among the parameters: neither embeddings nor the last one.

    For a single model, in the order of its parameters.
    """
    embeddings = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    found = [
        number for number, item in enumerate(module.parameters()) if item.dim() == 2 and id(item) not in embeddings
    ]
    return frozenset(found[:-1])


def make_optimizer(
    parameters: Sequence[nn.Parameter],
    training: TrainingConfig,
    rates: Sequence[Rates] | None = None,
    matrices: Collection[int] = (),
) -> Optimizer:
    """The optimizer of the settings; `rates` per stacked model, for a single one the settings'.

    `matrices`: the numbers of the `hidden_matrices` among the parameters.
    """
    rates = rates or [Rates(training.learning_rate, training.weight_decay)]
    if training.optimizer == "muon":
        return Muon(parameters, rates, training.betas, matrices)
    if training.optimizer == "sgd":
        return Sgd(parameters, rates, training.momentum)
    return Adam(parameters, rates, training.betas, decoupled=training.optimizer == "adamw")


def gradients_of(parameters: Sequence[Tensor]) -> list[Tensor]:
    """The gradients; zeros for a parameter that has none."""
    return [torch.zeros_like(item) if item.grad is None else item.grad for item in parameters]


def _trained(parameters: Sequence[Tensor], tensors: Sequence[Sequence[Tensor]]) -> list[list[Tensor]]:
    """Tensors per parameter, without those of frozen parameters."""
    return [[one for one, own in zip(part, parameters, strict=False) if own.requires_grad] for part in tensors]


def _parts(rates: Sequence[Rates], tensors: Sequence[Sequence[Tensor]]) -> Iterator[tuple[Rates, list[list[Tensor]]]]:
    """The rates with their tensors: all together if the models share them, else each model's slices."""
    first = rates[0]
    if all(other == first for other in rates):
        yield first, [list(part) for part in tensors]
        return
    for number, own in enumerate(rates):
        yield own, [[tensor[number] for tensor in part] for part in tensors]


def _load(state: dict[str, Tensor], parts: Mapping[str, Sequence[Tensor]]) -> None:
    """Copy a saved state into the existing tensors. Raises `KeyError` if something is missing."""
    if not state:
        return
    for name, part in parts.items():
        for number, tensor in enumerate(part):
            tensor.copy_(state[f"{number}.{name}"])
