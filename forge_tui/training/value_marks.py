"""Detects changes of a Python value without a copy: a digest of everything visible in it."""

from __future__ import annotations

import collections
import functools
import hashlib
import io
import itertools
import random
import types
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from forge_tui.training.tensor_file import Block, can_hold

_DEEPEST = 100
_MOST_VALUES = 100_000
_SIMPLE = (type(None), bool, int, float, complex, str, bytes, range, slice, type(...))
_TORCH = (torch.dtype, torch.device, torch.layout, torch.memory_format)
_BASES = (int, float, complex, str, bytes)
_FUNCTIONS = (types.BuiltinFunctionType, types.ModuleType, type)


def mark_of(value: Any, known: Mapping[int, str] | None = None, *, by_identity: bool = True) -> str:
    """A mark that is equal while `value` is unchanged; also for one that looks the same, unless `by_identity`.

    `known`: parts of the model, by `id`, which count by name and are not inspected. Opaque objects (a lock, an object
    of C) count by identity, or by type only. A Python iterator never equals itself, because its position is unknown.
    Random number generators count by state.
    """
    walk = _Walk(known or {}, by_identity)
    try:
        return walk.of(value, 0).hex()
    except (_TooLarge, RecursionError):
        return f"{_name(type(value))} {id(value) if by_identity else ''} too large to be looked into"
    except Exception as error:  # custom code of the value was called
        return f"{_name(type(value))} {id(value) if by_identity else ''} raises {type(error).__name__}"


def generator_state(value: Any) -> Any:
    """The state of a random number generator (torch's, NumPy's, Python's); None for other values."""
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    if isinstance(value, np.random.RandomState):
        return value.get_state(legacy=False)
    if type(value) is random.Random:
        return value.getstate()
    return None


def set_generator_state(value: Any, state: Any) -> None:
    """Restore a generator's state. Raises `ValueError` or `TypeError` for the state of another kind."""
    if isinstance(value, torch.Generator | np.random.RandomState):
        value.set_state(state)
    elif isinstance(value, np.random.Generator):
        value.bit_generator.state = state
    elif isinstance(value, random.Random):
        value.setstate(state)
    else:
        raise ValueError(f"a {type(value).__qualname__} is not a random number generator")


_NEVER_TWICE = itertools.count()


class _TooLarge(Exception):
    """The value has too many parts to inspect."""


class _Walk:
    def __init__(self, known: Mapping[int, str], by_identity: bool) -> None:
        self._known = known
        self._by_identity = by_identity
        self._seen = 0
        self._open: set[int] = set()
        self._done: dict[int, bytes] = {}
        self._alive: list[Any] = []
        """Keeps inspected values alive, so that their `id` is not reused."""

    def of(self, value: Any, depth: int) -> bytes:
        self._seen += 1
        if self._seen > _MOST_VALUES or depth > _DEEPEST:
            raise _TooLarge
        kind, key = type(value), id(value)
        if key in self._known:
            return _digest("part of the model", self._known[key])
        if kind in _SIMPLE or isinstance(value, _TORCH):
            return _digest(_name(kind), repr(value))
        if key in self._done:
            return self._done[key]
        if key in self._open:
            return _digest("holds itself")
        self._open.add(key)
        self._alive.append(value)
        found = self._looked_into(value, kind, depth + 1)
        self._open.discard(key)
        self._done[key] = found
        return found

    def _looked_into(self, value: Any, kind: type, depth: int) -> bytes:
        if isinstance(value, Tensor):
            return self._tensor(value)
        if isinstance(value, np.ndarray) and value.dtype.kind != "O":
            return _digest(_name(kind), value.dtype.str, str(value.shape), value.tobytes())
        if isinstance(value, np.generic):
            return _digest(_name(kind), value.dtype.str, value.tobytes())
        if isinstance(value, _FUNCTIONS):
            return _digest(_name(kind), getattr(value, "__module__", None) or "", getattr(value, "__name__", ""))
        if (state := generator_state(value)) is not None:
            return self._parts(kind, [state], depth)
        if isinstance(value, types.FunctionType):
            return self._function(value, depth)
        for base in _BASES:
            if isinstance(value, base):
                return self._parts(kind, [base.__repr__(value), *_own(value)], depth)
        parts = self._held(value)
        if parts is None:
            return _digest(_name(kind), str(id(value)) if self._by_identity else "")
        return self._parts(kind, parts, depth)

    def _held(self, value: Any) -> list[Any] | None:
        """The parts of a value; None for opaque values."""
        if isinstance(value, types.MethodType):
            return [value.__func__, value.__self__]
        if isinstance(value, functools.partial):
            return [value.func, value.args, value.keywords]
        if isinstance(value, io.IOBase):
            return None
        if isinstance(value, Iterator):
            return [next(_NEVER_TWICE)] if self._by_identity else []
        if isinstance(value, set | frozenset):
            return sorted(self.of(item, 0) for item in value)
        if isinstance(value, dict):
            return [part for entry in value.items() for part in entry] + _own(value)
        if isinstance(value, list | tuple | collections.deque | np.ndarray):
            return list(value.flat if isinstance(value, np.ndarray) else value) + _own(value)
        parts = _own(value)
        return parts if parts or hasattr(value, "__dict__") else None

    def _parts(self, kind: type, parts: list[Any], depth: int) -> bytes:
        return _digest(_name(kind), *(self.of(part, depth) for part in parts))

    def _tensor(self, tensor: Tensor) -> bytes:
        about = (_name(type(tensor)), str(tensor.dtype), str(tuple(tensor.shape)), str(tensor.device))
        if tensor.layout is torch.strided and tensor.device.type != "meta" and not tensor.is_quantized:
            try:
                stored = tensor.detach().resolve_conj().resolve_neg()
                stored = torch.view_as_real(stored) if stored.dtype is torch.complex128 else stored
                if can_hold(stored.dtype):
                    return _digest(*about, Block.of(stored).data)
            except (RuntimeError, TypeError):
                pass  # a tensor inside torch.func: it cannot be read
        return _digest(*about, str(id(tensor)) if self._by_identity else "")

    def _function(self, value: types.FunctionType, depth: int) -> bytes:
        """The digest of a function: its code, and its closure's values."""
        cells = []
        for cell in value.__closure__ or ():
            try:
                cells.append(cell.cell_contents)
            except ValueError:
                cells.append(None)  # not filled yet
        held = [cells, value.__defaults__, value.__kwdefaults__, value.__dict__]
        return _digest(
            value.__module__ or "", value.__qualname__, value.__code__.co_code, repr(value.__code__.co_names),
            *(self.of(part, depth) for part in held),
        )  # fmt: skip


def _own(value: Any) -> list[Any]:
    """The attributes of an object, names and values, in the order of their names."""
    attributes = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                attributes[name] = getattr(value, name)
    return [part for entry in sorted(attributes.items(), key=lambda entry: str(entry[0])) for part in entry]


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _digest(*parts: str | bytes | memoryview) -> bytes:
    sha = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        sha.update(len(data).to_bytes(8, "little"))
        sha.update(data)
    return sha.digest()
