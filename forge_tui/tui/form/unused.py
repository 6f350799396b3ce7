"""Settings without effect beside the others, and why: a table of rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from forge_tui.settings.own_names import named_function
from forge_tui.settings.training_function import TRAIN
from forge_tui.tables.endings import is_table, is_text_table
from forge_tui.tui.form.dataset_file import MADE, MODULAR, SYNTHETIC
from forge_tui.tui.form.fields import DATASET, MODE, TARGET, WORKERS

Values = Callable[[str], Sequence[Any]]
"""Returns the values of a setting: one, or all of its sweep."""

Condition = Callable[[Values], bool]

_OWN_CODE = (DATASET, "training.model_type", "training.loss", "training.metric", TRAIN)


class Rule(NamedTuple):
    """`settings` have no effect if `holds` is true for the values of all settings; `words` say why."""

    settings: tuple[str, ...]
    holds: Condition
    words: str


def _only(setting: str, *wanted: Any) -> Condition:
    """Condition: all values of a setting are among `wanted`."""
    return lambda values: all(value in wanted for value in values(setting))


def _without(setting: str, value: Any) -> Condition:
    """Condition: no value of a setting is `value`."""
    return lambda values: value not in values(setting)


def _no_dataset(fits: Callable[[str], bool]) -> Condition:
    """Condition: no dataset fits."""
    return lambda values: not any(fits(str(value)) for value in values(DATASET))


def _is_synthetic(dataset: str) -> bool:
    return dataset == SYNTHETIC or named_function(dataset) is not None


def _is_text(dataset: str) -> bool:
    return dataset.lower().endswith(".txt")


def _has_samples(dataset: str) -> bool:
    """Whether it has a target that may be classes or numbers, and a split that is drawn."""
    return not _is_text(dataset) and dataset not in MADE


def _no_custom_code(values: Values) -> bool:
    return not any(named_function(str(value)) for setting in _OWN_CODE for value in values(setting))


def _always(_: Values) -> bool:
    return True


RULES = (
    Rule(
        (
            *("training.grokfast_filter", "training.grokfast_alpha", "training.grokfast_lambda"),
            *("training.grokfast_window",),
        ),
        _only("training.grokfast_enabled", False),
        "GrokFast is off",
    ),
    Rule(("training.grokfast_window",), _only("training.grokfast_filter", "ema"), "filter is ema"),
    Rule(("training.grokfast_alpha",), _only("training.grokfast_filter", "ma"), "filter is ma"),
    Rule(("training.metric_goal",), _only("training.metric", "auto"), "for a custom metric"),
    Rule(("training.divergence_factor",), _only("training.on_divergence", "fail"), "on divergence: fail"),
    Rule(("training.momentum",), _without("training.optimizer", "sgd"), "for sgd only"),
    Rule(("training.betas",), _only("training.optimizer", "sgd"), "not for sgd"),
    Rule(("search.trials",), _only("search.method", "none"), "no search"),
    Rule(("run.halving_first",), _only("run.halving", None), "halving is off"),
    Rule(("run.python_path",), _no_custom_code, "for custom code"),
    Rule(("data.samples", "data.features", "data.classes"), _no_dataset(_is_synthetic), "for synthetic data"),
    Rule(("data.prime", "data.operation", "data.train_fraction"), _without(DATASET, MODULAR), "for modular data"),
    Rule(("data.validation_fraction", "data.normalise", "data.scaling"), _only(DATASET, MODULAR), "not for this data"),
    Rule((TARGET, "data.task", "data.split"), _no_dataset(_has_samples), "not for this data"),
    Rule(
        (
            *("data.ignore", "data.only", "data.categories", "data.numbers", "data.dates", "data.missing"),
            *("data.missing_target", "data.group", "data.validation"),
        ),
        _no_dataset(lambda name: is_table(name) or named_function(name) is not None),
        "for tables",
    ),
    Rule(("data.features_array",), _no_dataset(lambda name: name.lower().endswith(".npz")), "for .npz files"),
    Rule(("data.header", "data.separator", "data.decimal"), _no_dataset(is_text_table), "for text tables"),
    Rule(
        ("data.split", "data.group", "data.validation_fraction"),
        lambda values: None not in values("data.validation"),
        "a column tells the split",
    ),
    Rule(
        ("data.normalise", "data.scaling", "data.class_weights"),
        _no_dataset(lambda name: not _is_text(name)),
        "not for this data",
    ),
    Rule(("data.scaling",), _only("data.normalise", False), "normalise is off"),
    Rule((WORKERS,), _only(MODE, "series"), "one, in series"),
    Rule(("engine.fuse",), _only(MODE, "series"), "in parallel only"),
    Rule(
        ("engine.address", "engine.files", "engine.trust_cluster", "engine.mixed_nodes"),
        _only("engine.name", "local"),
        "for engine ray",
    ),
    Rule(("engine.trust_cluster",), _only("engine.address", None), "its own cluster"),
    Rule(
        (
            *("resources.memory_per_worker_gb", "resources.max_cpu_utilization"),
            *("resources.high_cpu_threshold", "resources.min_available_memory_gb"),
        ),
        _only("resources.policy", "dedicated"),
        "policy is dedicated",
    ),
    Rule(("run.json",), _always, "for batch mode"),
)
"""The first matching rule of a setting counts."""


def why_unused(name: str, values: Values) -> str | None:
    """Why a setting has no effect; None if it has, for at least one value of a sweep."""
    return next((rule.words for rule in RULES if name in rule.settings and rule.holds(values)), None)
