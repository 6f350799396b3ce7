"""The module that is trained and returned: the architecture with normalisation in buffers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from forge_tui.safe_io.printing import named

if TYPE_CHECKING:
    from forge_tui.training.data.dataset import Normalisation


class Network(nn.Module):
    """Maps raw features to logits, or to predictions in the targets' units.

    Shapes: features (N, F) → (N, outputs); tokens (N, T) → (N, T, vocabulary), or (N, classes). A custom `body` may
    return several tensors, in tuples, dicts and the like: these are returned unchanged, for a regression scaled. Means
    and scales are buffers, saved with the weights. Training calls `body` on features scaled once by `scale_features`.
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
        """Features scaled for `body`."""
        if self.feature_mean is None or self.feature_scale is None:
            return inputs
        return (inputs - self.feature_mean) / self.feature_scale

    def scale_targets(self, targets: Tensor) -> Tensor:
        """Regression targets in the units of `body`."""
        if self.target_mean is None or self.target_scale is None:
            return targets
        scaled = (targets - self.target_mean) / self.target_scale
        # Targets that float32 could not tell apart are scaled in float64.
        return scaled.to(torch.get_default_dtype()) if self.target_mean.dtype is torch.float64 else scaled

    def unscale_targets(self, outputs: Tensor) -> Tensor:
        """Predictions of `body` in the targets' units; several outputs unchanged."""
        if self.target_mean is None or self.target_scale is None or not isinstance(outputs, Tensor):
            return outputs
        return outputs * self.target_scale + self.target_mean

    def forward(self, inputs: Tensor) -> Tensor:
        """Raw inputs → logits, or predictions in the targets' units."""
        return self.unscale_targets(self.body(self.scale_features(inputs)))


def named_weights(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name, tied ones once, under their first name."""
    hidden = {
        f"{path}.{name}" if path else name
        for path, part in module.named_modules()
        for name in part._non_persistent_buffers_set
    }
    tensors = {name: parameter.detach() for name, parameter in module.named_parameters()}
    tensors.update((name, buffer) for name, buffer in module.named_buffers() if name not in hidden)
    return tensors


def set_weights(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Copy `tensors` into the module's own. Raises `ValueError` unless names and shapes are the same."""
    own = named_weights(module)
    if own.keys() != tensors.keys():
        raise ValueError(f"other weights than the model's: {sorted(own.keys() ^ tensors.keys())[:6]}")
    for name, tensor in tensors.items():
        if own[name].shape != tensor.shape or own[name].dtype != tensor.dtype:
            raise ValueError(f"{named(name)} is {tuple(tensor.shape)}, and the model's {tuple(own[name].shape)}")
        if not fill(own[name], tensor):
            owner, _, key = name.rpartition(".")
            module.get_submodule(owner)._buffers[key] = tensor.to(own[name].device, copy=True)


def fill(target: Tensor, value: Tensor) -> bool:
    """Copy `value` into a tensor of its shape; False, without a change, if elements that share memory (from `expand`)
    would have to differ."""
    shared = [axis for axis, stride in enumerate(target.stride()) if stride == 0 and target.shape[axis] > 1]
    with torch.no_grad():
        for axis in shared:
            first = value.narrow(axis, 0, 1)
            if not torch.equal(first.expand_as(value), value):
                return False
            target, value = target.narrow(axis, 0, 1), first
        target.copy_(value)
    return True


def count_parameters(module: nn.Module) -> int:
    """Trainable parameters, tied ones once."""
    return sum(parameter.numel() for parameter in module.parameters())
