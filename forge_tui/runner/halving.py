"""Asynchronous successive halving: which models stop early because others do better (Li et al. 2020, "A System for
Massively Parallel Hyperparameter Tuning", algorithm 2, with models that are stopped instead of paused). Pure.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from forge_tui.settings.schema import Settings


def rungs_of(settings: Settings) -> tuple[int, ...]:
    """The epochs after which models are compared: first · factor^k, before the last epoch; none where it is off."""
    factor, epoch = settings.run.halving, settings.run.halving_first
    found = []
    while factor is not None and epoch < settings.training.epochs:
        found.append(epoch)
        epoch *= factor
    return tuple(found)


@dataclass(frozen=True, slots=True)
class RungVerdict:
    """A model's place at a rung: `rank` from 1 among the `of` that have reached it so far, itself included."""

    continues: bool
    epoch: int
    rank: int
    of: int

    @property
    def reason(self) -> str:
        """Why it does not go on, in words."""
        return f"pruned at epoch {self.epoch}: rank {self.rank} of {self.of}"


@dataclass(frozen=True, slots=True)
class Reached:
    """A model came to a rung in an earlier part of the run; `continued` is None where it was not judged then."""

    index: int
    epoch: int
    loss: float | None
    continued: bool | None


class Halving:
    """Judges models as they come to a rung: the best 1/factor of those that have come so far go on, one at least.

    Nobody waits: a model is compared with those that came before it. So the order in which they come matters; one
    worker gives the same order, and the same verdicts, every time.
    """

    def __init__(self, factor: int, earlier: Iterable[Reached] = (), rungs: Collection[int] = ()) -> None:
        """`earlier`: what was reached before a resume, in that order. `rungs`: epochs for `reported`."""
        self._factor = factor
        self._rungs = rungs
        self._at_rung: dict[int, tuple[int, float | None]] = {}
        self._losses: dict[int, dict[int, float]] = {}
        self._verdicts: dict[tuple[int, int], RungVerdict] = {}
        self._spared: set[int] = set()
        for one in earlier:
            self._take(one.index, one.epoch, one.loss)
            if one.continued is not None:
                self._verdicts[one.index, one.epoch] = self._judge(one.index, one.epoch, one.continued)

    def reached(self, index: int, epoch: int, loss: float | None) -> RungVerdict:
        """What becomes of a model that has come to the rung at `epoch`; asked again, the verdict is the same.

        `loss`: that of validation, or without one of training; None and NaN are worse than any number.
        """
        known = self._verdicts.get((index, epoch))
        if known is None:
            self._take(index, epoch, loss)
            known = self._verdicts[index, epoch] = self._judge(index, epoch)
        return known

    def reported(self, index: int, epoch: int, loss: float | None) -> None:
        """Take note of an epoch of a model, which may ask here about its rung afterwards.

        One that is past a rung without having asked did so in an earlier part of the run whose records are lost: its
        loss counts for those that come after it.
        """
        if not self._rungs:
            return
        rung, came = self._at_rung.pop(index, (0, None))
        if 0 < rung < epoch and (index, rung) not in self._verdicts:
            self._take(index, rung, came)
            self._verdicts[index, rung] = self._judge(index, rung, continued=True)
        if epoch in self._rungs:
            self._at_rung[index] = (epoch, loss)

    def spare(self, index: int) -> None:
        """Somebody wants this model trained in any case."""
        self._spared.add(index)
        for key in [key for key in self._verdicts if key[0] == index]:
            del self._verdicts[key]

    def _take(self, index: int, epoch: int, loss: float | None) -> None:
        value = math.inf if loss is None or not math.isfinite(loss) else loss
        self._losses.setdefault(epoch, {})[index] = value

    def _judge(self, index: int, epoch: int, continued: bool | None = None) -> RungVerdict:
        losses = self._losses[epoch]
        # Of equal ones the one that came first is better.
        order = sorted(losses, key=losses.__getitem__)
        rank, of = order.index(index) + 1, len(order)
        if continued is None:
            continued = index in self._spared or rank <= max(1, of // self._factor)
        return RungVerdict(continued, epoch, rank, of)
