"""The models of a sweep by config: final values over the seeds of each, and which config is best. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forge_tui.analysis.ranking import Best, Key, comparison_key, decisive, figures_of, first_of, metric_largest
from forge_tui.analysis.spread import Spread, spread
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.protocol.snapshot import ModelState


@dataclass(frozen=True, slots=True, kw_only=True)
class Finals:
    """The final values of some models: of those that are completed, or of all so far where none is (`so_far`).

    `models` says of how many. What no model has is None.
    """

    models: int
    so_far: bool
    loss: Spread | None
    validation_loss: Spread | None
    validation_accuracy: Spread | None
    validation_perplexity: Spread | None
    validation_metric: Spread | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigResult:
    """What came of one config. `rank` counts from 1; None while it has no value in the figure that ranks."""

    combination: Mapping[str, Any]
    models: tuple[ModelState, ...]
    finals: Finals
    rank: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigResults:
    """All configs of a run, the best first, those without a rank last in their own order.

    `figure` is the field of `Finals` whose mean ranks them; None while none has a value.
    """

    results: tuple[ConfigResult, ...]
    figure: str | None


def finals_of(models: Sequence[ModelState]) -> Finals:
    """The final values of some models; those of models that failed or go on count only where none is completed."""
    counted = _counted(models)
    return Finals(
        models=len(counted),
        so_far=bool(counted) and counted[0].phase is not TrainingPhase.COMPLETED,
        loss=spread(model.loss for model in counted),
        validation_loss=spread(model.validation_loss for model in counted),
        validation_accuracy=spread(model.validation_accuracy for model in counted),
        validation_perplexity=spread(model.validation_perplexity for model in counted),
        validation_metric=spread(model.validation_metric for model in counted),
    )


def best_counted(models: Sequence[ModelState]) -> Best | None:
    """The best of the models that `finals_of` counts."""
    return first_of(_counted(models))


def _counted(models: Sequence[ModelState]) -> list[ModelState]:
    """Those that are completed, or all so far where none is."""
    completed = [model for model in models if model.phase is TrainingPhase.COMPLETED]
    return completed or [model for model in models if model.epoch > 0]


def by_config(models: Iterable[ModelState]) -> list[list[ModelState]]:
    """The models of each combination, in the order of their first ones."""
    groups: dict[str, list[ModelState]] = {}
    for model in models:
        groups.setdefault(repr(model.combination), []).append(model)
    return list(groups.values())


def config_results(models: Sequence[ModelState]) -> ConfigResults | None:
    """The configs of a sweep ranked by the mean over their seeds; None for models of which nothing was swept.

    They stand in the order of `ranking.comparison_key`, of means instead of single values. `figure` is the first figure
    that any config has. Configs that have a completed model come before those for which there are only values so far,
    which may be of any epoch.
    """
    if not any(model.combination for model in models):
        return None
    groups = [(tuple(group), finals_of(group)) for group in by_config(models)]
    keys = [_key(members, finals) for members, finals in groups]
    figure = decisive(tuple(map(min, zip(*keys, strict=True))))
    known = [figure is not None and getattr(finals, figure) is not None for _, finals in groups]
    order = sorted(range(len(groups)), key=lambda place: (not known[place], groups[place][1].so_far, keys[place]))
    results = []
    for rank, place in enumerate(order, 1):
        members, finals = groups[place]
        results.append(
            ConfigResult(
                combination=members[0].combination, models=members, finals=finals, rank=rank if known[place] else None
            )
        )
    return ConfigResults(results=tuple(results), figure=figure)


def _key(members: Sequence[ModelState], finals: Finals) -> Key:
    """The key of a config; the goal of a custom metric stands in the configs of models that have begun."""
    means = [None if found is None else found.mean for found in figures_of(finals)]
    return comparison_key(means, all(metric_largest(model.config) for model in members))
