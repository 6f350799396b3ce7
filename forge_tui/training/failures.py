"""Errors of training with their own kind of failure."""

from __future__ import annotations

import torch

from forge_tui.errors import ForgeError
from forge_tui.protocol.device_faults import DeviceFault, fault_in


class Diverged(ForgeError):
    """The mean loss of an epoch, or a weight after it, is NaN or infinite (kind `diverged` in `model_failed`)."""

    def __init__(self, what: str, epoch: int, learning_rate: float | None = None) -> None:
        """`learning_rate`: that of the setting, where it is used."""
        lower = "lower the learning rate" if learning_rate is None else f"lower --learning-rate (now {learning_rate:g})"
        super().__init__(f"{what}: training has diverged; {lower} or look for extreme values in the data")
        self.epoch = epoch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that CPU or GPU memory is exhausted; torch and CUDA's libraries may raise a `RuntimeError`
    for that.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    try:
        words = str(error)
    except Exception:  # a user's own class may fail even at that
        return False
    if not isinstance(error, RuntimeError):
        return False
    return ("alloc" in words and "memory" in words) or fault_in(words) is DeviceFault.MEMORY
