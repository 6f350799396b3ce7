"""Which settings play no part beside the others, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from forge_tui.settings.own_names import named_function
from forge_tui.tui.form.dataset_file import MADE, MODULAR, SYNTHETIC
from forge_tui.tui.form.fields import DATASET, MODE, TARGET, WORKERS

_OWN_CODE = (DATASET, "training.model_type", "training.loss", "training.metric")
_SCALED = ("data.normalise", "data.scaling")
_SHARED_ONLY = ("memory_per_worker_gb", "max_cpu_utilization", "high_cpu_threshold", "min_available_memory_gb")


def why_unused(name: str, values: Callable[[str], Sequence[Any]]) -> str | None:
    """Why a setting plays no part, in words; None if it does.

    `values` gives those of a setting: one, or all of its sweep. It is enough to play a part with one of them.
    """

    def only(other: str, *wanted: Any) -> bool:
        return all(value in wanted for value in values(other))

    own = name.rpartition(".")[2]
    datasets = [str(value) for value in values(DATASET)]
    if name.startswith("training.grokfast_") and own != "grokfast_enabled":
        if only("training.grokfast_enabled", False):
            return "GrokFast is off"
        for setting, average in (("grokfast_window", "ema"), ("grokfast_alpha", "ma")):
            if own == setting and only("training.grokfast_filter", average):
                return f"filter is {average}"
    if name == "training.metric_goal" and only("training.metric", "auto"):
        return "for your own metric"
    if name == "training.divergence_factor" and only("training.on_divergence", "fail"):
        return "on divergence: fail"
    if name == "training.momentum" and "sgd" not in values("training.optimizer"):
        return "for sgd only"
    if name == "training.betas" and only("training.optimizer", "sgd"):
        return "not for sgd"
    if name == "run.halving_first" and only("run.halving", None):
        return "halving is off"
    if name == "run.python_path" and not any(named_function(str(v)) for key in _OWN_CODE for v in values(key)):
        return "for your own code"
    is_made_here = any(value == SYNTHETIC or named_function(value) is not None for value in datasets)
    if name in ("data.samples", "data.features", "data.classes") and not is_made_here:
        return "for synthetic data"
    if name in ("data.prime", "data.operation", "data.train_fraction") and MODULAR not in datasets:
        return "for modular data"
    if name in ("data.validation_fraction", *_SCALED) and only(DATASET, MODULAR):
        return "not for this data"
    is_text = [value.lower().endswith(".txt") for value in datasets]
    if name == TARGET and all(text or value in MADE for text, value in zip(is_text, datasets, strict=True)):
        return "not for this data"
    if name in (*_SCALED, "data.class_weights") and all(is_text):
        return "not for this data"
    if name == "data.scaling" and only("data.normalise", False):
        return "normalise is off"
    if only(MODE, "series"):
        if name == WORKERS:
            return "one, in series"
        if name == "engine.fuse":
            return "in parallel only"
    if name.startswith("resources.") and own in _SHARED_ONLY and only("resources.policy", "dedicated"):
        return "policy is dedicated"
    return "for batch mode" if name == "run.json" else None
