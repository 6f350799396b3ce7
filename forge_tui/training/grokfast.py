"""GrokFast: amplify the slow part of the gradients (Lee et al. 2024, "Grokfast: Accelerated Grokking by
Amplifying Slow Gradients", algorithms 1 and 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from forge_tui.settings.schema import TrainingConfig
from forge_tui.training.optimizers import gradients_of


class GradientFilter(Protocol):
    """Changes gradients in place, between backward and the optimizer's step; `state` is for resume."""

    def apply(self) -> None: ...

    def state(self) -> dict[str, Tensor]: ...

    def load(self, state: dict[str, Tensor]) -> None: ...


class NoFilter:
    """Leaves gradients unchanged."""

    def apply(self) -> None:
        """Do nothing."""

    def state(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def load(self, state: dict[str, Tensor]) -> None:
        """Do nothing."""


class ExponentialFilter:
    """Grokfast-EMA: h ← α h + (1 − α) g, starting with h = g; then g ← g + λ h."""

    def __init__(self, parameters: Sequence[nn.Parameter], alpha: float, factor: float) -> None:
        self._parameters = list(parameters)
        self._alpha = alpha
        self._factor = factor
        self._average: list[Tensor] | None = None

    def apply(self) -> None:
        """Filter the gradients of this step."""
        gradients = gradients_of(self._parameters)
        if self._average is None:
            self._average = [gradient.clone() for gradient in gradients]
        else:
            torch._foreach_mul_(self._average, self._alpha)
            torch._foreach_add_(self._average, gradients, alpha=1.0 - self._alpha)
        torch._foreach_add_(gradients, self._average, alpha=self._factor)

    def state(self) -> dict[str, Tensor]:
        """The averages, by the parameter's number."""
        return {f"average.{number}": tensor for number, tensor in enumerate(self._average or [])}

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore from `state`."""
        if state:
            self._average = [state[f"average.{number}"] for number in range(len(self._parameters))]


class WindowFilter:
    """Grokfast-MA: g ← g + λ · mean of the last `window` gradients, once there are that many.

    The gradients are in a ring buffer; their sum in float64 is updated, which costs a constant time per step. Memory:
    `window` + 2 times the parameters.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], window: int, factor: float) -> None:
        self._parameters = list(parameters)
        self._window = window
        self._factor = factor
        self._seen = 0
        self._ring = [item.new_zeros((window, *item.shape), requires_grad=False) for item in parameters]
        self._sum = [torch.zeros_like(item, dtype=torch.float64) for item in parameters]

    def apply(self) -> None:
        """Filter the gradients of this step."""
        gradients = gradients_of(self._parameters)
        place = self._seen % self._window
        slots = [ring[place] for ring in self._ring]
        for total, slot, gradient in zip(self._sum, slots, gradients, strict=True):
            total.add_(gradient).sub_(slot)
        torch._foreach_copy_(slots, gradients)
        self._seen += 1
        if self._seen >= self._window:
            for total, gradient in zip(self._sum, gradients, strict=True):
                gradient.add_(total, alpha=self._factor / self._window)

    def state(self) -> dict[str, Tensor]:
        """Ring, sum and count, by the parameter's number."""
        state = {"seen": torch.tensor(self._seen)}
        state.update((f"ring.{number}", tensor) for number, tensor in enumerate(self._ring))
        state.update((f"sum.{number}", tensor) for number, tensor in enumerate(self._sum))
        return state

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore from `state`."""
        self._seen = int(state["seen"])
        self._ring = [state[f"ring.{number}"] for number in range(len(self._parameters))]
        self._sum = [state[f"sum.{number}"] for number in range(len(self._parameters))]


def make_filter(parameters: Sequence[nn.Parameter], training: TrainingConfig) -> GradientFilter:
    """The filter of the settings."""
    if not training.grokfast_enabled:
        return NoFilter()
    if training.grokfast_filter == "ema":
        return ExponentialFilter(parameters, training.grokfast_alpha, training.grokfast_lambda)
    return WindowFilter(parameters, training.grokfast_window, training.grokfast_lambda)
