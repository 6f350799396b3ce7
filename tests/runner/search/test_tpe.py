"""Proposals of TPE by the real Optuna: from all trials, the same each time, and better than random ones."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pytest

from forge_tui.runner.search.draws import STARTUP_TRIALS, drawn
from forge_tui.runner.search.trials import Trial, TrialState, key_of
from forge_tui.settings.space import Choices, Range

pytest.importorskip("optuna", reason="needs Optuna (extra `search`)")

from forge_tui.runner.search.tpe import proposed

SPACE = {
    "rate": Range(1e-5, 1.0, log=True), "width": Range(16, 256, whole=True),
    "betas": Choices(((0.9, 0.99), (0.8, 0.9))), "on": Choices((True, 1, "1")),
}  # fmt: skip


def loss(values: dict[str, Any]) -> float:
    """The least, 0, is at a rate of 0.01 and a width of 100."""
    return (math.log10(values["rate"]) + 2) ** 2 + ((values["width"] - 100) / 100) ** 2


def course(seed: int, trials: int, states: dict[int, TrialState] | None = None) -> list[Trial]:
    """A search of one worker."""
    found: list[Trial] = []
    for number in range(1, trials + 1):
        values, _ = proposed(SPACE, seed, number, found)
        state = (states or {}).get(number, TrialState.COMPLETE)
        has_value = state in (TrialState.COMPLETE, TrialState.PRUNED)
        found.append(Trial(number=number, values=values, state=state, value=loss(values) if has_value else None))
    return found


def test_the_first_trials_are_the_random_ones() -> None:
    found = course(4, STARTUP_TRIALS)
    known: set[str] = set()
    for trial in found:
        assert trial.values == drawn(SPACE, 4, trial.number, known)
        known.add(key_of(trial.values))


def test_the_same_results_give_the_same_proposal_and_others_another() -> None:
    trials = course(0, 14)
    values, about = proposed(SPACE, 0, 15, trials)
    assert proposed(SPACE, 0, 15, [Trial.from_record(trial.to_record()) for trial in trials]) == (values, about)
    assert about == "by TPE from 14 results"
    assert all(dimension.has(values[name]) for name, dimension in SPACE.items())
    assert proposed(SPACE, 1, 15, trials)[0] != values
    assert proposed(SPACE, 0, 16, trials)[0] != values
    assert proposed(SPACE, 0, 15, trials[:-1])[0] != values


def test_proposals_come_near_the_optimum() -> None:
    """Without learning the later half of the trials is as good as the first."""
    for seed in range(3):
        losses = [trial.value for trial in course(seed, 40)]
        assert statistics.median(losses[20:]) < statistics.median(losses[:10]) / 2


def test_bad_and_running_trials_keep_others_away_and_failed_ones_do_not() -> None:
    """Those that run count as bad ones: constant liar."""
    trials = course(0, 20)
    extra = {"rate": 0.011, "width": 101, "betas": (0.9, 0.99), "on": True}

    def widths(state: TrialState) -> list[int]:
        """Proposals beside many trials at the optimum that ended in this way."""
        beside = [Trial(number=20 + n, values={**extra, "width": 90 + n}, state=state) for n in range(1, 21)]
        return [proposed(SPACE, seed, 50, [*trials, *beside])[0]["width"] for seed in range(15)]

    plain = [proposed(SPACE, seed, 50, trials)[0]["width"] for seed in range(15)]
    assert widths(TrialState.FAILED) == plain
    near = sum(90 <= width <= 111 for width in plain)
    for state in (TrialState.BAD, TrialState.RUNNING):
        assert sum(90 <= width <= 111 for width in widths(state)) < near


def test_without_enough_results_trials_stay_random() -> None:
    failed = course(0, 15, dict.fromkeys(range(1, 12), TrialState.FAILED))
    assert proposed(SPACE, 0, 16, failed)[1] == "at random"


def test_no_config_comes_twice() -> None:
    space = {"width": Range(1, 6, whole=True), "on": Choices((True, False))}
    trials: list[Trial] = []
    for number in range(1, 13):
        values, _ = proposed(space, 0, number, trials)
        value = float(values["width"])
        trials.append(Trial(number=number, values=values, state=TrialState.COMPLETE, value=value))
    assert len({key_of(trial.values) for trial in trials}) == 12
