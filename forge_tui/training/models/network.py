"""The module that is trained and given back: normalisation in buffers around the architecture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from forge_tui.training.data.dataset import Normalisation


class Network(nn.Module):
    """Takes raw features and gives logits, or predictions in the targets' own units.

    Shapes: features (N, F) → (N, outputs); tokens (N, T) → (N, T, vocabulary), or (N, classes). Means and scales are
    buffers, so they travel with the weights. Training calls `body` on features that `scale_features` scaled once.
    """

    feature_mean: Tensor | None
    feature_scale: Tensor | None
    target_mean: Tensor | None
    target_scale: Tensor | None

    def __init__(self, body: nn.Module, normalisation: Normalisation | None) -> None:
        super().__init__()
        self.body = body
        for name in ("feature_mean", "feature_scale", "target_mean", "target_scale"):
            value = None if normalisation is None else getattr(normalisation, name)
            self.register_buffer(name, None if value is None else value.clone())

    def scale_features(self, inputs: Tensor) -> Tensor:
        """Features as `body` takes them."""
        if self.feature_mean is None or self.feature_scale is None:
            return inputs
        return (inputs - self.feature_mean) / self.feature_scale

    def scale_targets(self, targets: Tensor) -> Tensor:
        """Regression targets as `body` predicts them."""
        if self.target_mean is None or self.target_scale is None:
            return targets
        return (targets - self.target_mean) / self.target_scale

    def forward(self, inputs: Tensor) -> Tensor:
        """Raw inputs → logits, or predictions in the targets' own units."""
        out = self.body(self.scale_features(inputs))
        if self.target_mean is None or self.target_scale is None:
            return out
        return out * self.target_scale + self.target_mean


def named_weights(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name, tied ones once, under their first name."""
    tensors = {name: parameter.detach() for name, parameter in module.named_parameters()}
    kept = module.state_dict().keys()
    tensors.update((name, buffer) for name, buffer in module.named_buffers() if name in kept)
    return tensors


def set_weights(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Copy `tensors` into the module's own. Raises `ValueError` unless names and shapes are the same."""
    own = named_weights(module)
    if own.keys() != tensors.keys():
        raise ValueError(f"other weights than the model's: {sorted(own.keys() ^ tensors.keys())[:6]}")
    with torch.no_grad():
        for name, tensor in tensors.items():
            if own[name].shape != tensor.shape or own[name].dtype != tensor.dtype:
                raise ValueError(f"{name} is {tuple(tensor.shape)}, and the model's {tuple(own[name].shape)}")
            own[name].copy_(tensor)


def count_parameters(module: nn.Module) -> int:
    """Trainable parameters, tied ones once."""
    return sum(parameter.numel() for parameter in module.parameters())
