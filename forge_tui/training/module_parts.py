"""The parts of a module by path and name, for finding a custom module's state beside its weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from forge_tui.training.value_marks import mark_of

_TORCHS_OWN = frozenset(vars(nn.Module())) | {"_is_torch_compile"}


def modes(body: nn.Module) -> dict[str, bool]:
    """Whether each part is in training mode."""
    return {path: part.training for path, part in body.named_modules()}


def set_modes(body: nn.Module, wanted: Mapping[str, bool]) -> None:
    """Set the modes of parts directly, without calling their `train`."""
    for path, mode in wanted.items():
        body.get_submodule(path).training = mode


def trained(body: nn.Module) -> dict[str, bool]:
    """Whether each parameter is trained, or frozen."""
    return {name: one.requires_grad for name, one in body.named_parameters()}


def hidden_buffers(body: nn.Module) -> dict[str, str]:
    """The marks of the buffers that are not persistent."""
    return {name: mark_of(body.get_buffer(name)) for name in not_persistent(body)}


def attributes_of(body: nn.Module) -> Iterator[tuple[tuple[str, str], Any]]:
    """The plain attributes of every part, by path and name; not those that torch recomputes in every pass."""
    for path, part in body.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            continue  # its attributes are torch's own
        derived = {getattr(hook, "name", None) or getattr(hook, "_tensor_name", None) for hook in _hooks(part)}
        for name, value in list(vars(part).items()):
            if name not in _TORCHS_OWN and name not in derived:
                yield (path, name), value


def _hooks(part: nn.Module) -> list[Any]:
    """Hooks, such as those of the older `weight_norm`, `spectral_norm` and of pruning, which set a weight."""
    return list(part._forward_pre_hooks.values())


def known_parts(body: nn.Module) -> dict[int, str]:
    """Parameters, buffers and parts by `id`."""
    found: dict[int, str] = {}
    for kind, items in (
        ("part", body.named_modules()), ("parameter", body.named_parameters()), ("buffer", body.named_buffers()),
    ):  # fmt: skip
        for name, item in items:
            found.setdefault(id(item), f"{kind} {name}")
    return found


def part_of(body: nn.Module, named: str) -> Any:
    """The parameter, buffer or part of a name from `known_parts`. Raises `ValueError`, or `AttributeError`."""
    kind, _, name = named.partition(" ")
    match kind:
        case "part":
            return body.get_submodule(name)
        case "parameter":
            return body.get_parameter(name)
        case "buffer":
            return body.get_buffer(name)
    raise ValueError(f"{named!r} names no part of a module")


def holds_parts(value: Any, known: Mapping[int, str], depth: int = 0) -> bool:
    """Whether a container has parts of the model, which must not be copied."""
    if depth > 20 or not isinstance(value, list | tuple | dict):
        return False
    items = value.values() if isinstance(value, dict) else value
    return any(id(item) in known or holds_parts(item, known, depth + 1) for item in items)


def with_extra_state(body: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The parts that define `get_extra_state`, by path."""
    for path, part in body.named_modules():
        if type(part).get_extra_state is not nn.Module.get_extra_state:
            yield path, part


def not_persistent(body: nn.Module) -> list[str]:
    """The names of the non-persistent buffers."""
    return [
        joined_name(path, name)
        for path, part in body.named_modules()
        for name, buffer in part._buffers.items()
        if buffer is not None and name in part._non_persistent_buffers_set
    ]


def owner_of(body: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The part with the buffer of a full name, and the buffer's name there."""
    path, _, key = name.rpartition(".")
    return body.get_submodule(path), key


def shape_of(buffer: Tensor) -> tuple[str, list[int]]:
    """Type and shape in their stored form."""
    return str(buffer.dtype).removeprefix("torch."), list(buffer.shape)


def dtype_of(name: str) -> torch.dtype:
    """The tensor type of a name from `shape_of`. Raises `ValueError` for another name."""
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype):
        raise ValueError(f"{name!r} is not a type of tensors")
    return found


def joined_name(path: str, name: str) -> str:
    """The full name of `name` in the part at `path`."""
    return f"{path}.{name}" if path else name
