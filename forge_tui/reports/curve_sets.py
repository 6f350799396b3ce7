"""The curves of a run for pictures: of each config as mean ± deviation, of each model, thinned out for drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from forge_tui.analysis.configs import config_results
from forge_tui.analysis.ranking import ranked_models
from forge_tui.analysis.spread import Band, SeedCurve, SeedValues, Span, spans
from forge_tui.protocol.metrics import TEST, Metric
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.snapshot import Snapshot
from forge_tui.text.config_tables import combination_text

if TYPE_CHECKING:
    from forge_tui.client.run import Run

MOST_CONFIGS, MOST_MODELS = 40, 60
"""The curves of one picture. Of more, three quarters are the best, and the rest are spread over the later ranks."""
MOST_POINTS, FEWEST_POINTS = 300, 30
"""The points of one curve."""
_FEWEST_CURVES = 8
_MOST_NUMBERS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One metric over epochs. A point stands for the epochs after the point before, up to its own (`epochs`).

    `low` and `high`: the smallest and the largest value in them, of a config those of its mean; None without a number.
    `lower` and `upper`: one standard deviation below and above the mean; empty for a single model.
    """

    epochs: tuple[int, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    lower: tuple[float | None, ...] = ()
    upper: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The curves of a config or a model by metric. `models`: how many; `rank`: None without a value."""

    label: str
    models: int
    rank: int | None
    curves: Mapping[str, Curve]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveSet:
    """All curves of a picture, the best first. `configs` is empty where each would be one model.

    `notes`: what is left out or thinned out, in words.
    """

    metrics: tuple[Metric, ...]
    configs: tuple[Series, ...]
    models: tuple[Series, ...]
    notes: tuple[str, ...]

    @property
    def series(self) -> tuple[Series, ...]:
        """What a picture shows first: configs where there are any, else models."""
        return self.configs or self.models


_Ranked = tuple[ModelState, int | None]


@dataclass(frozen=True, slots=True)
class _Group:
    label: str
    members: tuple[ModelState, ...]
    rank: int | None


def curve_set(run: Run, snapshot: Snapshot) -> CurveSet:
    """Read the curves of a run. Only the epochs of what is drawn are read."""
    metrics = {name for model in snapshot.models for name in model.metrics if not name.startswith(TEST)}
    groups, models, notes = _chosen(snapshot, _room(len(metrics)))
    reading = _Reading(run, models, _points(len(groups), len(models), len(metrics)))
    configs = tuple(map(reading.config, groups))
    single = reading.models()
    if reading.is_thinned:
        notes.append(
            f"Curves of more than {reading.points} epochs are drawn with {reading.points} points, each with the "
            "smallest and the largest value of its epochs."
        )
    recorded = dict.fromkeys(name for one in (*configs, *single) for name in one.curves)
    return CurveSet(
        metrics=tuple(snapshot.metrics.ordered(recorded)), configs=configs, models=single, notes=tuple(notes)
    )


def _chosen(snapshot: Snapshot, room: float) -> tuple[list[_Group], list[_Ranked], list[str]]:
    """The configs of several models, and the models, whose curves are drawn; what is left out, in words.

    `room`: the part of the usual number of curves that there may be.
    """
    most_configs, most_models = (
        min(most, max(_FEWEST_CURVES, int(room * most))) for most in (MOST_CONFIGS, MOST_MODELS)
    )
    groups = [group for group in _groups(snapshot) if any(model.epoch for model in group.members)]
    models = [one for one in ranked_models(snapshot) if one[0].epoch]
    notes = []
    if all(len(group.members) == 1 for group in groups):
        groups = []
    else:
        notes.append(_left_out(len(groups), most_configs, "configs"))
    notes.append(_left_out(len(models), most_models, "models"))
    return (
        [groups[place] for place in spread_choice(len(groups), most_configs)],
        [models[place] for place in spread_choice(len(models), most_models)],
        list(filter(None, notes)),
    )


def spread_choice(count: int, most: int) -> list[int]:
    """At most `most` of `count` places: three quarters the first ones, the rest evenly from those that follow."""
    if count <= most:
        return list(range(count))
    first = most - most // 4
    later = most - first
    return [*range(first), *(first + (count - first) * (place + 1) // later - 1 for place in range(later))]


class _Reading:
    """Reads the epochs of each model once. `is_thinned`: a curve had more than `points` epochs."""

    def __init__(self, run: Run, models: Sequence[_Ranked], points: int) -> None:
        self.points, self.is_thinned = points, False
        self._run = run
        self._models = models
        self._wanted = {model.index for model, _ in models}
        self._kept: dict[int, dict[str, Curve]] = {}

    def config(self, group: _Group) -> Series:
        """The curves of a config; those of its wanted models are kept."""
        of_metrics: dict[str, list[SeedValues]] = {}
        for model, curves in zip(group.members, self._run.curves(group.members), strict=True):
            self._keep(model, curves)
            for name, values in curves.items():
                of_metrics.setdefault(name, []).append(values)
        found = {name: _of_band(SeedCurve(values).band(self.points)) for name, values in of_metrics.items()}
        return Series(label=group.label, models=len(group.members), rank=group.rank, curves=_with_numbers(found))

    def models(self) -> tuple[Series, ...]:
        """The curves of the wanted models."""
        missing = [model for model, _ in self._models if model.index not in self._kept]
        for model, curves in zip(missing, self._run.curves(missing), strict=True):
            self._keep(model, curves)
        return tuple(
            Series(label=_model_label(model), models=1, rank=rank, curves=_with_numbers(self._kept[model.index]))
            for model, rank in self._models
        )

    def _keep(self, model: ModelState, curves: Mapping[str, SeedValues]) -> None:
        self.is_thinned = self.is_thinned or any(len(one.values) > self.points for one in curves.values())
        if model.index in self._wanted:
            found = {name: spans(one.values, self.points) for name, one in curves.items()}
            self._kept[model.index] = {name: _of_spans(one) for name, one in found.items()}


def _groups(snapshot: Snapshot) -> list[_Group]:
    results = config_results(snapshot)
    if results is None:
        count = len(snapshot.models)
        return [_Group(f"{count} models", snapshot.models, 1)] if count else []
    return [_Group(combination_text(one.combination), one.models, one.rank) for one in results.results]


def _model_label(model: ModelState) -> str:
    config = combination_text(model.combination)
    return f"{config} · {model.name}" if config else model.name


def _left_out(count: int, most: int, what: str) -> str:
    return f"Of {count:,} {what} {choice_words(most)} are drawn." if count > most else ""


def choice_words(most: int) -> str:
    """What `spread_choice` leaves of more than `most`."""
    return f"the best {most - most // 4} and {most // 4} others, evenly spread over the later ranks,"


def _numbers(configs: int, models: int, metrics: int) -> int:
    """The numbers of a point of every curve: a config has four, a model one or two."""
    return max(1, (4 * configs + 2 * models) * metrics)


def _room(metrics: int) -> float:
    """The part of the usual number of curves that so many metrics leave room for, 0–1."""
    return min(1.0, _MOST_NUMBERS / (FEWEST_POINTS * _numbers(MOST_CONFIGS, MOST_MODELS, metrics)))


def _points(configs: int, models: int, metrics: int) -> int:
    """The points of each curve."""
    return max(FEWEST_POINTS, min(MOST_POINTS, _MOST_NUMBERS // _numbers(configs, models, metrics)))


def _of_spans(found: Sequence[Span]) -> Curve:
    return Curve(
        epochs=tuple(int(end) for end, _, _ in found),
        low=tuple(low for _, low, _ in found),
        high=tuple(high for _, _, high in found),
    )


def _of_band(band: Band) -> Curve:
    return replace(
        _of_spans(band.mean),
        lower=tuple(low for _, low, _ in band.lower),
        upper=tuple(high for _, _, high in band.upper),
    )


def _with_numbers(curves: Mapping[str, Curve]) -> dict[str, Curve]:
    """Those that have a number anywhere."""
    return {name: curve for name, curve in curves.items() if any(value is not None for value in curve.low)}
