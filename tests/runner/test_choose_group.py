"""How many models a worker trains together where `[engine] fuse` is `auto`: from measured figures, nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from forge_tui.resources.policy import WorkerLimit
from forge_tui.runner import groups
from forge_tui.runner.prepare import Measure, choose_group, group_candidates, measure_groups
from forge_tui.settings.schema import Settings, from_plain


def settings(models: int = 12, fuse: int | str = "auto", mode: str = "parallel") -> Settings:
    return from_plain({"training": {"training_mode": mode}, "run": {"models": models}, "engine": {"fuse": fuse}})


def limit(workers: int) -> WorkerLimit:
    return WorkerLimit(workers, workers, "dedicated", "", "none", None, 1)


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
    models, reason = choose_group(settings(), limit(2), rates)
    assert models == expected
    assert reason is not None
    assert "1: 100" in reason


def test_a_number_that_was_given_is_taken_as_it_is() -> None:
    assert choose_group(settings(fuse=3), limit(2), {}) == (3, None)
    assert groups.settled(settings(fuse=3), 6).engine.fuse == 3
    assert groups.settled(settings(), 6).engine.fuse == 6


def measured(asked: list[tuple[list[tuple[int, int]], int]], rate: float, room: int = 64) -> Measure:
    """Workers that do `rate` steps a second with each model of their group; what they are asked is noted."""

    def measure(ways: Sequence[tuple[int, int]], workers: int) -> list[dict[str, Any]]:
        asked.append((list(ways), workers))
        told = [
            {"steps_per_second": rate * models if models <= room else 0.0, "worker_bytes": models} for models, _ in ways
        ]
        return [{"ways": told}] * workers

    return measure


def test_all_workers_measure_at_once_and_long_runs_all_sizes() -> None:
    asked: list[tuple[list[tuple[int, int]], int]] = []
    rates, bytes_taken = measure_groups(
        settings(), limit(2), [1, 3, 6], measured(asked, 100.0), epoch_samples=640, threads=4
    )
    assert asked == [([(1, 4)], 2), ([(3, 4), (6, 4)], 2)]
    assert rates == {1: 100.0, 3: 300.0, 6: 600.0}
    assert bytes_taken == {1: 1, 3: 3, 6: 6}


def test_of_a_run_that_is_over_in_seconds_no_group_is_measured() -> None:
    asked: list[tuple[list[tuple[int, int]], int]] = []
    rates, _ = measure_groups(settings(), limit(2), [1, 3, 6], measured(asked, 2_500.0), epoch_samples=640, threads=1)
    assert rates == {1: 2_500.0}
    assert len(asked) == 1


def test_a_group_has_to_fit_into_memory() -> None:
    rates, _ = measure_groups(settings(), limit(2), [1, 3, 6], measured([], 100.0, 3), epoch_samples=640, threads=1)
    assert list(rates) == [1, 3]
    rates, _ = measure_groups(settings(), limit(2), [1, 3, 6], measured([], 100.0, 0), epoch_samples=640, threads=1)
    assert rates == {}
