"""How GPUs are named in the settings: by index, or by UUID."""

from __future__ import annotations

import re
from collections.abc import Sequence

GPUS = "a list of GPUs: CUDA's indices (0,1) or UUIDs (GPU-..., MIG-...; nvidia-smi -L)"
"""What a list must be, in words; ASCII, for `--help`."""
WORDS = ("auto", "cpu", "cuda", "mps")
"""What may stand instead of a list."""
_NAME = re.compile(r"[0-9]{1,4}|(GPU|MIG)-[0-9a-z/-]+", re.IGNORECASE | re.ASCII)


def device_in(value: object) -> str | tuple[str, ...] | None:
    """A value of the setting, or its text in a variable (`0,1`), as a word or a list; None if it is neither."""
    if isinstance(value, str):
        return value if value in WORDS else gpus_named(value.split(","))
    return gpus_named(value if isinstance(value, list | tuple) else [value])


def gpus_named(values: Sequence[object]) -> tuple[str, ...] | None:
    """The indices and UUIDs in a list, as texts; None if it is empty or has anything else."""
    names = [str(value) for value in values if isinstance(value, int | str)]
    if not names or len(names) < len(values) or not all(map(_NAME.fullmatch, names)):
        return None
    return tuple(names)
