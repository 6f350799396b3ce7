"""Packs nested values into tensors and JSON, and unpacks them with the same types. Nothing is pickled.

`pack` splits a value into tensors by name, for a safetensors file, and a JSON-able rest; `unpack` joins both again.
Values that JSON lacks become a table with one of the keys of `_Kind`.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from forge_tui.training.tensor_file import can_hold

_DEEPEST = 64
_MOST_VALUES = 1_000_000
# Python's own limit for reading whole numbers from text (4,300 digits).
_LONGEST_INTEGER_BITS = 10_000
_ARRAY_KINDS = "biufc"
_ARRAY_BYTES = frozenset({1, 2, 4, 8, 16})
_TABLES: dict[type, str] = {dict: "dict", OrderedDict: "ordered", Counter: "counter"}
_ALLOWED = "tensors, NumPy arrays, numbers, text, booleans, None, and dicts, lists and tuples of them can be kept"


class CannotPack(TypeError):
    """A value contains something that cannot be kept; the message names the place and the type."""


def pack(value: Any, where: str = "state") -> tuple[Any, dict[str, Tensor]]:
    """A JSON-able form of `value`, and its tensors and arrays by name; `where` is its name in errors.

    Keys of dicts are text or whole numbers; ordered dicts (a module's state) and counters are kept too. Tensors are not
    copied, except types that a file cannot hold (complex128). A tensor that occurs twice is restored as two. Raises
    `CannotPack`.
    """
    packer = _Packer()
    return packer.plain(value, where, 0), packer.tensors


def unpack(
    packed: Any, tensors: Mapping[str, Tensor], where: str = "state", *, device: torch.device | None = None
) -> Any:
    """The value given to `pack`. Tensors that were not on the CPU are restored on `device`.

    Raises `ValueError`, naming the place, for anything that `pack` never returns.
    """
    return _Unpacker(tensors, device).value(packed, where, 0)


class _Packer:
    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._values = 0

    def plain(self, value: Any, where: str, depth: int) -> Any:
        self._values += 1
        if self._values > _MOST_VALUES:
            raise CannotPack(f"{where} is value number {self._values:,}; keep many numbers as a tensor or an array")
        if depth > _DEEPEST:
            raise CannotPack(
                f"{where} is {depth} levels deep, or the value contains itself; at most {_DEEPEST} are kept"
            )
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is int:
            if value.bit_length() > _LONGEST_INTEGER_BITS:
                raise CannotPack(f"{where} is a whole number of {value.bit_length()} bits; keep it as text")
            return value
        if kind is str:
            return _text(value)
        if kind is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if kind is complex:
            return {"complex": [self.plain(part, where, depth + 1) for part in (value.real, value.imag)]}
        if kind is list or kind is tuple:
            items = [self.plain(item, f"{where}[{number}]", depth + 1) for number, item in enumerate(value)]
            return items if kind is list else {"tuple": items}
        if kind in _TABLES:
            return self._table(value, where, depth)
        if kind is Tensor:
            return self._tensor(value, where)
        if kind is np.ndarray or isinstance(value, np.generic):
            return self._array(value, where)
        raise CannotPack(f"{where} is a {kind.__qualname__}; {_ALLOWED}")

    def _table(self, value: Any, where: str, depth: int) -> dict[str, Any]:
        extra: dict[str, Any] = {
            _TABLES[type(value)]: [self._entry(key, item, where, depth) for key, item in value.items()]
        }
        # The versions of the modules that a state dict is of.
        about = getattr(value, "_metadata", None) if type(value) is OrderedDict else None
        if about is not None:
            extra["metadata"] = self.plain(about, f"{where}._metadata", depth + 1)
        return extra

    def _entry(self, key: Any, item: Any, where: str, depth: int) -> list[Any]:
        if type(key) is not str and type(key) is not int:
            raise CannotPack(f"{where} has the key {key!r}, a {type(key).__qualname__}; keys are text or whole numbers")
        return [self.plain(key, where, depth), self.plain(item, f"{where}[{key!r}]", depth + 1)]

    def _tensor(self, tensor: Tensor, where: str) -> dict[str, Any]:
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type == "meta":
            raise CannotPack(
                f"{where} is a tensor of the kind {tensor.layout} on {tensor.device}; only dense ones are kept"
            )
        extra: dict[str, Any] = {}
        if tensor.device.type != "cpu":
            extra["on_device"] = True
        if tensor.requires_grad and tensor.is_leaf:
            extra["requires_grad"] = True
        stored = tensor.detach().resolve_conj().resolve_neg()
        if stored.dtype is torch.complex128:
            stored, extra["complex"] = torch.view_as_real(stored), True
        if not can_hold(stored.dtype):
            raise CannotPack(f"{where} is a tensor of {tensor.dtype}, which safetensors files do not support")
        return {"tensor": self._named(stored), **extra}

    def _array(self, value: Any, where: str) -> dict[str, Any]:
        dtype = value.dtype
        if dtype.kind not in _ARRAY_KINDS or dtype.itemsize not in _ARRAY_BYTES or dtype == np.longdouble:
            raise CannotPack(f"{where} is a NumPy array of {dtype}; arrays of numbers and booleans are kept")
        # A copy in native byte order, row by row; `ascontiguousarray` would add an axis to a number.
        stored = torch.from_numpy(np.array(value, dtype=dtype.newbyteorder("="), order="C"))
        extra: dict[str, Any] = {"dtype": dtype.str}
        if stored.dtype is torch.complex128:
            stored, extra["complex"] = torch.view_as_real(stored), True
        return {"array" if type(value) is np.ndarray else "scalar": self._named(stored), **extra}

    def _named(self, tensor: Tensor) -> str:
        name = str(len(self.tensors))
        self.tensors[name] = tensor
        return name


class _Unpacker:
    def __init__(self, tensors: Mapping[str, Tensor], device: torch.device | None) -> None:
        self._tensors = tensors
        self._device = device

    def value(self, packed: Any, where: str, depth: int) -> Any:
        if depth > 2 * _DEEPEST:
            raise ValueError(f"{where} lies too deep")
        if packed is None or type(packed) in (bool, int, float, str):
            return packed
        if type(packed) is list:
            return [self.value(item, f"{where}[{number}]", depth + 1) for number, item in enumerate(packed)]
        if type(packed) is not dict:
            raise ValueError(f"{where} holds a {type(packed).__qualname__}")
        match packed:
            case {"dict": list(entries)}:
                return dict(self._entry(entry, where, depth) for entry in entries)
            case {"counter": list(entries)}:
                return Counter(dict(self._entry(entry, where, depth) for entry in entries))
            case {"ordered": list(entries)}:
                return self._ordered(packed, entries, where, depth)
            case {"tuple": list(items)}:
                return tuple(self.value(items, where, depth))
            case {"float": "nan" | "inf" | "-inf" as word}:
                return float(word)
            case {"complex": [real, imaginary]}:
                return complex(
                    float(self.value(real, where, depth + 1)), float(self.value(imaginary, where, depth + 1))
                )
            case {"text": str(word)}:
                return bytes.fromhex(word).decode("utf-8", "surrogatepass")
            case {"tensor": str(name)}:
                return self._tensor(packed, self._stored(name, where))
            case {"array": str(name), "dtype": str(dtype)} | {"scalar": str(name), "dtype": str(dtype)}:
                return self._array(packed, self._stored(name, where), dtype, where)
        raise ValueError(f"{where} holds a table that is of no known kind ({', '.join(map(str, packed))[:80]})")

    def _ordered(self, packed: dict[str, Any], entries: list[Any], where: str, depth: int) -> Any:
        found: Any = OrderedDict(self._entry(entry, where, depth) for entry in entries)
        if "metadata" in packed:
            found._metadata = self.value(packed["metadata"], f"{where}._metadata", depth + 1)
        return found

    def _entry(self, entry: Any, where: str, depth: int) -> tuple[Any, Any]:
        if type(entry) is not list or len(entry) != 2:
            raise ValueError(f"{where} has an entry that is no pair of key and value")
        key = self.value(entry[0], where, depth + 1)
        if type(key) is not str and type(key) is not int:
            raise ValueError(f"{where} has a key that is neither text nor a whole number")
        return key, self.value(entry[1], f"{where}[{key!r}]", depth + 1)

    def _stored(self, name: str, where: str) -> Tensor:
        if name not in self._tensors:
            raise ValueError(f"{where} names the tensor {name!r}, which is not there")
        return self._tensors[name]

    def _tensor(self, extra: dict[str, Any], stored: Tensor) -> Tensor:
        found = torch.view_as_complex(stored) if extra.get("complex") else stored
        if extra.get("on_device") and self._device is not None:
            found = found.to(self._device)
        return found.requires_grad_() if extra.get("requires_grad") else found

    def _array(self, extra: dict[str, Any], stored: Tensor, dtype: str, where: str) -> Any:
        try:
            wanted = np.dtype(dtype)
        except TypeError:
            raise ValueError(f"{where} is an array of an unknown type {dtype[:40]!r}") from None
        if wanted.kind not in _ARRAY_KINDS:
            raise ValueError(f"{where} is an array of {wanted}")
        found = (torch.view_as_complex(stored) if extra.get("complex") else stored).numpy().astype(wanted)
        if "array" in extra:
            return found
        if found.ndim != 0:
            raise ValueError(f"{where} is a number of the shape {found.shape}")
        return found[()]


def _text(value: str) -> Any:
    """Text; with lone surrogates, which UTF-8 cannot encode, as bytes."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return {"text": value.encode("utf-8", "surrogatepass").hex()}
    return value
