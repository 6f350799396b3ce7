"""The models of a sweep or a search by config: values over the seeds of each, and which config is best. Pure."""

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
    """The results of one config. `rank` counts from 1; None while the ranking metric has no value.

    `value`: of a search, the values that it took of its models (`ModelState.value`); None without any.
    """

    combination: Mapping[str, Any]
    models: tuple[ModelState, ...]
    finals: Finals
    rank: int | None
    value: Spread | None = None

    @property
    def pruned(self) -> int:
        """How many of its models halving stopped."""
        return sum(model.pruned for model in self.models)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigResults:
    """All configs of a run, the best first; those without a rank come last, in their own order.

    `metric` is the metric whose mean ranks them; None while none has a value. `table`: the metrics of the run.
    `by_value`: of a search, which ranks by that metric at the best epoch of each model, not at the last.
    """

    results: tuple[ConfigResult, ...]
    metric: Metric | None
    table: MetricTable
    by_value: bool = False


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
    """The configs of a sweep or a search ranked by the mean over their seeds; None for a run without either.

    The order is that of `ranking.comparison_key`, of means instead of single values. `metric` is the first metric of
    the ranking that any config has. Configs with a completed model come before those with only values so far, which
    may be of any epoch. Trials of a search are ranked by what the search took of them, the pruned ones after the
    completed ones; those that it has not proposed yet are left out.
    """
    table = snapshot.metrics
    models = [model for model in snapshot.models if model.combination]
    if not models:
        return None
    groups = [(tuple(group), finals_of(group)) for group in by_config(models)]
    if snapshot.run.search != "none":
        return _by_value(groups, table)
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


def _by_value(groups: Sequence[tuple[tuple[ModelState, ...], Finals]], table: MetricTable) -> ConfigResults:
    """The trials of a search, the best first."""
    values = [spread(model.value for model in members) for members, _ in groups]
    metric = table.measured({name for _, finals in groups for name in finals.metrics})

    def key(place: int) -> tuple[bool, bool, float]:
        value, (members, _) = values[place], groups[place]
        is_complete = all(model.phase is TrainingPhase.COMPLETED for model in members)
        return value is None, not is_complete, metric.badness(None if value is None else value.mean)

    results = tuple(
        ConfigResult(
            combination=groups[place][0][0].combination,
            models=groups[place][0],
            finals=groups[place][1],
            rank=None if values[place] is None else rank,
            value=values[place],
        )
        for rank, place in enumerate(sorted(range(len(groups)), key=key), 1)
    )
    found = metric if any(value is not None for value in values) else None
    return ConfigResults(results=results, metric=found, table=table, by_value=True)
