"""The models of a run: config and seed of each (`settings.sweep`, `settings.search`). Pure."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Hashable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.run_data import RunData
from forge_tui.runs.layout import model_name, type_word
from forge_tui.settings import search, space, sweep
from forge_tui.settings.command import TYPE
from forge_tui.settings.schema import Settings
from forge_tui.settings.training_function import is_function

ANY_SHAPE = ""
"""The shape of models that all take the same resources (`shape_of`)."""
_MODEL_TYPE = "training.model_type"
_TRAIN = "train"
# Settings that affect neither how a model is built nor the resources of its training.
_WITHOUT_EFFECT = frozenset(
    f"training.{name}"
    for name in (
        "learning_rate", "weight_decay", "betas", "schedule", "warmup_steps", "gradient_clip", "accumulate",
        "on_divergence", "divergence_factor", "grokfast_alpha", "grokfast_lambda", "checkpoint_interval",
    )
)  # fmt: skip


def config_count(settings: Settings) -> int:
    """The number of configs of the run: combinations of a sweep, or trials of a search."""
    return settings.search.trials if is_search(settings) else sweep.combination_count(settings.sweep)


def is_search(settings: Settings) -> bool:
    """Whether a sampler proposes the configs, one after another."""
    return settings.search.method != search.NONE


def count(settings: Settings) -> int:
    """The number of models of the run."""
    return config_count(settings) * settings.run.models


def trial_of(settings: Settings, index: int) -> int:
    """The number of a model's config, from 1."""
    return (index - 1) // settings.run.models + 1


def models_of(settings: Settings, trial: int) -> range:
    """The indexes of the models of a config."""
    seeds = settings.run.models
    return range((trial - 1) * seeds + 1, trial * seeds + 1)


def type_words(settings: Settings) -> str:
    """The architectures of the run's models: `planner`, or `planner, memory` in a sweep; custom ones by name."""
    if settings.run.command:
        return TYPE
    if is_function(settings.training.train):
        return type_word(settings.training.train, _TRAIN)
    return ", ".join(map(type_word, settings.sweep.get(_MODEL_TYPE, (settings.training.model_type,))))


def name_of(settings: Settings, index: int, combination: Mapping[str, Any] = MappingProxyType({})) -> str:
    """The NAME of model `index`, of a combination of a sweep."""
    if settings.run.command:
        return model_name(TYPE, index)
    if is_function(settings.training.train):
        return model_name(settings.training.train, index, _TRAIN)
    return model_name(combination.get(_MODEL_TYPE, settings.training.model_type), index)


def new_models(settings: Settings) -> list[ModelState]:
    """All models of a new run, queued. Those of a search have no values of their own yet."""
    found = []
    for number in range(config_count(settings)):
        combination = sweep.combination_at(settings.sweep, number)
        short = sweep.short_names(combination)
        found += [
            ModelState(
                name=name_of(settings, index, combination),
                index=index,
                seed=settings.run.seed + place,
                epochs=settings.training.epochs,
                combination=short,
            )
            for place, index in enumerate(models_of(settings, number + 1))
        ]
    return found


def names(settings: Settings) -> Iterator[str]:
    """The names of the models, in order."""
    for number in range(config_count(settings)):
        combination = sweep.combination_at(settings.sweep, number)
        for index in models_of(settings, number + 1):
            yield name_of(settings, index, combination)


def kinds(settings: Settings) -> int:
    """The number of kinds of models; models of one kind may be trained together."""
    return count(settings) // of_a_kind(settings)


def of_a_kind(settings: Settings) -> int:
    """The number of models per kind; of a search those of one trial."""
    return sweep.combination_count(sweep.within_a_kind(settings.sweep)) * settings.run.models


def inspected(settings: Settings) -> list[dict[str, Any]]:
    """The combinations that differ in model or training resources; one without a sweep.

    Of a search, which may have any number: those with the first values and the last values of all settings, and with
    each value of a list or each end of a range beside the first values of the others.
    """
    if is_search(settings):
        return _corners(settings)
    varying = {name: values for name, values in settings.sweep.items() if name not in _WITHOUT_EFFECT}
    first = sweep.combination_at(settings.sweep, 0)
    return [{**first, **sweep.combination_at(varying, number)} for number in range(sweep.combination_count(varying))]


def _corners(settings: Settings) -> list[dict[str, Any]]:
    ends = {name: dimension.ends for name, dimension in space.dimensions(settings).items()}
    first = {name: values[0] for name, values in ends.items()}
    varying = {name: values for name, values in ends.items() if name not in _WITHOUT_EFFECT}
    found = [first, {**first, **{name: _largest(values) for name, values in varying.items()}}]
    found += [{**first, name: value} for name, values in varying.items() for value in values]
    return [one for place, one in enumerate(found) if one not in found[:place]]


def _largest(values: tuple[Any, ...]) -> Any:
    """The largest of some numbers; of other values the last."""
    are_numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return max(values) if are_numbers else values[-1]


def shape_of(settings: Settings, combination: Mapping[str, Any]) -> str:
    """A key that is equal for combinations that do not differ in model or training resources; empty without any."""
    names = settings.search.space if is_search(settings) else settings.sweep
    varying = {name: combination[name] for name in names if name not in _WITHOUT_EFFECT}
    return json.dumps(varying, sort_keys=True) if varying else ANY_SHAPE


def rates(settings: Settings, most: int) -> list[tuple[float, float]]:
    """Learning rate and weight decay of the first models of a kind, at most `most`; empty if all have the same."""
    swept = sweep.within_a_kind(settings.sweep)
    found: list[tuple[float, float]] = []
    for number in range(sweep.combination_count(swept) if swept else 0):
        own = sweep.combination_at(swept, number)
        rate = own.get("training.learning_rate", settings.training.learning_rate)
        decay = own.get("training.weight_decay", settings.training.weight_decay)
        found += [(float(rate), float(decay))] * settings.run.models
        if len(found) >= most:
            break
    return found[:most]


class Configs:
    """The settings of each model, computed once for neighbouring models that share them."""

    def __init__(
        self,
        settings: Settings,
        plain: dict[str, Any],
        proposed: Callable[[int], Mapping[str, Any]] = lambda index: MappingProxyType({}),
    ) -> None:
        """`plain`: the run's settings as nested dicts. `proposed`: a model's values of a search, by short names."""
        self._settings, self._plain, self._proposed = settings, plain, proposed
        self._is_search = is_search(settings)
        self._made = functools.lru_cache(maxsize=64)(self._make)

    def of(self, index: int) -> dict[str, Any]:
        """A model's settings as nested plain dicts; do not change them."""
        is_own = self._settings.sweep or self._is_search
        return self._made(trial_of(self._settings, index)) if is_own else self._plain

    def likeness(self, index: int) -> Hashable:
        """A key that is equal for models that may be trained together; of a search those of one trial."""
        if self._is_search:
            return trial_of(self._settings, index)
        return sweep.likeness(self._combination(index)) if self._settings.sweep else None

    def shape(self, index: int) -> str:
        """A key that is equal for models whose training takes the same resources (`shape_of`)."""
        is_own = self._settings.sweep or self._is_search
        return shape_of(self._settings, self._combination(index)) if is_own else ANY_SHAPE

    def data(self, index: int, recorded: RunData | None) -> dict[str, Any] | None:
        """The recorded data of a model, or None."""
        return None if recorded is None else recorded.of_model(self._combination(index)).to_record()

    def _combination(self, index: int) -> dict[str, Any]:
        if self._is_search:
            return space.full_names(self._settings, self._proposed(index))
        return sweep.combination_at(self._settings.sweep, trial_of(self._settings, index) - 1)

    def _make(self, trial: int) -> dict[str, Any]:
        return sweep.with_combination(self._plain, self._combination(models_of(self._settings, trial)[0]))
