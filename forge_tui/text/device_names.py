"""Where a model trains: the device as torch has it, and the GPUs of its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_KINDS = ("GPU-", "MIG-")
_SHORT, _TELLING = 8, 12


def placed_gpus(place: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The UUIDs of the GPUs in a model's place (event `model_started`); empty on another device."""
    device = None if place is None else place.get("device")
    names = device.split(",") if isinstance(device, str) else ()
    return tuple(name for name in names if name.startswith(_KINDS))


def device_in_short(device: str | None, place: Mapping[str, Any] | None) -> str | None:
    """In at most 8 cells: `cpu`, `GPU-5f2a`, `2 GPUs`."""
    gpus = placed_gpus(place)
    if not gpus:
        return device
    return gpus[0][:_SHORT] if len(gpus) == 1 else f"{len(gpus)} GPUs"


def device_in_words(device: str, place: Mapping[str, Any] | None) -> str:
    """`cpu`, or the kind with the beginnings of UUIDs: `cuda (GPU-5f2a6c1e)`."""
    gpus = placed_gpus(place)
    return f"{device} ({', '.join(gpu[:_TELLING] for gpu in gpus)})" if gpus else device
