"""Several models of one architecture as one module: their weights stacked along a first axis."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from forge_tui.training.models.layers import Embedding, Gru, LayerNorm, Linear
from forge_tui.training.models.sequence import FeatureSteps

# Modules that support an extra axis in front of their parameters.
_STACKABLE = (Linear, LayerNorm, Embedding, Gru, FeatureSteps)


class Stack:
    """Models trained as one computation. `body` maps (M, N, …) to (M, N, …), model m with its own weights.

    It shares no memory with the original modules. If all layers support stacked weights it uses them; any other module
    is mapped by `torch.func`, which is slower and correct for everything that vmap can map.
    """

    def __init__(self, bodies: Sequence[nn.Module]) -> None:
        """`bodies` only differ in their weights."""
        together = copy.deepcopy(bodies[0])
        self.is_native = _is_native(together)
        self.models = len(bodies)
        self.names = [name for name, _ in together.named_parameters()]
        self._turned = _turned(together) if self.is_native else frozenset()
        for name, parameter in list(together.named_parameters()):
            values = [self.to_stack(name, body.get_parameter(name).detach()) for body in bodies]
            _set(together, name, nn.Parameter(torch.stack(values), requires_grad=parameter.requires_grad))
        for name, _ in list(together.named_buffers()):
            _set(together, name, torch.stack([body.get_buffer(name) for body in bodies]))
        self.body: nn.Module = together if self.is_native else _Vmapped(together)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The stacked parameters, in the order of a single model's."""
        return list(self.body.parameters())

    def to_stack(self, name: str, tensor: Tensor) -> Tensor:
        """A tensor of one model's parameter `name` in the layout of the stack (a view)."""
        return tensor.transpose(-2, -1) if name in self._turned else tensor

    def of_model(self, name: str, tensor: Tensor, model: int) -> Tensor:
        """Model `model`'s part of a tensor stacked like the parameter `name`, in a single model's shape."""
        return self.to_stack(name, tensor[model])

    def set_weights(self, model: int, tensors: Mapping[str, Tensor]) -> None:
        """Set a model's weights and buffers, with the names and shapes of a single model."""
        whole = self._whole
        buffers = dict(whole.named_buffers())
        with torch.no_grad():
            for name, tensor in tensors.items():
                if name in buffers:
                    buffers[name][model].copy_(tensor)
                else:
                    whole.get_parameter(name)[model].copy_(self.to_stack(name, tensor))

    def without(self, model: int) -> Stack:
        """The stack of the other models; do not use this one any more."""
        whole, kept = self._whole, [number for number in range(self.models) if number != model]
        for name, item in list(whole.named_parameters()):
            _set(whole, name, nn.Parameter(item.detach()[kept].clone(), requires_grad=item.requires_grad))
        for name, buffer in list(whole.named_buffers()):
            _set(whole, name, buffer[kept].clone())
        self.models = len(kept)
        return self

    @property
    def runs(self) -> nn.Module:
        """The module whose forward pass runs for all models at once, with their modes and attributes."""
        return self.body.shadows[0] if isinstance(self.body, _Vmapped) else self.body

    @property
    def _whole(self) -> nn.Module:
        """The module with the stacked weights under a single model's names."""
        return self.body.stacked if isinstance(self.body, _Vmapped) else self.body

    def weights(self, model: int) -> dict[str, Tensor]:
        """One model's parameters and buffers by name, in a single model's shapes."""
        whole = self._whole
        found = {name: self.of_model(name, item.detach(), model) for name, item in whole.named_parameters()}
        found.update((name, buffer[model]) for name, buffer in whole.named_buffers())
        return found


class _Vmapped(nn.Module):
    """Any module with stacked weights, mapped by `torch.func`."""

    def __init__(self, stacked: nn.Module) -> None:
        super().__init__()
        self.stacked = stacked
        self._skeleton = [copy.deepcopy(stacked).to("meta")]  # in a list: not a part of this module

    @property
    def shadows(self) -> list[nn.Module]:
        """Modules with modes outside this one: the forward pass runs in the skeleton."""
        return self._skeleton

    def train(self, mode: bool = True) -> _Vmapped:
        """Set the mode of the skeleton too, for modules such as batch normalisation."""
        self._skeleton[0].train(mode)
        super().train(mode)
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        """(M, N, …) → (M, N, …)."""
        skeleton = self._skeleton[0]

        def one(weights: dict[str, Tensor], rows: Tensor) -> Tensor:
            return functional_call(skeleton, weights, (rows,))

        weights = {**dict(self.stacked.named_parameters()), **dict(self.stacked.named_buffers())}
        return vmap(one, randomness="different")(weights, inputs)


def _is_native(module: nn.Module) -> bool:
    """Whether the module's layers support stacked weights; a custom one may index its axes in any way."""
    if not type(module).__module__.startswith(f"{__name__.partition('.')[0]}."):
        return False
    owners = (part for part in module.modules() if any(True for _ in part.parameters(recurse=False)))
    return all(isinstance(part, _STACKABLE) for part in owners) and not any(True for _ in module.buffers())


def _turned(module: nn.Module) -> frozenset[str]:
    """The full names of the parameters that are stacked transposed."""
    return frozenset(
        f"{prefix}.{name}" if prefix else name
        for prefix, part in module.named_modules()
        for name in getattr(part, "TURNED", ())
    )


def _set(module: nn.Module, name: str, value: Tensor) -> None:
    owner, _, key = name.rpartition(".")
    if isinstance(value, nn.Parameter):
        module.get_submodule(owner)._parameters[key] = value
    else:
        module.get_submodule(owner)._buffers[key] = value
