"""Asynchronous successive halving: stops models early if others are better (Li et al. 2020, "A System for
Massively Parallel Hyperparameter Tuning", algorithm 2, with models that are stopped instead of paused). Pure.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from forge_tui.protocol.job import rung_passed
from forge_tui.settings.schema import Settings


def rungs_of(settings: Settings) -> tuple[int, ...]:
    """The epochs after which models are compared: first · factor^k, before the last epoch; none if halving is off."""
    factor, epoch = settings.run.halving, settings.run.halving_first
    found = []
    while factor is not None and epoch < settings.training.length:
        found.append(epoch)
        epoch *= factor
    return tuple(found)


@dataclass(frozen=True, slots=True)
class RungVerdict:
    """A model's verdict at a rung: `rank` from 1 among the `of` models that have reached it so far, with itself."""

    continues: bool
    epoch: int
    rank: int
    of: int

    @property
    def reason(self) -> str:
        """Why it is stopped."""
        return f"pruned at epoch {self.epoch}: rank {self.rank} of {self.of}"


@dataclass(frozen=True, slots=True)
class Reached:
    """A rung that a model reached in an earlier part of the run; `continued` is None if it was not judged then."""

    index: int
    epoch: int
    loss: float | None
    continued: bool | None


class Halving:
    """Judges models when they reach a rung: the best 1/factor of those so far continue, at least one.

    No model waits: it is compared with those that came before it. So their order matters; with one worker the order,
    and the verdicts, are always the same.
    """

    def __init__(self, factor: int, earlier: Iterable[Reached] = (), rungs: Collection[int] = ()) -> None:
        """`earlier`: rungs reached before a resume, in that order. `rungs`: epochs for `reported`."""
        self._factor = factor
        self._rungs = rungs
        self._passed: dict[int, int] = {}
        """The epoch at which each model passed its last rung."""
        self._at_rung: dict[int, tuple[int, float | None]] = {}
        self._losses: dict[int, dict[int, float]] = {}
        self._verdicts: dict[tuple[int, int], RungVerdict] = {}
        self._spared: set[int] = set()
        for one in earlier:
            self._passed[one.index] = max(one.epoch, self._passed.get(one.index, 0))
            self._take(one.index, one.epoch, one.loss)
            if one.continued is not None:
                self._verdicts[one.index, one.epoch] = self._judge(one.index, one.epoch, one.continued)

    def reached(self, index: int, epoch: int, loss: float | None) -> RungVerdict:
        """The verdict on a model at the rung of `epoch`; repeated calls return the same.

        `loss`: the validation loss, or without one the training loss; None and NaN are worse than any number.
        """
        known = self._verdicts.get((index, epoch))
        if known is None:
            self._take(index, epoch, loss)
            known = self._verdicts[index, epoch] = self._judge(index, epoch)
        return known

    def reported(self, index: int, epoch: int, loss: float | None) -> None:
        """Record an epoch of a model, which may be judged at its rung afterwards.

        A model that has passed a rung unjudged was judged in an earlier part of the run whose records are lost: its
        loss counts for later models.
        """
        if not self._rungs:
            return
        at = self._passed.get(index, 0)
        if index in self._at_rung and epoch >= at:
            rung, came = self._at_rung.pop(index)
            if epoch == at:  # reported again
                self._at_rung[index] = (rung, loss)
            elif (index, rung) not in self._verdicts:
                self._take(index, rung, came)
                self._verdicts[index, rung] = self._judge(index, rung, continued=True)
        passes = rung_passed(self._rungs, at, epoch)
        if passes is not None:
            self._passed[index], self._at_rung[index] = epoch, (passes, loss)

    def spare(self, index: int) -> None:
        """Never stop this model: the user has retried it."""
        self._spared.add(index)
        for key in [key for key in self._verdicts if key[0] == index]:
            del self._verdicts[key]

    def _take(self, index: int, epoch: int, loss: float | None) -> None:
        value = math.inf if loss is None or not math.isfinite(loss) else loss
        self._losses.setdefault(epoch, {})[index] = value

    def _judge(self, index: int, epoch: int, continued: bool | None = None) -> RungVerdict:
        losses = self._losses[epoch]
        # Between equal models the first is better.
        order = sorted(losses, key=losses.__getitem__)
        rank, of = order.index(index) + 1, len(order)
        if continued is None:
            continued = index in self._spared or rank <= max(1, of // self._factor)
        return RungVerdict(continued, epoch, rank, of)
