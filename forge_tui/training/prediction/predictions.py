"""A trained module's outputs as classes, probabilities, and values in units of the data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from forge_tui.errors import DataError, UsageError
from forge_tui.settings.schema import DataSettings
from forge_tui.tables.target import Label
from forge_tui.training.data.task import Task
from forge_tui.training.losses import validation_rows
from forge_tui.training.models.modes import evaluating
from forge_tui.training.outputs import kind
from forge_tui.training.prediction.inputs import ModelInputs

# More at once are hardly faster, and take more memory.
_BATCH_ROWS = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What is known of a trained model beside its weights: its inputs, and what its `outputs` numbers mean.

    `classes` are the labels in the order of the outputs (None: a regression, or classes without names). `data`: how the
    file was read that it was trained on.
    """

    inputs: ModelInputs
    task: Task
    outputs: int
    classes: tuple[Label, ...] | None
    target: str | None
    data: DataSettings

    @property
    def labels(self) -> np.ndarray:
        """The class of each output, (classes,); their numbers where they have no names."""
        return labels_array(tuple(range(self.outputs)) if self.classes is None else self.classes)

    def require_classes(self) -> None:
        """Raise `UsageError` for a regression."""
        if self.task is Task.REGRESSION:
            raise UsageError(f"{self.inputs.model} is a regression: it has numbers, and no classes with probabilities")


class Predicts:
    """What `load_model` and `load_ensemble` give beside the module: predictions for tables and arrays.

    A table is a frame of polars, pandas or pyarrow, a dict of columns, or an array (N, features) of any number type,
    its columns in the order of `features`. Columns are found by name, in any order; others are ignored. Where the
    training data was a table, values may be missing, and be categories that training never had. Rows are converted and
    computed some thousands at a time, without gradients, in eval mode, on the module's device.
    """

    description: Description

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the columns that a table needs, in the order in which an array has them.

        Empty for samples of another shape than (features,), which only arrays have.
        """
        return self.description.inputs.features

    @property
    def classes(self) -> tuple[Label, ...] | None:
        """The labels, in the order of the columns of `predict_proba`; None for a regression, or without names."""
        return self.description.classes

    def predict(self, table: Any) -> np.ndarray:
        """The likeliest class of each row, (N,), or the numbers of a regression in units of the data, (N,).

        More than one target gives (N, targets). Raises `DataError` for columns that are missing, and for shapes and
        values that do not fit, with the row; `UsageError` for a model of tokens, and one that gives other than one
        tensor.
        """
        found = self.description
        if found.task is Task.REGRESSION:
            values = _joined((one.numpy() for one in self._outputs(table)), (0, found.outputs))
            return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
        numbers = _joined((one.argmax(dim=-1).numpy() for one in self._outputs(table)), (0,)).astype(np.int64)
        return found.labels[numbers]

    def predict_proba(self, table: Any) -> np.ndarray:
        """The probability of each class, float32 (N, classes) in the order of `classes`: the softmax of the outputs.

        Raises as `predict`, and `UsageError` for a regression.
        """
        found = self.description
        found.require_classes()
        return _joined((probabilities(one).numpy() for one in self._outputs(table)), (0, found.outputs))

    def _outputs(self, table: Any) -> Iterator[Tensor]:
        for inputs in self.description.inputs.pieces(table):
            yield outputs_of(cast(nn.Module, self), inputs)


def outputs_of(module: nn.Module, inputs: Tensor) -> Tensor:
    """The outputs (N, …) of a module with a description for the inputs of N rows, on the CPU, computed in batches.

    Raises `UsageError` for outputs other than one tensor, `DataError` for one of another shape than the data says.
    """
    description: Description = module.description  # type: ignore[assignment]
    weights = next(module.parameters(), None)
    device = torch.device("cpu") if weights is None else weights.device
    rows, found = validation_rows(inputs, module, _BATCH_ROWS), []
    with torch.no_grad(), evaluating(module):
        for begin in range(0, len(inputs), rows):
            batch = inputs[begin : begin + rows]
            given = module(batch.to(device))
            if not isinstance(given, Tensor):
                raise UsageError(
                    f"{description.inputs.model} gives {kind(given)}: predictions are of models that give one tensor"
                )
            is_flat = description.task is not Task.CLASSIFICATION or given.dim() == 2
            if len(given) != len(batch) or given.shape[-1] != description.outputs or not is_flat:
                raise DataError(
                    f"{description.inputs.model} gives the shape {tuple(given.shape)} for {len(batch)} rows and "
                    f"{description.outputs} outputs: it has no prediction per row"
                )
            found.append(given.cpu())
    return found[0] if len(found) == 1 else torch.cat(found)


def probabilities(outputs: Tensor) -> Tensor:
    """The softmax over the classes, float32 (N, classes)."""
    return outputs.float().softmax(dim=-1)


def labels_array(labels: tuple[Label, ...]) -> np.ndarray:
    """Labels as an array of text, of booleans or of numbers; of objects where these are mixed."""
    kinds = {type(label) for label in labels}
    if kinds == {int, float}:
        kinds = {float}
    return np.array(labels, dtype=None if len(kinds) == 1 else object)


def _joined(pieces: Iterable[np.ndarray], nothing: tuple[int, ...]) -> np.ndarray:
    """All rows; of no piece an array of the shape `nothing`."""
    found = list(pieces)
    return np.concatenate(found) if found else np.empty(nothing, dtype=np.float32)
