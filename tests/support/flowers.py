"""Small tables with every kind of column, for tests of predictions, and models of them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import polars
from made_jobs import job_in
from trained import run

ROWS = 120


def flowers(rows: int = ROWS, seed: int = 5) -> polars.DataFrame:
    """Length, colour and whether it is wild, from which `kind` and `weight` follow; some values are missing."""
    random_numbers = random.Random(seed)
    found = []
    for number in range(rows):
        length, colour = random_numbers.uniform(0, 10), random_numbers.choice(("red", "blue"))
        found.append(
            {
                "length": None if number % 11 == 5 else round(length, 3),
                "colour": None if number % 13 == 7 else colour,
                "wild": random_numbers.choice(("yes", "no")),
                "kind": "rose" if colour == "red" else "iris" if length < 5 else "aster",
                "weight": 1000.0 + 50 * length,
            }
        )
    return polars.DataFrame(found)


def trained_on(place: Path, table: str, target: str, **settings: Any) -> Path:
    """The stem of a model trained in this process on a table in `place`, whose directory is called as the target."""
    training = {"dataset": table, "epochs": 30, "learning_rate": 0.01, "batch_size": 16, **settings}
    job = job_in(place, target, training, {"target": target})
    run([job])
    return Path(job.directory) / job.model
