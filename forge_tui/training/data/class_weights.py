"""Class weights of the training loss."""

from __future__ import annotations

import dataclasses

import torch

from forge_tui.errors import SettingsError
from forge_tui.training.data.dataset import Dataset, Task


def balanced(dataset: Dataset) -> Dataset:
    """The dataset with weights n / (k · n_c): of n training samples, n_c are of class c, one of the k existing ones.

    So every class has the same total weight, and a sample has weight 1 on average (scikit-learn's
    `compute_class_weight`). A class without training samples has weight 0. Raises `SettingsError` if the target is not
    classes.
    """
    if dataset.task is not Task.CLASSIFICATION:
        kind = "numbers" if dataset.task is Task.REGRESSION else "text"
        raise SettingsError(
            f"data.class_weights = balanced: the target is {kind}, not one of classes; take --class-weights none"
        )
    counts = torch.bincount(dataset.train_targets, minlength=dataset.outputs).double()
    share = len(dataset.train_targets) / (counts > 0).sum()
    weights = torch.where(counts > 0, share / counts, torch.zeros_like(counts))
    return dataclasses.replace(dataset, class_weights=weights.float())
