"""Scales of pictures: from values to pixels, and the values that are labelled."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

_NICE = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values from `low` to `high` (different; with `log` both positive) to pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def of(cls, values: Iterable[float], start: float, end: float, *, log: bool = False) -> Scale:
        """A scale for `values`, with a margin; logarithmic only if one of them is positive."""
        known = [value for value in values if math.isfinite(value)]
        positive = [value for value in known if value > 0.0]
        if log and positive:
            low, high = min(positive), max(positive)
            margin = (high / low) ** 0.04 if high > low else 1.5
            return cls(low / margin, high * margin, start, end, True)
        if not known:
            return cls(0.0, 1.0, start, end)
        low, high = min(known), max(known)
        margin = (high - low) * 0.04 or abs(high) * 0.1 or 1.0
        return cls(low - margin, high + margin, start, end)

    def pixel(self, value: float) -> float | None:
        """Where a value is; None for one that a logarithmic scale does not have."""
        if self.log:
            if value <= 0.0:
                return None
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Round values within the scale, about `most`; on a logarithmic one powers of ten, or round values between."""
        if self.log:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            if last - first >= 1:
                step = -(-(last - first + 1) // most)
                return [10.0**power for power in range(first, last + 1, step)]
            within = [
                found for power in range(first - 1, last + 1) for nice in _NICE[:3]
                if self.low <= (found := nice * 10.0**power) <= self.high
            ]  # fmt: skip
            if len(within) > 1:
                return within
        rough = (self.high - self.low) / most
        size = 10.0 ** math.floor(math.log10(rough))
        step_size = next(nice * size for nice in _NICE if nice * size >= rough * (1 - 1e-9))
        first = math.ceil(self.low / step_size)
        return [place * step_size for place in range(first, math.floor(self.high / step_size) + 1)]


def tick_text(value: float, ticks: list[float], *, log: bool = False) -> str:
    """A labelled value, on a linear scale with as many digits as distinguish it from the next."""
    gap = min((abs(after - before) for before, after in pairwise(ticks)), default=0.0)
    if value == 0.0 or log or gap == 0.0 or not 1e-4 <= abs(value) < 1e6:
        return f"{value:.4g}"
    return f"{value:.{max(0, -math.floor(math.log10(gap * 1.000001)))}f}"
