"""Adam, AdamW and SGD by torch's fused kernels: one call a step for all parameters.

Called directly: `torch.optim` computes the same bytes by the same kernels, but spends 90 µs more a step in Python, a
sixth of the whole step of a small model, and imports torch._dynamo (1.2 s and 60 MB in every process).

A parameter may hold the weights of several models, stacked along its first axis; each model then has its own learning
rate and weight decay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from forge_tui.settings.schema import TrainingConfig

_EPSILON = 1e-8


@dataclass(frozen=True, slots=True)
class Rates:
    """The step size and the weight decay of one model, or of several that share them."""

    learning_rate: float
    weight_decay: float


class Optimizer(Protocol):
    """Changes parameters in place by their gradients.

    `step` may be told what to multiply the learning rates with. `state` is what resume needs, as `NUMBER.NAME` (number
    of the parameter).
    """

    rates: list[Rates]

    def step(self, factor: float = 1.0) -> None: ...

    def state(self) -> dict[str, Tensor]: ...

    def load(self, state: dict[str, Tensor]) -> None: ...


class Adam:
    """Adam (Kingma & Ba 2015) with coupled weight decay, or AdamW (Loshchilov & Hutter 2019) with it decoupled."""

    def __init__(
        self, parameters: Sequence[nn.Parameter], rates: Sequence[Rates], betas: tuple[float, float], *, decoupled: bool
    ) -> None:
        self.rates = list(rates)
        self._parameters = list(parameters)
        self._betas = betas
        self._kernel = torch._fused_adamw_ if decoupled else torch._fused_adam_
        self._averages = [torch.zeros_like(item) for item in parameters]
        self._squares = [torch.zeros_like(item) for item in parameters]
        self._steps = [torch.zeros((), dtype=torch.float32, device=item.device) for item in parameters]

    @torch.no_grad()
    def step(self, factor: float = 1.0) -> None:
        """One step; a parameter without a gradient counts as one whose gradient is zero."""
        torch._foreach_add_(self._steps, 1.0)
        tensors = (self._parameters, gradients_of(self._parameters), self._averages, self._squares)
        for rates, (parameters, gradients, averages, squares) in _parts(self.rates, tensors):
            self._kernel(
                parameters,
                gradients,
                averages,
                squares,
                [],
                self._steps,
                lr=rates.learning_rate * factor,
                beta1=self._betas[0],
                beta2=self._betas[1],
                weight_decay=rates.weight_decay,
                eps=_EPSILON,
                amsgrad=False,
                maximize=False,
            )

    def state(self) -> dict[str, Tensor]:
        """Moment estimates and steps; empty before the first step."""
        if not self._steps or self._steps[0].item() == 0:
            return {}
        parts = {"step": self._steps, "exp_avg": self._averages, "exp_avg_sq": self._squares}
        return {f"{number}.{name}": part[number] for number in range(len(self._steps)) for name, part in parts.items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        parts = {"step": self._steps, "exp_avg": self._averages, "exp_avg_sq": self._squares}
        _load(state, parts)


class Sgd:
    """Stochastic gradient descent with momentum and coupled weight decay."""

    def __init__(self, parameters: Sequence[nn.Parameter], rates: Sequence[Rates], momentum: float) -> None:
        self.rates = list(rates)
        self._parameters = list(parameters)
        self._momentum = momentum
        self._buffers = [torch.zeros_like(item) for item in parameters] if momentum else []
        self._is_first = True

    @torch.no_grad()
    def step(self, factor: float = 1.0) -> None:
        """One step; a parameter without a gradient counts as one whose gradient is zero."""
        tensors = (self._parameters, gradients_of(self._parameters), self._buffers)
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
        """Go on from what `state` gave."""
        _load(state, {"momentum_buffer": self._buffers})
        self._is_first = not state


def make_optimizer(
    parameters: Sequence[nn.Parameter], training: TrainingConfig, rates: Sequence[Rates] | None = None
) -> Optimizer:
    """The optimizer that the settings ask for; `rates` of each stacked model, the settings' where there is but one."""
    rates = rates or [Rates(training.learning_rate, training.weight_decay)]
    if training.optimizer == "sgd":
        return Sgd(parameters, rates, training.momentum)
    return Adam(parameters, rates, training.betas, decoupled=training.optimizer == "adamw")


def gradients_of(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """The gradients; zeros for a parameter that has none."""
    return [torch.zeros_like(item) if item.grad is None else item.grad for item in parameters]


def _parts(rates: Sequence[Rates], tensors: Sequence[Sequence[Tensor]]) -> Iterator[tuple[Rates, list[list[Tensor]]]]:
    """The rates and the tensors they are for: all in one where the models share them, else each model's slices."""
    first = rates[0]
    if all(other == first for other in rates):
        yield first, [list(part) for part in tensors]
        return
    for number, own in enumerate(rates):
        yield own, [[tensor[number] for tensor in part] for part in tensors]


def _load(state: dict[str, Tensor], parts: Mapping[str, Sequence[Tensor]]) -> None:
    """Copy what was saved into the tensors that are there. Raises `KeyError` where something is missing."""
    if not state:
        return
    for name, part in parts.items():
        for number, tensor in enumerate(part):
            tensor.copy_(state[f"{number}.{name}"])
