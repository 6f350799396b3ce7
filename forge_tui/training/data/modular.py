"""Arithmetic modulo a prime, the task on which grokking was found: every pair of numbers and its result."""

from __future__ import annotations

import torch
from torch import Tensor

from forge_tui.settings.schema import DataSettings
from forge_tui.training.data.dataset import Dataset, Task
from forge_tui.training.data.fingerprint import split_digest
from forge_tui.training.data.split import split_at_random


def modular_dataset(data: DataSettings, seed: int) -> Dataset:
    """All pairs x, y modulo `prime` as four tokens, x ∘ y =; the class is the result, read at the last token.

    For multiplication and division y is not 0, as in the GrokFast paper (Lee et al. 2024). Tokens are the numbers, then
    the operation, then the equals sign. `seed` selects the `train_fraction` of the pairs for training; all others are
    for validation (Power et al. 2022, "Grokking", appendix A.1).
    """
    prime, operation = data.prime, data.operation
    numbers = torch.arange(prime)
    x, y = torch.cartesian_prod(numbers, numbers[1:] if operation in ("*", "/") else numbers).unbind(dim=1)
    sign, equals = torch.full_like(x, prime), torch.full_like(x, prime + 1)
    inputs, targets = torch.stack((x, sign, y, equals), dim=1), _results(operation, x, y, prime)
    train, validation = split_at_random(len(inputs), 1.0 - data.train_fraction, seed)
    return Dataset(
        task=Task.CLASSIFICATION,
        train_inputs=inputs[train],
        train_targets=targets[train],
        validation_inputs=inputs[validation] if len(validation) else None,
        validation_targets=targets[validation] if len(validation) else None,
        outputs=prime,
        features=(),
        target="result",
        classes=tuple(range(prime)),
        vocabulary=(*(str(number) for number in range(prime)), operation, "="),
        normalisation=None,
        split={
            "method": "random permutation",
            "seed": seed,
            "train_samples": len(train),
            "validation_samples": len(validation),
            "train_fraction": data.train_fraction,
        },
        split_sha256=split_digest(train, validation),
    )


def _results(operation: str, x: Tensor, y: Tensor, prime: int) -> Tensor:
    """x ∘ y modulo `prime`, each 0 … prime - 1."""
    match operation:
        case "+":
            return (x + y) % prime
        case "-":
            return (x - y) % prime
        case "*":
            return x * y % prime
        case "/":
            inverses = torch.tensor([0, *(pow(number, -1, prime) for number in range(1, prime))])
            return x * inverses[y] % prime
        case "x^2+y^2":
            return (x * x + y * y) % prime
    raise ValueError(f"no operation {operation!r}")
