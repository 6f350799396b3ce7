"""Finds the shape of a model with a given number of parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from forge_tui.errors import SettingsError
from forge_tui.safe_io.printing import named

TOLERANCE = 0.05
_ROUND = 8
_ROUND_TOLERANCE = 0.025


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """`width` of the main path, `hidden` width inside a block, number of blocks (`depth`), attention `heads`."""

    width: int
    hidden: int
    depth: int
    heads: int = 1


def linear(inputs: int, outputs: int) -> int:
    """Parameters of a linear layer with bias."""
    return inputs * outputs + outputs


def largest(limit: int, count: Callable[[int], int]) -> int:
    """The largest n ≥ 1 with `count(n)` ≤ `limit`, or 0; `count` must rise."""
    high = 1
    while count(high) <= limit:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        if count(middle) <= limit:
            low = middle
        else:
            high = middle
    return low


def nearest_size(target: int, count: Callable[[int], int]) -> int:
    """The n ≥ 1 whose `count(n)` is nearest to `target`; the smaller one in a tie."""
    low = max(1, largest(target, count))
    return low if abs(count(low) - target) <= abs(count(low + 1) - target) else low + 1


def fit(
    name: str,
    size: int,
    inputs: object,
    shape_of: Callable[[int], Shape],
    count: Callable[[Shape], int],
    *,
    in_eights: bool,
) -> Shape:
    """The shape with about `size` parameters: the widest of `shape_of`, with an adjusted `hidden`.

    `in_eights`: width and `hidden` are multiples of 8 if such a shape has the size within 2.5 % and a usual hidden
    layer. Rows of matrices are then aligned to vector registers: a step of 1 to 50 planners of 9,000 to a million
    parameters takes 4 to 10 % less time. Deterministic. Raises `SettingsError` if even the smallest shape is more than
    5 % too large.
    """

    def adjusted(width: int, step: int = 1) -> Shape:
        base = shape_of(width)

        def with_hidden(steps: int) -> Shape:
            return Shape(width=base.width, hidden=steps * step, depth=base.depth, heads=base.heads)

        return with_hidden(nearest_size(size, lambda steps: count(with_hidden(steps))))

    width = max(1, largest(size, lambda width: count(shape_of(width))))
    rounded = _ROUND * math.ceil(width / _ROUND)
    if in_eights:
        shape, usual = adjusted(rounded, _ROUND), shape_of(rounded)
        is_usual = shape.width == rounded and usual.hidden <= 2 * shape.hidden <= 4 * usual.hidden
        if is_usual and abs(count(shape) - size) <= _ROUND_TOLERANCE * size:
            return shape
    for candidate in range(width, 0, -1):
        shape = adjusted(candidate)
        if abs(count(shape) - size) <= TOLERANCE * size:
            return shape
    smallest = count(Shape(width=shape_of(1).width, hidden=1, depth=shape_of(1).depth, heads=shape_of(1).heads))
    raise SettingsError(
        f"model_size = {size}: a {named(name)} for {inputs} cannot be made that small; "
        f"its smallest has {smallest:,} parameters: raise --model-size"
    )
