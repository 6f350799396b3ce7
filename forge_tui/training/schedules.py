"""Learning-rate schedules: the factor on the rate of each step, from the step's number. Pure.

A step is a batch, counted from 1. Step k of w warm-up steps uses k/w of the rate (Goyal et al. 2017, "Accurate, Large
Minibatch SGD", section 2.2, from 0). The schedule covers the steps after them: with p the fraction of those done before
a step, from 0 to just below 1,

- `constant` is 1,
- `cosine` (1 + cos πp) / 2 (Loshchilov & Hutter 2017, "SGDR", equation 5, without restarts, down to 0),
- `linear` 1 − p,
- `one_cycle` (Smith 2018, "A disciplined approach to neural network hyper-parameters", section 4) rises along half a
  cosine from 1/25 to 1 in the first 30 % of the steps, then falls along another to 1/250,000 in the last step. Shape
  and numbers are those of `torch.optim.lr_scheduler.OneCycleLR`; momentum is not changed. A warm-up replaces the rise.
"""

from __future__ import annotations

import math

_RISE = 0.3
_FIRST = 1 / 25
_LAST = _FIRST / 1e4


def factor_at(schedule: str, step: int, total: int, warmup: int = 0) -> float:
    """The factor on the learning rate in step `step` (from 1) of `total`, the first `warmup` of them warm-up.

    After the last step a schedule keeps its last value.
    """
    if step <= warmup:
        return step / warmup
    if schedule == "constant":
        return 1.0
    if schedule == "one_cycle":
        return _one_cycle(step, total, warmup)
    done = _part(step - 1 - warmup, total - warmup)
    return 1.0 - done if schedule == "linear" else _along_cosine(1.0, 0.0, done)


def _one_cycle(step: int, total: int, warmup: int) -> float:
    peak = warmup or _RISE * total
    if step <= peak:
        return _along_cosine(_FIRST, 1.0, (step - 1) / (peak - 1))
    return _along_cosine(1.0, _LAST, _part(step - peak, total - peak))


def _along_cosine(first: float, last: float, done: float) -> float:
    return last + (first - last) / 2 * (1.0 + math.cos(math.pi * done))


def _part(done: float, whole: float) -> float:
    return min(1.0, done / whole) if whole > 0 else 1.0
