"""The architectures by name."""

from __future__ import annotations

from typing import Protocol

from torch import nn

from forge_tui.errors import SettingsError
from forge_tui.training.models import memory, planner, reasoner
from forge_tui.training.models.inputs import InputSpec


class _Build(Protocol):
    def __call__(self, size: int, inputs: InputSpec, *, in_eights: bool) -> nn.Module: ...


ARCHITECTURE = 1
"""The version of the architectures below: another one would make other modules of the same settings."""
ARCHITECTURES: dict[str, _Build] = {
    "planner": planner.build,
    "reasoner": reasoner.build,
    "memory": memory.build,
}


def build_model(model_type: str, model_size: int, inputs: InputSpec, *, in_eights: bool = True) -> nn.Module:
    """A new module with random weights (torch's global generator) and `model_size` parameters to within 5 %.

    `in_eights`: its widths are multiples of 8 if possible; not in models of early versions.
    Shapes: features (N, F) → (N, outputs); tokens (N, T) → (N, T, outputs), or (N, outputs) with `inputs.last_only`.
    Raises `SettingsError` where the size is too small for the inputs.
    """
    build = ARCHITECTURES.get(model_type)
    if build is None:
        raise SettingsError(f"model_type = {model_type!r}: must be one of {', '.join(ARCHITECTURES)}")
    if inputs.shape is not None:
        raise SettingsError(
            f"--model-type {model_type} takes flat features, and the dataset's samples have the shape {inputs.shape}; "
            "flatten them, or give a custom model"
        )
    return build(model_size, inputs, in_eights=in_eights)
