"""The checkpoint that a model returns to when its training has diverged. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


class Saved(NamedTuple):
    """A checkpoint, by its number of steps and of complete epochs. (0, 0) is the start."""

    step: int
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """A model diverged, returned to the checkpoint of `step` (0: the start), and has not recovered yet.

    `diverged_epoch` is the latest epoch in which it diverged, `loss` its lowest training loss before (None: none).
    """

    step: int
    diverged_epoch: int
    loss: float | None

    def is_over(self, epoch: int, loss: float | None) -> bool:
        """Whether the model has recovered after `epoch`: it has passed `diverged_epoch` with its lowest loss so far.

        Weights that are about to overflow still give a finite loss for an epoch or two, but not a lower one. And the
        epoch rises with every recovery, so a model cannot roll back for ever.
        """
        if loss is None or not math.isfinite(loss) or epoch < self.diverged_epoch:
            return False
        return self.loss is None or loss < self.loss


def roll_back(
    earlier: Rollback | None, saved: Iterable[Saved], *, epoch: int, lowest_loss: float | None
) -> tuple[Rollback, Saved]:
    """The rollback after a divergence in `epoch`, and the checkpoint to return to.

    `saved` are the model's checkpoints, `earlier` its last rollback if that is not over. Then the model returns to an
    earlier checkpoint than last time, which has led to a divergence again; in the end to the start.
    """
    places = sorted((one for one in saved if earlier is None or one.step < earlier.step), reverse=True)
    place = places[0] if places else Saved(0, 0)
    known = [loss for loss in (lowest_loss, earlier.loss if earlier else None) if loss is not None]
    diverged_epoch = max(epoch, earlier.diverged_epoch if earlier else 0)
    return Rollback(step=place.step, diverged_epoch=diverged_epoch, loss=min(known, default=None)), place
