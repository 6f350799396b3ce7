"""Mean and deviation over models that differ in their seed: of their final values, and per epoch."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

NOT_MEASURED = math.nan
"""In a `SeedValues`: an epoch without a value; the mean uses the other seeds."""
NO_NUMBER = math.inf
"""In a `SeedValues`: an epoch whose value is NaN or infinite; the mean is not a number there either."""

# Later epochs are dropped, whatever a file says: values are in memory from the first epoch on.
_FURTHEST = 10_000_000

Span = tuple[float, float | None, float | None]
"""The last epoch of a bucket, and the smallest and the largest value in it; None without a number."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Summary statistics of several values.

    `deviation` is the sample standard deviation, sqrt(Σ(x − mean)² / (n − 1)); None for a single value.
    """

    count: int
    least: float
    largest: float
    mean: float
    deviation: float | None


def spread(values: Iterable[float | None]) -> Spread | None:
    """The spread of the finite values in `values`; None if there is none."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return None
    mean, deviation = _moments(known)
    return Spread(len(known), min(known), max(known), mean, None if math.isnan(deviation) else deviation)


def _moments(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation of finite values; the deviation of a single one is NaN.

    In two passes and scaled, as in `math.dist`: subtracting the square of the sum from the sum of squares would lose
    the digits of a spread that is small compared to the mean.
    """
    count = len(values)
    if count > 1 and min(values) == max(values):  # their mean may be rounded to another number
        return values[0], 0.0
    largest = max(map(abs, values))
    # Halves do not overflow where the sum of two finite values would.
    mean = math.fsum(values) / count if largest < 1e300 else math.fsum(value / count for value in values)
    return mean, math.dist(values, [mean] * count) / math.sqrt(count - 1) if count > 1 else math.nan


class SeedValues:
    """One metric of a model per epoch, as it arrives."""

    def __init__(self) -> None:
        self.values = array("d")
        """From epoch 1 on; finite, `NOT_MEASURED` or `NO_NUMBER`."""

    def put(self, epoch: int, value: float | None, absent: float = NOT_MEASURED, *, alone: bool = False) -> range:
        """Set the value of an epoch (from 1); returns which epochs changed.

        An epoch that is there already was repeated: it and the later ones are replaced; with `alone` only that epoch.
        `absent` stands for None.
        """
        if not 1 <= epoch <= _FURTHEST:
            return range(0)
        values, length = self.values, len(self.values)
        if alone and epoch <= length:
            put = absent if value is None else value
            values[epoch - 1] = put if math.isfinite(put) or put is NOT_MEASURED else NO_NUMBER
            return range(epoch, epoch + 1)
        if epoch <= length:
            del values[epoch - 1 :]
        elif epoch > length + 1:
            values.extend([NOT_MEASURED] * (epoch - 1 - length))
        if value is None:
            value = absent
        values.append(value if math.isfinite(value) or value is NOT_MEASURED else NO_NUMBER)
        return range(min(epoch, length + 1), max(epoch, length) + 1)


@dataclass(frozen=True, slots=True)
class Band:
    """A mean over seeds with one standard deviation to each side, for plotting; `seeds` counts those with a value.

    Where only one seed has a value, the deviation is unknown and the edges have a gap.
    """

    mean: tuple[Span, ...]
    lower: tuple[Span, ...]
    upper: tuple[Span, ...]
    seeds: int


class SeedCurve:
    """Mean and deviation over the seeds of one config, per epoch; only changed epochs are computed again.

    An epoch counts the seeds that have reached it. With 100 seeds of 10,000 epochs a repaint took 27 ms including
    reading five new epochs of each, 4 ms without new epochs (`tests/benchmarks/seed_curve.py`).
    """

    def __init__(self, seeds: Sequence[SeedValues]) -> None:
        """`seeds`: the values of each seed; call `changed` when they grow."""
        self._seeds = tuple(seeds)
        self._mean, self._lower, self._upper = array("d"), array("d"), array("d")
        self._dirty: set[int] = set()
        self.changed(range(1, self._length() + 1))

    def changed(self, epochs: Iterable[int]) -> None:
        """The values of these epochs (from 1) have changed."""
        self._dirty.update(epochs)

    def band(self, buckets: int) -> Band:
        """At most `buckets` points over all epochs, divided as `spans` divides them. `buckets` ≥ 1."""
        self._work_out()
        first = _first(self._mean)
        mean, lower, upper = (spans(values, buckets, first) for values in (self._mean, self._lower, self._upper))
        return Band(mean, lower, upper, sum(1 for seed in self._seeds if seed.values))

    def _length(self) -> int:
        return max((len(seed.values) for seed in self._seeds), default=0)

    def _work_out(self) -> None:
        columns = [seed.values for seed in self._seeds]
        length, had = self._length(), len(self._mean)
        for kept in (self._mean, self._lower, self._upper):
            if had > length:
                del kept[length:]
            else:
                kept.extend([NOT_MEASURED] * (length - had))
        for epoch in self._dirty:
            if epoch > length:
                continue
            place = epoch - 1
            values = [value for column in columns if place < len(column) and (value := column[place]) == value]
            mean, deviation = math.nan, math.nan
            if NO_NUMBER in values:
                mean = NO_NUMBER
            elif values:
                mean, deviation = _moments(values)
            self._mean[place], self._lower[place], self._upper[place] = mean, mean - deviation, mean + deviation
        self._dirty.clear()


def spans(values: array[float], buckets: int, first: int | None = None) -> tuple[Span, ...]:
    """A curve for plotting: the extremes in at most `buckets` (≥ 1) equal parts of the epochs.

    It begins with the epoch at position `first`, by default the first with a value.
    """
    length, first = len(values), _first(values) if first is None else first
    places = [first + -(-bucket * (length - first) // buckets) for bucket in range(buckets + 1)]
    if length - first <= buckets:
        places = list(range(first, length + 1))
    return tuple((float(end), *_extremes(values[start:end])) for start, end in pairwise(places) if end > start)


def _first(values: array[float]) -> int:
    return next((place for place in range(len(values)) if not math.isnan(values[place])), 0)


def _extremes(values: array[float]) -> tuple[float | None, float | None]:
    """The smallest and the largest number of a bucket."""
    low, high = min(values), max(values)
    # Comparisons with NaN are false, so min and max may miss it; the sum shows it.
    if math.isfinite(low) and math.isfinite(high) and not math.isnan(sum(values)):
        return low, high
    known = [value for value in values if math.isfinite(value)]
    return (min(known), max(known)) if known else (None, None)
