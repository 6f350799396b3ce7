"""Which epochs of a model an output lacks, after resumes, retries and rollbacks. Pure."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from forge_tui.protocol.events import EpochFinished

# What an exact repetition of an epoch need not repeat: how fast it was.
_SPEEDS = frozenset(("steps_per_second",))
Numbered = tuple[int, "EpochFinished"]
"""An epoch with its event number."""


class Mark(NamedTuple):
    """An epoch of a model, by its number and its time (UNIX seconds)."""

    epoch: int
    time: float

    @classmethod
    def of(cls, epoch: EpochFinished) -> Mark:
        """The mark of an epoch."""
        return cls(epoch.epoch, epoch.time)


class Marks:
    """Epochs that an output has of a model, in the order in which they were written: 16 bytes each, for a run may have
    millions."""

    __slots__ = ("_epochs", "_times")

    def __init__(self) -> None:
        self._epochs, self._times = array("q"), array("d")

    def __iter__(self) -> Iterator[Mark]:
        return map(Mark, self._epochs, self._times)

    def __len__(self) -> int:
        return len(self._epochs)

    def __contains__(self, mark: object) -> bool:
        if not isinstance(mark, Mark):
            return False
        places = range(len(self._epochs) - 1, -1, -1)  # asked for is mostly the last one
        return any(self._epochs[place] == mark.epoch and self._times[place] == mark.time for place in places)

    def put(self, mark: Mark) -> None:
        """Add one."""
        self._epochs.append(mark.epoch)
        self._times.append(mark.time)

    def discard_from(self, epoch: int) -> None:
        """Remove those of `epoch` and later ones."""
        kept = [mark for mark in self if mark.epoch < epoch]
        self._epochs, self._times = array("q", (mark.epoch for mark in kept)), array("d", (mark.time for mark in kept))


@dataclass(frozen=True, slots=True)
class Change:
    """What an output must do to have a model's epochs: add `new`, or replace all from epoch `replaced_from` on.

    `new` are in ascending order; they are empty if something is to be replaced.
    """

    new: tuple[EpochFinished, ...] = ()
    replaced_from: int | None = None


class Course:
    """The epochs of one model that an output has.

    An epoch that is done again, after a resume or a retry, stays as it is if its metrics are the same. If they are not
    (after a rollback, or where a resume is not exact), it and all later ones are replaced; with `alone` (training
    functions and commands) later ones keep their values.
    """

    def __init__(self, alone: bool) -> None:
        self._alone = alone
        self._epochs: list[int] = []
        self._marks: list[int] = []
        # How many of them the newest attempt has confirmed; those behind are of an earlier one.
        self._confirmed = 0
        self.since = 0
        """The event number of the epoch that was taken last."""
        self.last: Mark | None = None
        """That epoch."""

    def take(self, rows: Iterable[Numbered], ended: bool) -> Change:
        """Take the next epochs, in the order in which they were trained; those that were taken before are skipped.

        `ended`: no further ones follow: epochs of an earlier attempt to which the last one has not come are forgotten.
        """
        before = self._epochs[-1] if self._epochs else 0
        new: dict[int, EpochFinished] = {}
        firsts: list[int] = []
        for seq, epoch in rows:
            if seq <= self.since:
                continue
            self.since, self.last = seq, Mark.of(epoch)
            if (changed := self._put(epoch)) is not None:
                firsts.append(changed)
                new[epoch.epoch] = epoch
        is_replaced = bool(firsts) and min(firsts) <= before
        if (ended or is_replaced) and self._confirmed < len(self._epochs):
            # What replaces is the history, which no longer has these.
            firsts.append(self._epochs[self._confirmed])
            self._cut(self._confirmed)
        if firsts and min(firsts) <= before:
            return Change(replaced_from=min(firsts))
        present = set(self._epochs) if new else ()
        return Change(tuple(new[number] for number in sorted(new) if number in present))

    def _put(self, epoch: EpochFinished) -> int | None:
        """Put one epoch in its place; returns the first epoch that this changes, None if it was there already."""
        place, mark = bisect_left(self._epochs, epoch.epoch), _mark(epoch)
        is_there = place < len(self._epochs) and self._epochs[place] == epoch.epoch
        if is_there and self._marks[place] == mark:
            if not self._alone:
                self._confirmed = place + 1
            return None
        changed = epoch.epoch
        if self._alone:
            if is_there:
                self._marks[place] = mark
                return changed
        else:
            place = min(place, self._confirmed)
            changed = min((changed, *self._epochs[place : place + 1]))
            self._cut(place)
        self._epochs.insert(place, epoch.epoch)
        self._marks.insert(place, mark)
        self._confirmed = len(self._epochs)
        return changed

    def _cut(self, place: int) -> None:
        del self._epochs[place:], self._marks[place:]
        self._confirmed = len(self._epochs)


def history_of(rows: Iterable[Numbered], alone: bool) -> list[EpochFinished]:
    """A model's epochs in ascending order, of those done again the newest; as `RunReader.epochs`."""
    found: dict[int, EpochFinished] = {}
    for _, epoch in rows:
        if not alone and epoch.epoch in found:
            found = {number: kept for number, kept in found.items() if number < epoch.epoch}
        found[epoch.epoch] = epoch
    return [found[number] for number in sorted(found)]


def _mark(epoch: EpochFinished) -> int:
    """A number that is another one for other metrics. Python's hash of NaN changes from object to object."""
    return hash(
        frozenset(
            (name, value if value is None or value - value == 0.0 else None)
            for name, value in epoch.metrics.items()
            if name not in _SPEEDS
        )
    )
