"""Model outputs: one tensor, or several in tuples, lists, dicts or dataclasses."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor


def mapped(function: Callable[..., Any], first: Any, *others: Any) -> Any:
    """`first` with `function` applied to every tensor, together with the tensors at the same places in `others`.

    Other values stay unchanged.
    """
    if isinstance(first, Tensor):
        return function(first, *others)
    if dataclasses.is_dataclass(first) and not isinstance(first, type):
        names = [one.name for one in dataclasses.fields(first) if one.init]
        made = {name: mapped(function, getattr(first, name), *(getattr(one, name) for one in others)) for name in names}
        return dataclasses.replace(first, **made)
    if isinstance(first, Mapping):
        found = {key: mapped(function, value, *(one[key] for one in others)) for key, value in first.items()}
        if type(first) is dict or not isinstance(first, MutableMapping):
            return found
        same = copy.copy(first)
        same.update(found)
        return same
    if isinstance(first, tuple | list):
        items = [mapped(function, *together) for together in zip(first, *others, strict=True)]
        return type(first)(*items) if hasattr(first, "_fields") else type(first)(items)
    return first


def copied(outputs: Any) -> Any:
    """The same with copies of all tensors, for code that may change its arguments in place."""
    return mapped(torch.clone, outputs)


def joined_outputs(parts: Sequence[Any], samples: Sequence[int], axis: int = 0) -> Any:
    """The outputs of batches with `samples` each, joined along `axis`.

    For a tensor without an entry per sample, such as a loss, the last batch's is used.
    """

    def join(*tensors: Tensor) -> Tensor:
        has_samples = all(
            one.dim() > axis and one.shape[axis] == count for one, count in zip(tensors, samples, strict=True)
        )
        return torch.cat(tensors, dim=axis) if has_samples else tensors[-1]

    return parts[0] if len(parts) == 1 else mapped(join, *parts)


def kind(value: Any) -> str:
    """A description of a value: `a tensor of shape (16, 3)`, `a tuple`, `None`."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return f"a {type(value).__name__}" if value is not None else "None"
