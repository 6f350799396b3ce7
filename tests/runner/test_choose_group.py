"""How many models a worker trains together where `[engine] fuse` is `auto`: from measured figures, nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from forge_tui.resources.policy import GIB, WorkerLimit
from forge_tui.runner import groups
from forge_tui.runner.prepare import choose_group, group_candidates
from forge_tui.settings.schema import Settings, from_plain


def settings(models: int = 12, fuse: int | str = "auto", mode: str = "parallel") -> Settings:
    return from_plain({"training": {"training_mode": mode}, "run": {"models": models}, "engine": {"fuse": fuse}})


def limit(workers: int) -> WorkerLimit:
    return WorkerLimit(workers, workers, "dedicated", "", "none", None, 1)


def found(rates: dict[int, float], each: float = 0.1) -> dict[str, Any]:
    """What the probe tells: model-steps a second by group size, `each` GiB a model."""
    return {
        "group_steps_per_second": {str(models): rate for models, rate in rates.items()},
        "group_bytes": {str(models): int(models * each * GIB) for models in rates},
    }


@pytest.mark.parametrize(
    ("given", "workers", "expected"),
    [
        (settings(), 2, [1, 2, 3, 6]),
        (settings(), 12, [1]),
        (settings(models=1_000), 2, [1, 2, 4, 8, 16, 32, 63]),
        (settings(fuse=3), 2, []),
        (settings(mode="series"), 1, []),
    ],
)
def test_sizes_up_to_a_workers_share_are_worth_measuring(given: Settings, workers: int, expected: list[int]) -> None:
    assert group_candidates(given, limit(workers)) == expected


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ({1: 100.0, 2: 180.0, 4: 300.0, 6: 400.0}, 6),
        ({1: 100.0, 2: 105.0, 4: 108.0, 6: 109.0}, 1),  # not worth it
        ({1: 100.0, 2: 180.0, 4: 200.0, 6: 190.0}, 6),  # groups of 4 would leave one worker idle at the end
        ({1: 100.0}, 1),
    ],
)
def test_what_is_soonest_done_is_taken(rates: dict[int, float], expected: int) -> None:
    models, reason = choose_group(settings(), limit(2), found(rates), 64 * GIB)
    assert models == expected
    assert reason is not None
    assert "1: 100" in reason


def test_a_group_has_to_fit_the_memory() -> None:
    rates = {1: 100.0, 2: 180.0, 4: 300.0, 6: 400.0}
    assert choose_group(settings(), limit(2), found(rates, each=1.0), 8.5 * GIB)[0] == 4
    assert choose_group(settings(), limit(2), found(rates, each=1.0), 0.5 * GIB)[0] == 1


def test_a_number_that_was_given_is_taken_as_it_is() -> None:
    assert choose_group(settings(fuse=3), limit(2), {}, 64 * GIB) == (3, None)
    assert groups.settled(settings(fuse=3), 6).engine.fuse == 3
    assert groups.settled(settings(), 6).engine.fuse == 6
