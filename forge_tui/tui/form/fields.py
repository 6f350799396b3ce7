"""The fields of the form: their order, sections and titles, all from the settings' schema, and steps between values."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any

from forge_tui.settings.checked import is_prime
from forge_tui.settings.keys import Key
from forge_tui.settings.schema import fields_of, keys_by_name, tables
from forge_tui.settings.training_function import MODEL_TYPE
from forge_tui.tui.form.kinds import Kind, hides

MODE = "training.training_mode"
WORKERS = "training.max_parallel_workers"
DATASET = "training.dataset"
TARGET = "data.target"
PRIME = "data.prime"
OUTPUT = "run.output"
EPOCHS = "training.epochs"
MODELS = "run.models"
FIRST_SECTION = "First"

FIRST = (DATASET, TARGET, MODE, WORKERS, MODELS, EPOCHS)
"""The settings that are never folded, below the one that names custom code: what most runs need."""
_MOST_USED = (
    MODEL_TYPE,
    "training.model_size",
    "training.batch_size",
    "training.learning_rate",
    "training.grokfast_enabled",
    "training.grokfast_alpha",
    "training.grokfast_lambda",
    "resources.policy",
    OUTPUT,
    "run.seed",
    "run.parse",
)
"""The first ones of their sections."""
_TITLES = {
    MODE: "Mode",
    WORKERS: "Workers",
    TARGET: "Target column",
    "training.grokfast_enabled": "GrokFast",
    "engine.name": "Engine",
    "search.method": "Search method",
    "run.json": "JSON lines",
    "run.max_seconds": "Time limit (s)",
    "run.max_retries": "Retries",
    "run.keep_checkpoints": "Checkpoints kept",
    "run.stop_seconds": "Time to stop (s)",
    "training.train": "Training function",
    "run.command": "Command",
    "run.parse": "Read output",
    "data.validation_fraction": "Validation share",
    "data.test_fraction": "Test share",
    "resources.memory_per_worker_gb": "Memory per worker (GiB)",
    "resources.max_cpu_utilization": "Share of CPUs",
    "resources.high_cpu_threshold": "Busy above (%)",
    "resources.min_available_memory_gb": "Memory to keep (GiB)",
    "resources.max_suggested_workers": "Most suggested",
    "resources.memory_pressure_threshold": "Memory pressure (%)",
}
# The left and right keys use these steps; other whole numbers change by one.
_ROUND_STEPS = frozenset({"training.model_size", "training.epochs", "training.learning_rate"})
# The look of the screen is chosen on the screen and stored separately; it is not a setting of a run.
_LOOKS = "ui"
_DOUBLED = frozenset({"training.batch_size", "data.samples"})


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and the settings under it. `folds`: whether it may be folded."""

    title: str
    keys: tuple[Key, ...]
    folds: bool = True


def run_keys() -> tuple[Key, ...]:
    """The settings of a run, in the schema's order: all except those of the screen."""
    return tuple(key for key in fields_of() if key.table != _LOOKS)


@functools.cache
def sections(kind: Kind) -> tuple[Section, ...]:
    """The settings of the schema for runs of this kind: code and data first, then the others by table."""
    by_name = keys_by_name()
    shown = [key for key in run_keys() if not hides(kind, key.key)]
    names = FIRST if kind is Kind.BUILT_IN else (kind.setting, *FIRST)
    first = Section(FIRST_SECTION, tuple(by_name[name] for name in names if by_name[name] in shown), folds=False)
    others = [key for key in shown if key.key not in names]
    others.sort(key=lambda key: _MOST_USED.index(key.key) if key.key in _MOST_USED else len(_MOST_USED))
    by_table = [Section(table.capitalize(), tuple(key for key in others if key.table == table)) for table in tables()]
    return (first, *(section for section in by_table if section.keys))


def title_of(name: str) -> str:
    """A setting's title in the form; an argument of custom code has its own name."""
    if name.startswith("model."):
        return name.partition(".")[2]
    if name in _TITLES:
        return _TITLES[name]
    words = name.rpartition(".")[2].replace("_", " ")
    return words.capitalize().replace("Grokfast", "GrokFast")


def named_in(words: str) -> str | None:
    """The first setting whose flag is in a message, such as `training.dataset` in `--dataset x: there is …`."""
    given = re.findall(r"--[a-z][a-z-]*", words)
    by_flag = {key.flag: key.key for key in fields_of()}
    return next((by_flag[flag] for flag in given if flag in by_flag), None)


def is_choice(key: Key) -> bool:
    """Whether it only takes one of a few words."""
    return bool(key.words) and key.type_words == "word"


def takes_more_than_words(key: Key) -> bool:
    """Whether it takes one of a few words, or the name of a custom function, or a list."""
    return key.type_words in ("word or text", "word or list") and not key.is_free


def same(value: Any, other: Any) -> bool:
    """Whether two values are equal; lists equal tuples of the same items."""
    plain = [list(one) if isinstance(one, tuple) else one for one in (value, other)]
    return bool(plain[0] == plain[1])


def stepped(name: str, value: int | float, by: int) -> int | float:
    """The next value up or down: 1, 2, 5, 10, … for sizes, powers of two for batches, else one more; the next prime."""
    if name in _ROUND_STEPS:
        return _round_step(value, by)
    if name == PRIME:
        return _prime_step(int(value), by)
    if name in _DOUBLED:
        return value * 2 if by > 0 else max(1, int(value) // 2)
    return value + by if isinstance(value, int) else value


def _prime_step(value: int, by: int) -> int:
    """The next prime number up or down, at least 2."""
    following = value + by
    while following > 1 and not is_prime(following):
        following += by
    return following


def _round_step(value: int | float, by: int) -> int | float:
    """The nearest of 1, 2, 5 times a power of ten that is larger (or smaller)."""
    steps = [float(f"{digit}e{power}") for power in range(-8, 11) for digit in (1, 2, 5)]
    tolerance = 1e-9 * abs(value)
    if by > 0:
        found = next((step for step in steps if step > value + tolerance), steps[-1])
    else:
        found = next((step for step in reversed(steps) if step < value - tolerance), steps[0])
    return max(1, int(found)) if isinstance(value, int) else found
