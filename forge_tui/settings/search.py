"""`[search]`: a sampler proposes `search.trials` configs, one after another, from `search.space` (`settings.space`).

`run.models` seeds are trained of each.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from forge_tui.errors import SettingsError
from forge_tui.settings.packages import ExtraPackage
from forge_tui.settings.space import dimensions
from forge_tui.settings.sweep import MOST_MODELS

if TYPE_CHECKING:
    from forge_tui.settings.schema import Settings

NONE, RANDOM, TPE = "none", "random", "tpe"
METHOD, TRIALS = "search.method", "search.trials"
OPTUNA = ExtraPackage(name="optuna", title="Optuna", extra="search", oldest=(5, 0))
"""Its first major version that is tested."""


def config_count(settings: Settings) -> float:
    """How many different configs the space has."""
    return math.prod(dimension.size for dimension in dimensions(settings).values())


def too_many_trials(trials: int, seeds: int) -> str | None:
    """What is wrong with the number of models, or None; `seeds` per trial."""
    total = trials * seeds
    if total <= MOST_MODELS:
        return None
    return f"{TRIALS}: {trials:,} trials × {seeds:,} models of each (run.models) are {total:,}; at most {MOST_MODELS:,}"


def search_problem(settings: Settings) -> str | None:
    """Why `[search]` does not fit together, or with the rest of valid settings; None if it does."""
    search = settings.search
    if search.method == NONE:
        if search.space:
            listed = ", ".join(search.space)
            return f"search.space has {listed}, and nothing searches it: add --search random or --search tpe"
        if search.trials != type(search).trials:
            return f"{TRIALS} = {search.trials}: there is no search; add --search random or tpe, or leave it out"
        return None
    if settings.sweep:
        return (
            f"a search tries values in place of a sweep of {', '.join(settings.sweep)}: give them to the search "
            "(--space KEY=VALUE,VALUE), or leave out --search"
        )
    if not search.space:
        return f"{METHOD} = {search.method}: there is nothing to search; give --space KEY=LOW..HIGH or KEY=A,B,C"
    different = config_count(settings)
    if search.trials > different:
        return (
            f"{TRIALS} = {search.trials}: the space has {different:,.0f} different configs, and none is trained twice; "
            f"give --trials {different:.0f} or fewer, or train each with --sweep"
        )
    return None


def require_search(settings: Settings) -> None:
    """Raise `SettingsError` unless `[search]` fits, and `UsageError` if its sampler is not installed."""
    problem = search_problem(settings)
    if problem is not None:
        raise SettingsError(problem)
    require_sampler(settings)


def require_sampler(settings: Settings) -> None:
    """Raise `UsageError` if the sampler is not installed in a version that can be used. Does not import it."""
    if settings.search.method != TPE:
        return
    OPTUNA.require(f"{METHOD} = {TPE}", f". --search {RANDOM} needs nothing")
