"""How much of the difference between the models of a sweep or a search each setting explains. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forge_tui.protocol.metrics import Metric
from forge_tui.protocol.model_state import ModelState

MOST_LEVELS = 6
"""Numbers with more different values are divided into `_BINS` bins of about as many models each."""
_BINS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """Of one swept setting, which has `levels`. `share`: 0–1; None with one level, or as many as there are models."""

    key: str
    share: float | None
    levels: int


def importances(models: Sequence[ModelState], metric: Metric, *, by_value: bool = False) -> list[Importance]:
    """The importance of each key of the models' combinations, the most important first.

    `by_value`: `metric` at the best epoch of each model, as a search took it (`ModelState.value`).

    The share is that of the variance of the models' ranks by `metric` which the levels of a setting explain: (H − k +
    1) / (n − k), at least 0, with H of Kruskal and Wallis (1952) for n models in k levels, which is 1 − (SSW / (n −
    k)) / (SST / (n − 1)) of the ranks. Ranks instead of values: one configuration with a huge loss would decide
    everything. Many levels alone do not raise it, and it does not see what only a combination of settings does.
    Models without a value are left out.
    """
    badness = [metric.badness(model.value if by_value else model.metrics.get(metric.name)) for model in models]
    counted = [model for model, one in zip(models, badness, strict=True) if math.isfinite(one)]
    ranks = _ranks([one for one in badness if math.isfinite(one)])
    keys = dict.fromkeys(key for model in models for key in model.combination)
    found = [_importance(key, [model.combination for model in counted], ranks) for key in keys]
    return sorted(found, key=lambda one: -1.0 if one.share is None else -1.0 - one.share)


def _importance(key: str, combinations: Sequence[Mapping[str, Any]], ranks: Sequence[float]) -> Importance:
    groups: dict[Hashable, list[float]] = {}
    for level, rank in zip(_levels([one.get(key) for one in combinations]), ranks, strict=True):
        groups.setdefault(level, []).append(rank)
    count, levels = len(ranks), len(groups)
    total = _squares(ranks)
    if levels < 2 or count <= levels or total == 0.0:
        return Importance(key=key, share=None, levels=levels)
    within = math.fsum(map(_squares, groups.values()))
    return Importance(key=key, share=max(0.0, 1.0 - (within / (count - levels)) / (total / (count - 1))), levels=levels)


def _levels(values: Sequence[Any]) -> list[Hashable]:
    """The level of each value: itself, or the bin of a number among many."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(values) or len(set(numbers)) <= MOST_LEVELS:
        return [repr(value) for value in values]
    ordered = sorted(numbers)
    edges = [ordered[len(ordered) * place // _BINS] for place in range(1, _BINS)]
    return [bisect_right(edges, number) for number in numbers]


def _squares(values: Sequence[float]) -> float:
    """The sum of the squared differences from the mean."""
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values)


def _ranks(values: Sequence[float]) -> list[float]:
    """The rank of each value, from 1; equal ones share the mean of their ranks."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        for place in order[start:end]:
            ranks[place] = (start + 1 + end) / 2
        start = end
    return ranks
