"""Where a model goes back to when its training has diverged. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


class Saved(NamedTuple):
    """A checkpoint: after so many steps and whole epochs. (0, 0) is the start."""

    step: int
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """A model has diverged, gone back to the checkpoint of `step` (0: the start), and is not beyond that yet.

    `diverged_epoch` is the furthest epoch that it did not get through, `loss` the lowest training loss that it had
    before (None: it had none).
    """

    step: int
    diverged_epoch: int
    loss: float | None

    def is_over(self, epoch: int, loss: float | None) -> bool:
        """Whether the model is beyond it after `epoch`: it got through where it diverged, with a lower loss than ever.

        Weights that have grown until they overflow give a finite loss for an epoch or two, though none so low. And
        because the epoch rises every time that a rollback is over, a model cannot go back for ever.
        """
        if loss is None or not math.isfinite(loss) or epoch < self.diverged_epoch:
            return False
        return self.loss is None or loss < self.loss


def roll_back(
    earlier: Rollback | None, saved: Iterable[Saved], *, epoch: int, lowest_loss: float | None
) -> tuple[Rollback, Saved]:
    """What follows from a divergence in `epoch`, and the checkpoint that the model goes back to.

    `saved` are the model's checkpoints, `earlier` its last rollback if that is not over. Then it goes back further than
    that time, for what it went back to led to a divergence again; in the end to the start.
    """
    places = sorted((one for one in saved if earlier is None or one.step < earlier.step), reverse=True)
    place = places[0] if places else Saved(0, 0)
    known = [loss for loss in (lowest_loss, earlier.loss if earlier else None) if loss is not None]
    diverged_epoch = max(epoch, earlier.diverged_epoch if earlier else 0)
    return Rollback(step=place.step, diverged_epoch=diverged_epoch, loss=min(known, default=None)), place
