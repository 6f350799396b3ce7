"""The models of a run: config and seed of each (`settings.sweep`). Pure."""

from __future__ import annotations

import functools
import json
from collections.abc import Hashable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.run_data import RunData
from forge_tui.runs.layout import model_name, type_word
from forge_tui.settings import sweep
from forge_tui.settings.command import TYPE
from forge_tui.settings.schema import Settings
from forge_tui.settings.training_function import is_function

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


def count(settings: Settings) -> int:
    """The number of models of the run."""
    return sweep.combination_count(settings.sweep) * settings.run.models


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
    """All models of a new run, queued."""
    seeds, found = settings.run.models, []
    for number in range(sweep.combination_count(settings.sweep)):
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
            for place, index in enumerate(range(number * seeds + 1, (number + 1) * seeds + 1))
        ]
    return found


def names(settings: Settings) -> Iterator[str]:
    """The names of the models, in order."""
    seeds = settings.run.models
    for number in range(sweep.combination_count(settings.sweep)):
        combination = sweep.combination_at(settings.sweep, number)
        for index in range(number * seeds + 1, (number + 1) * seeds + 1):
            yield name_of(settings, index, combination)


def kinds(settings: Settings) -> int:
    """The number of kinds of models; models of one kind may be trained together."""
    return count(settings) // of_a_kind(settings)


def of_a_kind(settings: Settings) -> int:
    """The number of models per kind."""
    return sweep.combination_count(sweep.within_a_kind(settings.sweep)) * settings.run.models


def inspected(settings: Settings) -> list[dict[str, Any]]:
    """The combinations that differ in model or training resources; one without a sweep."""
    varying = {name: values for name, values in settings.sweep.items() if name not in _WITHOUT_EFFECT}
    first = sweep.combination_at(settings.sweep, 0)
    return [{**first, **sweep.combination_at(varying, number)} for number in range(sweep.combination_count(varying))]


def shape_of(settings: Settings, combination: Mapping[str, Any]) -> str:
    """A key that is equal for combinations that do not differ in model or training resources; empty without a sweep."""
    varying = {name: combination[name] for name in settings.sweep if name not in _WITHOUT_EFFECT}
    return json.dumps(varying, sort_keys=True) if varying else ""


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

    def __init__(self, settings: Settings, plain: dict[str, Any]) -> None:
        """`plain`: the run's settings as nested dicts."""
        self._settings, self._plain = settings, plain
        self._made = functools.lru_cache(maxsize=64)(self._make)

    def of(self, index: int) -> dict[str, Any]:
        """A model's settings as nested plain dicts; do not change them."""
        return self._made((index - 1) // self._settings.run.models) if self._settings.sweep else self._plain

    def likeness(self, index: int) -> Hashable:
        """A key that is equal for models that may be trained together."""
        return sweep.likeness(self._combination(index)) if self._settings.sweep else None

    def shape(self, index: int) -> str:
        """A key that is equal for models whose training takes the same resources (`shape_of`)."""
        return shape_of(self._settings, self._combination(index)) if self._settings.sweep else ""

    def data(self, index: int, recorded: RunData | None) -> dict[str, Any] | None:
        """The recorded data of a model, or None."""
        return None if recorded is None else recorded.of_model(self._combination(index)).to_record()

    def _combination(self, index: int) -> dict[str, Any]:
        return sweep.combination_at(self._settings.sweep, (index - 1) // self._settings.run.models)

    def _make(self, number: int) -> dict[str, Any]:
        return sweep.with_combination(self._plain, sweep.combination_at(self._settings.sweep, number))
