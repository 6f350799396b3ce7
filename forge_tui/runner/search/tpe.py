"""Proposals of Optuna's TPE (Watanabe 2023, "Tree-Structured Parzen Estimator"), rebuilt for each from all trials.

Nothing is kept between two proposals, so one depends on the space, the seed, the trial's number and the results so far
only.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from forge_tui.runner.search.draws import STARTUP_TRIALS, drawn, seed_of
from forge_tui.runner.search.trials import Trial, TrialState, key_of
from forge_tui.settings.space import Choices, Dimension

_TRIES = 10
"""So many proposals of known configs: then a random one that is new."""

_STATES = {
    TrialState.RUNNING: OptunaState.RUNNING,
    TrialState.COMPLETE: OptunaState.COMPLETE,
    TrialState.PRUNED: OptunaState.PRUNED,
    # Without a value it is the worst of all; a failed one would be forgotten, and its like proposed again.
    TrialState.BAD: OptunaState.PRUNED,
    TrialState.FAILED: OptunaState.FAIL,
}


def proposed(
    space: Mapping[str, Dimension], seed: int, number: int, trials: Sequence[Trial]
) -> tuple[dict[str, Any], str]:
    """The values of trial `number`, none of those known, and how they were chosen.

    Running trials count as bad ones (constant liar), so that trials at the same time differ.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    known = {key_of(trial.values) for trial in trials}
    results = sum(trial.state not in (TrialState.RUNNING, TrialState.FAILED) for trial in trials)
    if number <= STARTUP_TRIALS or results < STARTUP_TRIALS:
        return drawn(space, seed, number, known), "at random"
    distributions = {name: _distribution(dimension) for name, dimension in space.items()}
    for attempt in range(_TRIES):
        sampler = optuna.samplers.TPESampler(
            seed=(seed_of(seed, number) + attempt) % 2**32,
            n_startup_trials=STARTUP_TRIALS,
            multivariate=True,
            constant_liar=True,
        )
        values = _asked(sampler, space, distributions, trials)
        if key_of(values) not in known:
            return values, f"by TPE from {results} results"
    return drawn(space, seed, number, known), "at random: TPE proposed configs that are known"


def _asked(
    sampler: optuna.samplers.BaseSampler,
    space: Mapping[str, Dimension],
    distributions: Mapping[str, BaseDistribution],
    trials: Sequence[Trial],
) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(sampler=sampler)
        study.add_trials(_frozen(trial, space, distributions) for trial in trials)
        asked = study.ask(dict(distributions))
    return {name: _value(dimension, asked.params[name]) for name, dimension in space.items()}


def _distribution(dimension: Dimension) -> BaseDistribution:
    """Of a list the places are chosen: its values may be lists, and 1 and true are one to Optuna."""
    if isinstance(dimension, Choices):
        return CategoricalDistribution(tuple(range(len(dimension.values))))
    if dimension.whole:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def _value(dimension: Dimension, given: Any) -> Any:
    if isinstance(dimension, Choices):
        return dimension.values[given]
    return given if dimension.whole else dimension.rounded(given)


def _given(dimension: Dimension, value: Any) -> Any:
    return dimension.place_of(value) if isinstance(dimension, Choices) else value


def _frozen(trial: Trial, space: Mapping[str, Dimension], distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    has_value = trial.value is not None
    return optuna.trial.create_trial(
        state=_STATES[trial.state],
        value=trial.value if trial.state is TrialState.COMPLETE else None,
        params={name: _given(dimension, trial.values[name]) for name, dimension in space.items()},
        distributions=dict(distributions),
        intermediate_values={trial.epoch: trial.value} if trial.state is TrialState.PRUNED and has_value else {},
    )
