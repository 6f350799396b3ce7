"""Datasets: each kind of source becomes one `Dataset` of tensors."""

from forge_tui.training.data.dataset import Dataset, Normalisation, Task
from forge_tui.training.data.load import load_dataset

__all__ = ["Dataset", "Normalisation", "Task", "load_dataset"]
