"""Arithmetic modulo a prime, the task on which grokking was found: every pair of numbers and its result."""

from __future__ import annotations

import torch
from torch import Tensor

from forge_tui.errors import SettingsError
from forge_tui.settings.schema import Settings
from forge_tui.training.data.dataset import Dataset, Task
from forge_tui.training.data.fingerprint import split_digest
from forge_tui.training.data.split import split_at_random, test_record


def modular_dataset(settings: Settings) -> Dataset:
    """All pairs x, y modulo `prime` as four tokens, x ∘ y =; the class is the result, read at the last token.

    For multiplication and division y is not 0, as in the GrokFast paper (Lee et al. 2024). Tokens are the numbers, then
    the operation, then the equals sign. `seed` selects the `train_fraction` of the pairs for training; all others are
    for validation (Power et al. 2022, "Grokking", appendix A.1).
    """
    data, seed = settings.data, settings.run.seed
    prime, operation = data.prime, data.operation
    numbers = torch.arange(prime)
    x, y = torch.cartesian_prod(numbers, numbers[1:] if operation in ("*", "/") else numbers).unbind(dim=1)
    sign, equals = torch.full_like(x, prime), torch.full_like(x, prime + 1)
    inputs, targets = torch.stack((x, sign, y, equals), dim=1), _results(operation, x, y, prime)
    train, validation, test = _split(len(inputs), data.train_fraction, data.test_fraction, seed)
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
            **test_record(len(test), data.test_fraction),
        },
        split_sha256=split_digest(train, validation, test),
        test_inputs=inputs[test] if len(test) else None,
        test_targets=targets[test] if len(test) else None,
        validation_rows=validation + 1,
        test_rows=test + 1,
    )


def _split(pairs: int, trained: float, tested: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """The pairs for training, for validation (all others), and for the test, which are drawn first."""
    if not tested:
        return *split_at_random(pairs, 1.0 - trained, seed), torch.arange(0)
    if trained + tested > 1.0:
        raise SettingsError(
            f"data.train_fraction {trained:g} and data.test_fraction {tested:g} are more than all pairs; together they "
            "are at most 1"
        )
    others, test = split_at_random(pairs, tested, seed)
    train, validation = split_at_random(len(others), max(0.0, 1.0 - trained * pairs / len(others)), seed)
    return others[train], others[validation], test


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
