"""The models of a sweep by config: final values over the seeds of each, and which config is best. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forge_tui.analysis.ranking import Best, comparison_key, decisive, first_of
from forge_tui.analysis.spread import Spread, spread
from forge_tui.protocol.metrics import Metric, MetricTable, old_keys
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.protocol.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Finals:
    """The final values of some models: of the completed ones, or of all so far if none is (`so_far`).

    `models` is how many; `metrics` has those with a number in any model.
    """

    models: int
    so_far: bool
    metrics: Mapping[str, Spread]

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict: `metrics` by name, each with its mean and deviation, and the older keys beside them."""
        spreads = {name: dataclasses.asdict(spread) for name, spread in self.metrics.items()}
        older = {name: spreads.get(name) for name in old_keys({}, at_the_end=True)}
        return {"models": self.models, "so_far": self.so_far, "metrics": spreads, **older}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigResult:
    """The results of one config. `rank` counts from 1; None while the ranking metric has no value."""

    combination: Mapping[str, Any]
    models: tuple[ModelState, ...]
    finals: Finals
    rank: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigResults:
    """All configs of a run, the best first; those without a rank come last, in their own order.

    `metric` is the metric whose mean ranks them; None while none has a value. `table`: the metrics of the run.
    """

    results: tuple[ConfigResult, ...]
    metric: Metric | None
    table: MetricTable


def finals_of(models: Sequence[ModelState]) -> Finals:
    """The final values of some models; incomplete ones count only if none is completed."""
    counted = _counted(models)
    names = dict.fromkeys(name for model in counted for name in model.metrics)
    spreads = {name: spread(model.metrics.get(name) for model in counted) for name in names}
    return Finals(
        models=len(counted),
        so_far=bool(counted) and counted[0].phase is not TrainingPhase.COMPLETED,
        metrics={name: found for name, found in spreads.items() if found is not None},
    )


def best_counted(snapshot: Snapshot) -> Best | None:
    """The best of the models that `finals_of` counts."""
    return first_of(_counted(snapshot.models), snapshot.metrics)


def _counted(models: Sequence[ModelState]) -> list[ModelState]:
    """The completed models, or all if none is."""
    completed = [model for model in models if model.phase is TrainingPhase.COMPLETED]
    return completed or [model for model in models if model.epoch > 0]


def by_config(models: Iterable[ModelState]) -> list[list[ModelState]]:
    """The models of each combination, in the order of first appearance."""
    groups: dict[str, list[ModelState]] = {}
    for model in models:
        groups.setdefault(repr(model.combination), []).append(model)
    return list(groups.values())


def config_results(snapshot: Snapshot) -> ConfigResults | None:
    """The configs of a sweep ranked by the mean over their seeds; None for a run without a sweep.

    The order is that of `ranking.comparison_key`, of means instead of single values. `metric` is the first metric of
    the ranking that any config has. Configs with a completed model come before those with only values so far, which
    may be of any epoch.
    """
    table = snapshot.metrics
    if not any(model.combination for model in snapshot.models):
        return None
    groups = [(tuple(group), finals_of(group)) for group in by_config(snapshot.models)]
    keys = [comparison_key({name: found.mean for name, found in finals.metrics.items()}, table) for _, finals in groups]
    metric = decisive(tuple(map(min, zip(*keys, strict=True))), table)
    known = [metric is not None and metric.name in finals.metrics for _, finals in groups]
    order = sorted(range(len(groups)), key=lambda place: (not known[place], groups[place][1].so_far, keys[place]))
    results = []
    for rank, place in enumerate(order, 1):
        members, finals = groups[place]
        results.append(
            ConfigResult(
                combination=members[0].combination, models=members, finals=finals, rank=rank if known[place] else None
            )
        )
    return ConfigResults(results=tuple(results), metric=metric, table=table)
