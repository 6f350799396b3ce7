"""Axes: positions of values, and ticks with readable labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_LOG_STEPS = ((1,), (1, 3), (1, 2, 5), tuple(range(1, 10)))
_ENOUGH_TICKS = 4
_PADDING = 0.03
# Larger values are drawn here: beyond, computing the padding overflows.
_MOST = 1e250


@dataclass(frozen=True, slots=True)
class Tick:
    """A value on an axis and how it is written."""

    value: float
    label: str


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis from `low` to `high` (both drawn); a logarithmic one has `low` > 0."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"no axis from {self.low} to {self.high}" + (" with a logarithm" if self.log else ""))

    def share(self, value: float) -> float:
        """The position of `value`: 0 at `low`, 1 at `high`; values outside are below 0 or above 1."""
        if not self.log:
            return (value - self.low) / (self.high - self.low)
        if value <= 0:
            return -1.0
        return (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))

    def ticks(self, most: int) -> list[Tick]:
        """At most `most` ticks (at least 1), from low to high, labelled with as few digits as needed."""
        most = max(1, most)
        values = _log_values(self.low, self.high, most) if self.log else []
        if len(values) < 2:
            values = linear_values(self.low, self.high, most)
        return [Tick(value, label) for value, label in zip(values, labels(values, self.log), strict=True)]


def fitted(values: Sequence[float], log: bool) -> Scale:
    """An axis for all `values` (finite, at least one) with a small margin.

    It is linear in spite of `log` if a value is negative or none is above 0. Zeros are at its lower end.
    """
    low, high = max(min(values), -_MOST), min(max(values), _MOST)
    if log and low >= 0 and high > 0:
        low = max(min(value for value in values if value > 0), 1 / _MOST)
        high = max(low, high)
        decades = math.log10(high) - math.log10(low)
        room = 10 ** max(decades * _PADDING, 0.04 if decades < 0.004 else 0.0005)
        return Scale(low / room, high * room, log=True)
    room = (high - low) * _PADDING
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        room = 0.1 * abs(high) or 1.0
    return Scale(low - room, high + room)


def linear_values(low: float, high: float, most: int, whole: bool = False) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten apart) from `low` to `high`; `whole` for whole numbers only."""
    power = math.floor(math.log10((high - low) / most)) if high > low else 0
    for step in (factor * 10.0**exponent for exponent in range(power, power + 3) for factor in (1, 2, 5)):
        if whole and step < 1:
            continue
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 <= most:
            return [number * step for number in range(first, last + 1)]
    return []


def labels(values: Sequence[float], log: bool = False) -> list[str]:
    """The labels of `values`: as few digits as represent them exactly, on a linear axis with equal decimals."""
    if not values:
        return []
    largest = max(abs(value) for value in values)
    smallest = min((abs(value) for value in values if value), default=1.0)
    if largest >= 1e6 or (largest and largest < 1e-3) or (smallest < 1e-4 and len(values) > 1):
        return [_scientific(value) if abs(value) > 1e-12 * largest else "0" for value in values]
    if log:
        return [_plain(value) for value in values]
    steps = [abs(after - before) for before, after in pairwise(values)]
    step = min((step for step in steps if step), default=smallest)
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    return [f"{value if abs(value) > 1e-12 * largest else 0.0:.{places}f}" for value in values]


def _plain(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".") if abs(value) < 1 else f"{value:.10g}"


def _scientific(value: float) -> str:
    mantissa, exponent = f"{value:.3e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(exponent)}"


def _log_values(low: float, high: float, most: int) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    best: list[float] = []
    for steps in _LOG_STEPS:
        values = [
            step * 10.0**power
            for power in range(first, last + 1)
            for step in steps
            if low <= step * 10.0**power * (1 + 1e-12) and step * 10.0**power <= high * (1 + 1e-12)
        ]
        if len(values) > most:
            break
        best = values
        if steps == (1, 2, 5) and len(best) >= _ENOUGH_TICKS:
            break
    if best:
        return best
    decades = [power for power in range(first, last + 1) if low <= 10.0**power <= high]
    every = math.ceil(len(decades) / most) if decades else 1
    return [10.0**power for power in decades if power % every == 0]
