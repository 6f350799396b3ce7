"""Which settings play no part beside the others, rule by rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from forge_tui.settings.schema import keys_by_name
from forge_tui.tui.form.unused import RULES, why_unused

# (settings that differ from the defaults, one of them or a sweep; the setting; why it plays no part)
CASES: tuple[tuple[dict[str, Any], str, str | None], ...] = (
    ({}, "training.grokfast_lambda", "GrokFast is off"),
    ({"training.grokfast_enabled": True}, "training.grokfast_lambda", None),
    ({"training.grokfast_enabled": [True, False]}, "training.grokfast_lambda", None),
    ({"training.grokfast_enabled": True}, "training.grokfast_window", "filter is ema"),
    ({"training.grokfast_enabled": True}, "training.grokfast_alpha", None),
    (
        {"training.grokfast_enabled": True, "training.grokfast_filter": "ma"},
        "training.grokfast_alpha",
        "filter is ma",
    ),
    ({"training.grokfast_enabled": True, "training.grokfast_filter": "ma"}, "training.grokfast_window", None),
    ({}, "training.metric_goal", "for a custom metric"),
    ({"training.metric": "net.py:score"}, "training.metric_goal", None),
    ({"training.on_divergence": "fail"}, "training.divergence_factor", "on divergence: fail"),
    ({"training.on_divergence": "restore"}, "training.divergence_factor", None),
    ({"training.optimizer": "adam"}, "training.momentum", "for sgd only"),
    ({}, "engine.files", "for engine ray"),
    ({"engine.name": "ray"}, "engine.files", None),
    ({"engine.name": "ray"}, "engine.trust_cluster", "its own cluster"),
    ({"engine.name": "ray", "engine.address": "head:6379"}, "engine.trust_cluster", None),
    ({"training.optimizer": ["adam", "sgd"]}, "training.momentum", None),
    ({"training.optimizer": "sgd"}, "training.betas", "not for sgd"),
    ({"training.optimizer": ["adam", "sgd"]}, "training.betas", None),
    ({}, "search.trials", "no search"),
    ({"search.method": "tpe"}, "search.trials", None),
    ({}, "run.halving_first", "halving is off"),
    ({"run.halving": 3}, "run.halving_first", None),
    ({}, "run.python_path", "for custom code"),
    ({"training.dataset": "made.py:numbers"}, "run.python_path", None),
    ({}, "data.samples", None),
    ({"training.dataset": "made.py:numbers"}, "data.samples", None),
    ({"training.dataset": "a.csv"}, "data.samples", "for synthetic data"),
    ({"training.dataset": ["a.csv", "synthetic"]}, "data.samples", None),
    ({}, "data.prime", "for modular data"),
    ({"training.dataset": "modular"}, "data.prime", None),
    ({"training.dataset": "modular"}, "data.validation_fraction", "not for this data"),
    ({"training.dataset": "a.txt"}, "data.validation_fraction", None),
    ({"training.dataset": "synthetic"}, "data.target", "not for this data"),
    ({"training.dataset": "a.TXT"}, "data.target", "not for this data"),
    ({"training.dataset": ["a.txt", "a.csv"]}, "data.target", None),
    ({"training.dataset": "a.txt"}, "data.class_weights", "not for this data"),
    ({"training.dataset": "synthetic"}, "data.task", "not for this data"),
    ({"training.dataset": "a.npz"}, "data.split", None),
    ({"training.dataset": "a.npz"}, "data.ignore", "for tables"),
    ({"training.dataset": "a.parquet"}, "data.ignore", None),
    ({"training.dataset": "made.py:frame"}, "data.ignore", None),
    ({"training.dataset": "a.parquet"}, "data.separator", "for text tables"),
    ({"training.dataset": "a.csv"}, "data.features_array", "for .npz files"),
    ({"training.dataset": "a.npz"}, "data.features_array", None),
    ({"training.dataset": "a.csv.gz"}, "data.separator", None),
    ({"training.dataset": "a.csv", "data.validation": "fold"}, "data.split", "a column tells the split"),
    ({"training.dataset": "a.csv", "data.validation": "fold"}, "data.validation", None),
    ({"training.dataset": "modular"}, "data.class_weights", None),
    ({"data.normalise": False}, "data.scaling", "normalise is off"),
    ({"data.normalise": False, "training.dataset": "a.txt"}, "data.scaling", "not for this data"),
    ({"training.training_mode": "series"}, "training.max_parallel_workers", "one, in series"),
    ({"training.training_mode": "series"}, "engine.fuse", "in parallel only"),
    ({"training.training_mode": "parallel"}, "engine.fuse", None),
    ({"resources.policy": "dedicated"}, "resources.high_cpu_threshold", "policy is dedicated"),
    ({"resources.policy": "shared"}, "resources.high_cpu_threshold", None),
    ({"resources.policy": "dedicated"}, "resources.max_suggested_workers", None),
    ({}, "run.json", "for batch mode"),
    ({"training.train": "loop.py"}, "training.select_by", None),
    ({"training.train": "loop.py"}, "run.python_path", None),
    ({"training.train": "loop.py"}, "run.stop_seconds", None),
    ({}, "training.epochs", None),
)


@pytest.mark.parametrize(("given", "name", "why"), CASES)
def test_a_setting_says_why_it_plays_no_part(given: dict[str, Any], name: str, why: str | None) -> None:
    def values(other: str) -> Sequence[Any]:
        value = given.get(other, keys_by_name()[other].default)
        return value if isinstance(value, list) else [value]

    assert why_unused(name, values) == why


def test_the_rules_are_about_settings_that_there_are() -> None:
    assert {name for rule in RULES for name in rule.settings} <= keys_by_name().keys()


def test_every_rule_has_a_case() -> None:
    assert {rule.words for rule in RULES} == {why for _, _, why in CASES if why is not None}
