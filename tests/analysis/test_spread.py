"""Mean and deviation over seeds, against numpy."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from forge_tui.analysis.spread import NO_NUMBER, NOT_MEASURED, Band, SeedCurve, SeedValues, spread

NAN = float("nan")


def seed_of(values: list[float | None], absent: float = NOT_MEASURED) -> SeedValues:
    seed = SeedValues()
    for epoch, value in enumerate(values, 1):
        seed.put(epoch, value, absent)
    return seed


def rows(band: Band) -> list[tuple[float | None, float | None, float | None]]:
    """Lower edge, mean and upper edge of a band with a bucket for each epoch."""
    pairs = zip(band.lower, band.mean, band.upper, strict=True)
    return [(lower[1], mean[1], upper[1]) for lower, mean, upper in pairs]


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e150])
@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_a_spread_is_what_numpy_says(scale: float, shift: float) -> None:
    chance = random.Random(3)
    values = [(shift + chance.random()) * scale for _ in range(17)]
    found = spread([*values, None, NAN, math.inf])
    assert found is not None
    assert (found.count, found.least, found.largest) == (17, min(values), max(values))
    assert found.mean == pytest.approx(np.mean(values), rel=1e-12)
    assert found.deviation == pytest.approx(np.std(values, ddof=1), rel=1e-9)


def test_one_value_has_no_deviation_and_none_no_spread() -> None:
    found = spread([2.5])
    assert found is not None
    assert (found.mean, found.deviation) == (2.5, None)
    assert spread([None, NAN]) is None


def test_equal_values_have_a_deviation_of_zero() -> None:
    found = spread([0.99, 0.99, 0.99])
    assert found is not None
    assert (found.mean, found.deviation) == (0.99, 0.0)


def test_values_at_the_end_of_what_a_number_can_be_do_not_overflow() -> None:
    found = spread([1.7e308, 1.7e308])
    assert found is not None
    assert (found.mean, found.deviation) == (1.7e308, 0.0)


def test_a_band_is_mean_and_deviation_of_each_epoch_over_the_seeds_that_reached_it() -> None:
    values = np.random.default_rng(5).random((4, 12))
    lengths = (12, 12, 9, 7)
    curve = SeedCurve([seed_of(list(row[:length])) for row, length in zip(values, lengths, strict=True)])
    band = curve.band(100)
    assert band.seeds == 4
    for epoch, (lower, mean, upper) in enumerate(rows(band), 1):
        there = [row[epoch - 1] for row, length in zip(values, lengths, strict=True) if epoch <= length]
        assert mean == pytest.approx(np.mean(there))
        assert lower == pytest.approx(np.mean(there) - np.std(there, ddof=1))
        assert upper == pytest.approx(np.mean(there) + np.std(there, ddof=1))
    assert [point[0] for point in band.mean] == list(range(1, 13))


def test_where_one_seed_alone_is_the_edges_have_a_gap() -> None:
    band = SeedCurve([seed_of([1.0, 2.0]), seed_of([3.0])]).band(10)
    assert rows(band) == [(2 - math.sqrt(2), 2.0, 2 + math.sqrt(2)), (None, 2.0, None)]


def test_a_seed_without_a_number_makes_a_gap_and_one_that_was_not_measured_does_not() -> None:
    diverged = SeedCurve([seed_of([1.0, None, 5.0], NO_NUMBER), seed_of([1.0, 2.0, 3.0])]).band(10)
    assert rows(diverged)[1] == (None, None, None)
    assert rows(diverged)[2][1] == 4.0
    unmeasured = SeedCurve([seed_of([1.0, None, 5.0]), seed_of([1.0, 2.0, 3.0])]).band(10)
    assert [mean for _, mean, _ in rows(unmeasured)] == [1.0, 2.0, 4.0]
    infinite = SeedCurve([seed_of([1.0, math.inf]), seed_of([1.0, 2.0])]).band(10)
    assert rows(infinite)[1] == (None, None, None)


def test_buckets_hold_the_extremes_and_leave_gaps_out() -> None:
    curve = SeedCurve([seed_of([5.0, 1.0, 4.0, 2.0, 9.0, 3.0, None, None], NO_NUMBER)])
    assert curve.band(4).mean == ((2.0, 1.0, 5.0), (4.0, 2.0, 4.0), (6.0, 3.0, 9.0), (8.0, None, None))
    assert curve.band(1).mean == ((8.0, 1.0, 9.0),)
    assert SeedCurve([]).band(4) == Band((), (), (), 0)
    assert SeedCurve([SeedValues()]).band(4) == Band((), (), (), 0)


def test_an_epoch_done_again_replaces_it_and_the_later_ones() -> None:
    seed = seed_of([1.0, 2.0, 3.0, 4.0])
    assert seed.put(2, 20.0) == range(2, 5)
    assert list(seed.values) == [1.0, 20.0]
    assert seed.put(4, 40.0) == range(3, 5)
    assert math.isnan(seed.values[2])
    assert seed.put(0, 1.0) == seed.put(10**12, 1.0) == range(0)
    assert len(seed.values) == 4


def test_what_grows_and_is_done_again_is_worked_out_as_if_from_the_start() -> None:
    number = 11
    chance = random.Random(number)
    seeds = [SeedValues() for _ in range(5)]
    curve = SeedCurve(seeds)
    for _ in range(60):
        for _ in range(10):
            seed = chance.choice(seeds)
            after = len(seed.values) + 1
            epoch = after if chance.random() < 0.9 else chance.randrange(1, after + 3)
            curve.changed(seed.put(epoch, chance.choice([chance.random(), chance.random(), None, NAN])))
        buckets = chance.randrange(1, 40)
        assert curve.band(buckets) == SeedCurve(seeds).band(buckets), f"seed {number}"


def test_an_epoch_that_is_reported_again_replaces_that_one_alone() -> None:
    values = SeedValues()
    for epoch in (1, 2, 4):
        values.put(epoch, float(epoch))
    assert values.put(2, 9.0, alone=True) == range(2, 3)
    assert values.put(4, None, NO_NUMBER, alone=True) == range(4, 5)
    assert list(values.values)[:2] == [1.0, 9.0]
    assert math.isnan(values.values[2])
    assert math.isinf(values.values[3])
