"""An exponential moving average of the weights: less noisy than the weights themselves (Polyak & Juditsky 1992,
"Acceleration of stochastic approximation by averaging", with weights that decay)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """a ← d a + (1 − d) w after each change of the weights w, beginning with a = w after the first.

    With a decay d of 0 it equals the weights, and nothing is stored. Buffers are not averaged.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], decay: float) -> None:
        self._parameters: list[Tensor] = list(parameters) if decay else []
        self._decay = decay
        self._average: list[Tensor] = []

    def follow(self) -> None:
        """Update the average with the present weights."""
        if not self._parameters:
            return
        with torch.no_grad():
            if self._average:
                torch._foreach_lerp_(self._average, self._parameters, 1.0 - self._decay)
            else:
                self._average = [item.detach().clone() for item in self._parameters]

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Replace the parameters by the average inside the context."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for number, average in enumerate(self._average):
            parameter = self._parameters[number]
            self._average[number], parameter.data = parameter.data, average

    def state(self) -> dict[str, Tensor]:
        """The average, by the parameter's number; empty before the first step."""
        return {str(number): tensor for number, tensor in enumerate(self._average)}

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore from `state`."""
        if state:
            self._average = [
                torch.empty_like(item).copy_(state[str(number)]) for number, item in enumerate(self._parameters)
            ]
