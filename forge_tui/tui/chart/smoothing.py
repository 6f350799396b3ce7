"""Smoothing of noisy curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forge_tui.tui.chart.canvas import Span


class Smoothing(StrEnum):
    """How much."""

    OFF = "off"
    LIGHT = "light"
    STRONG = "strong"

    @property
    def weight(self) -> float:
        """The weight of previous values in every point, 0 up to (not including) 1."""
        return {Smoothing.OFF: 0.0, Smoothing.LIGHT: 0.6, Smoothing.STRONG: 0.9}[self]

    @property
    def next(self) -> Smoothing:
        """The next choice, cyclically."""
        turns = list(Smoothing)
        return turns[(turns.index(self) + 1) % len(turns)]


def smoothed(spans: Sequence[Span], weight: float) -> tuple[Span, ...]:
    """An exponential moving average of the middles of `spans`, with bias correction.

    With w = `weight` and y₁ … yₜ the values so far: mₜ = w · mₜ₋₁ + (1 − w) · yₜ from m₀ = 0, and the point drawn is
    mₜ / (1 − wᵗ). Spans without a number stay and do not count, and equal values stay unchanged. TensorBoard draws
    the same (`classicSmoothing` in tensorboard/webapp/widgets/line_chart_v2/data_transformer.ts); the
    division is the bias correction of Adam (Kingma and Ba 2015, section 3). As there, t counts the points drawn:
    epochs, or pixel columns if a column has several epochs.
    """
    if not weight:
        return tuple(spans)
    middles = [None if low is None or high is None else (low / 2 + high / 2) for _, low, high in spans]
    known = [middle for middle in middles if middle is not None and math.isfinite(middle)]
    if not known or min(known) == max(known):
        return tuple((x, middle, middle) for (x, _, _), middle in zip(spans, middles, strict=True))
    average, bias = 0.0, 1.0
    found: list[Span] = []
    for (x, _, _), middle in zip(spans, middles, strict=True):
        if middle is None or not math.isfinite(middle):
            found.append((x, None, None))
            continue
        average = weight * average + (1 - weight) * middle
        bias *= weight
        found.append((x, average / (1 - bias), average / (1 - bias)))
    return tuple(found)
