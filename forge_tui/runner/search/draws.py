"""Random configs: a trial's values depend on the seed and its number only. Pure."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Collection, Mapping
from typing import Any

from forge_tui.runner.search.trials import key_of
from forge_tui.settings.space import Choices, Dimension, Range

STARTUP_TRIALS = 10
"""With TPE so many trials are random, and so many results are needed before it chooses."""
_TRIES = 100
"""So many draws in a row that are known already: then of a space with few configs only the others are left."""
_MOST_LISTED = 200_000


def seed_of(seed: int, trial: int) -> int:
    """A seed of 32 bits for one trial of a run's `seed`."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{trial}".encode()).digest()[:4])


def drawn(
    space: Mapping[str, Dimension], seed: int, trial: int, known: Collection[str] = frozenset()
) -> dict[str, Any]:
    """A config of the space that is none of the `known` ones (`trials.key_of`).

    Only `random.Random.random` is used, which gives the same numbers in all versions of Python.
    """
    generator = random.Random(seed_of(seed, trial))
    for _ in range(_TRIES):
        values = {name: dimension.at(generator.random()) for name, dimension in space.items()}
        if key_of(values) not in known:
            return values
    size = math.prod(dimension.size for dimension in space.values())
    if size > _MOST_LISTED:
        return values  # so many tries in a row do not fail there
    left = [one for number in range(int(size)) if key_of(one := _config_at(space, number)) not in known]
    return left[int(generator.random() * len(left))] if left else values


def _config_at(space: Mapping[str, Dimension], number: int) -> dict[str, Any]:
    """Config `number`, from 0, of a space with a limited number of them."""
    found: dict[str, Any] = {}
    for name, dimension in space.items():
        number, place = divmod(number, int(dimension.size))
        found[name] = _value_at(dimension, place)
    return found


def _value_at(dimension: Dimension, place: int) -> Any:
    match dimension:
        case Choices(values):
            return values[place]
        case Range(low):
            return int(low) + place
