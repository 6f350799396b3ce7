"""The training function in the settings (`training.train`)."""

from __future__ import annotations

TRAIN = "training.train"
MODEL_TYPE = "training.model_type"
NONE = "none"
"""The value of `training.train` without a training function."""


def is_function(train: str) -> bool:
    """Whether a value of `training.train` names a training function."""
    return train != NONE
