"""Random configs: the same for the same seed and trial, all over the space, and none twice."""

from __future__ import annotations

import collections

from forge_tui.runner.search.draws import drawn, seed_of
from forge_tui.runner.search.trials import key_of
from forge_tui.settings.space import Choices, Range

SPACE = {"rate": Range(1e-4, 1e-1, log=True), "width": Range(8, 16, whole=True), "kind": Choices(("a", "b", "c"))}


def test_a_trial_is_always_the_same_and_another_seed_or_number_gives_another() -> None:
    first = drawn(SPACE, 7, 3)
    assert drawn(SPACE, 7, 3) == first
    assert drawn(SPACE, 8, 3) != first
    assert drawn(SPACE, 7, 4) != first
    # These are recorded in runs: another version of Python must not give others.
    assert (drawn(SPACE, 0, 1), seed_of(0, 1)) == (
        {"rate": 0.0005819, "width": 13, "kind": "b"}, 2839049726,
    )  # fmt: skip


def test_values_are_spread_over_the_space() -> None:
    found = [drawn(SPACE, 0, trial) for trial in range(1, 601)]
    assert all(dimension.has(one[name]) for one in found for name, dimension in SPACE.items())
    decades = collections.Counter(int(one["rate"] >= 1e-3) + int(one["rate"] >= 1e-2) for one in found)
    kinds, widths = (collections.Counter(one[name] for one in found) for name in ("kind", "width"))
    assert min(decades.values()) > 150
    assert min(kinds.values()) > 150
    assert set(widths) == set(range(8, 17))
    assert min(widths.values()) > 35


def test_no_config_comes_twice_until_none_is_left() -> None:
    space = {"width": Range(1, 5, whole=True), "on": Choices((True, False))}
    known: set[str] = set()
    for trial in range(1, 11):
        values = drawn(space, 0, trial, known)
        assert key_of(values) not in known
        known.add(key_of(values))
    assert len(known) == 10
