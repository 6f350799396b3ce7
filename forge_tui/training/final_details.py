"""Where a finished model errs: its confusion matrix, and the samples with the largest losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from forge_tui.protocol.model_details import MOST_CLASSES, MOST_PAIRS, MOST_ROWS, Confusion, Mistake, Value, WorstRow
from forge_tui.training.data.stored import StoredRows
from forge_tui.training.data.task import Task
from forge_tui.training.losses import validation_rows
from forge_tui.training.metrics.of_classes import ClassMetrics
from forge_tui.training.metrics.of_numbers import NumberMetrics
from forge_tui.training.models.modes import evaluating
from forge_tui.training.models.network import Network

# A number of a sample's predictions that is still read by people.
_MOST_OUTPUTS = 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """Samples of a split on the device, scaled for the body of a network.

    `raw`: the targets as they are in the data, on the CPU. `rows`: the place of each in its source (None: it has none).
    """

    inputs: Tensor | StoredRows
    targets: Tensor
    raw: Tensor
    rows: Tensor | None

    def row(self, place: int) -> int | None:
        """The place of a sample in its source."""
        return None if self.rows is None else int(self.rows[place])


def details_of(
    network: Network, task: Task, part: Part, classes: Sequence[Value] | None
) -> tuple[Confusion | None, tuple[WorstRow, ...]]:
    """The confusion of a classification, and the samples with the largest losses, the largest first.

    Losses are cross entropies, or mean squared errors of scaled targets. There is nothing of tokens, and of a custom
    model whose outputs are not of the task's shape.
    """
    if task is Task.NEXT_TOKEN or not len(part.inputs):
        return None, ()
    losses, found = list[Tensor](), list[Tensor]()
    size = validation_rows(part.inputs, network.body)
    with evaluating(network.body), torch.no_grad():
        for start in range(0, len(part.inputs), size):
            out, wanted = network.body(part.inputs[start : start + size]), part.targets[start : start + size]
            if not _fits(task, out, wanted):
                return None, ()
            if task is Task.CLASSIFICATION:
                losses.append(functional.cross_entropy(out.double(), wanted, reduction="none").cpu())
                found.append(out.argmax(dim=1).cpu())
            else:
                losses.append((out.double() - wanted).square().reshape(len(wanted), -1).mean(dim=1).cpu())
        all_losses = torch.cat(losses)
        finite = all_losses.nan_to_num(nan=torch.inf)
        worst = finite.argsort(descending=True, stable=True)[:MOST_ROWS]
        if task is Task.REGRESSION:
            return None, _worst_numbers(network, part, worst, all_losses)
    guesses = torch.cat(found)
    names = tuple(range(int(max(guesses.max(), part.raw.max())) + 1)) if classes is None else tuple(classes)
    return _confusion(guesses, part.raw, names), _worst_classes(part, worst, all_losses, guesses, names)


def _fits(task: Task, out: Any, targets: Tensor) -> bool:
    if not isinstance(out, Tensor):
        return False
    if task is Task.REGRESSION:
        return NumberMetrics.fits(out.unsqueeze(0), targets)
    return ClassMetrics.fits(out.unsqueeze(0), targets) and int(targets.max()) < out.shape[1]


def _confusion(found: Tensor, wanted: Tensor, names: Sequence[Value]) -> Confusion | None:
    """The whole matrix, or of many classes the pairs that are confused most often."""
    size = len(names)
    if int(found.max()) >= size:
        return None
    codes, counts = np.unique((wanted * size + found).numpy(), return_counts=True)
    if size <= MOST_CLASSES:
        matrix = np.zeros(size * size, dtype=np.int64)
        matrix[codes] = counts
        return Confusion(classes=tuple(names), matrix=tuple(map(tuple, matrix.reshape(size, size).tolist())))
    is_wrong = codes // size != codes % size
    order = np.argsort(-counts[is_wrong], kind="stable")[:MOST_PAIRS]
    pairs = zip(codes[is_wrong][order].tolist(), counts[is_wrong][order].tolist(), strict=True)
    return Confusion(
        mistakes=tuple(
            Mistake(true=names[code // size], predicted=names[code % size], count=count) for code, count in pairs
        )
    )


def _worst_classes(
    part: Part, worst: Tensor, losses: Tensor, found: Tensor, names: Sequence[Value]
) -> tuple[WorstRow, ...]:
    return tuple(
        WorstRow(
            row=part.row(place),
            loss=float(losses[place]),
            true=names[int(part.raw[place])],
            predicted=names[guess] if (guess := int(found[place])) < len(names) else guess,
        )
        for place in worst.tolist()
    )


def _worst_numbers(network: Network, part: Part, worst: Tensor, losses: Tensor) -> tuple[WorstRow, ...]:
    raw = part.raw.reshape(len(part.raw), -1)
    if raw.shape[1] > _MOST_OUTPUTS:
        return ()
    predicted = network.unscale_targets(network.body(part.inputs[worst.to(part.targets.device)]))
    predicted = predicted.reshape(len(worst), -1).cpu()
    return tuple(
        WorstRow(
            row=part.row(place),
            loss=float(losses[place]),
            true=_number(raw[place]),
            predicted=_number(predicted[number]),
        )
        for number, place in enumerate(worst.tolist())
    )


def _number(values: Tensor) -> Value:
    """A number, or several as text."""
    found = values.tolist()
    return found[0] if len(found) == 1 else ", ".join(f"{value:.6g}" for value in found)
