"""Ends of training that a worker reports as their own kind of failure."""

from __future__ import annotations

from forge_tui.errors import ForgeError


class Diverged(ForgeError):
    """The mean loss of an epoch, or a weight after it, is NaN or infinite (kind `diverged` in `model_failed`)."""

    def __init__(self, what: str, epoch: int, learning_rate: float) -> None:
        super().__init__(
            f"{what}: training has diverged; "
            f"lower --learning-rate (now {learning_rate:g}) or look for extreme values in the data"
        )
        self.epoch = epoch
