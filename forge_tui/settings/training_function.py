"""Settings beside a training function (`training.train`): those that only the built-in training loop uses are refused.

Nothing would read them, and a value that is accepted and ignored misleads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from forge_tui.errors import SettingsError, UsageError
from forge_tui.safe_io.printing import escaped
from forge_tui.settings.keys import Key
from forge_tui.settings.problems import shown
from forge_tui.settings.schema import Settings, fields_of, keys_by_name

TRAIN = "training.train"
NONE = "none"
"""The value of `training.train` without a training function."""
MODEL_TYPE = "training.model_type"
_USED_OF_TRAINING = frozenset(
    ("train", "epochs", "training_mode", "max_parallel_workers", "select_by"),
)
_UNUSED_ELSEWHERE = frozenset({"engine.fuse"})
_INSTEAD = "give the function a parameter of its own: --set model.NAME=VALUE, or NAME = VALUE under [model]"


def is_function(train: str) -> bool:
    """Whether a value of `training.train` names a training function."""
    return train != NONE


def is_unused(name: str) -> bool:
    """Whether a setting, by its full name, plays no part where a training function trains."""
    table, _, key = name.partition(".")
    if table == "training":
        return key not in _USED_OF_TRAINING
    return table == "data" or name in _UNUSED_ELSEWHERE


def unused_keys() -> Iterator[Key]:
    """The settings that play no part where a training function trains."""
    return (key for key in fields_of() if is_unused(key.key))


def refusal(key: Key, place: str, train: str) -> str:
    """Why a setting may not be given beside a training function, in words; `place` says where it was given."""
    if key.key == MODEL_TYPE:
        return f"{place}: --train {train} trains instead of a built-in or custom model; give one of the two"
    return (
        f"{place}: only the built-in training loop uses {key.key}, and --train {train} replaces it; leave it out, or "
        f"{_INSTEAD}"
    )


def refuse_function(train: str, command: str, why: str) -> None:
    """Raise `UsageError` where a training function is set; `command` is what cannot be done with it."""
    if is_function(train):
        raise UsageError(f"{command} cannot be used with --train {escaped(train)}: {why}")


def require_no_unused(settings: Settings) -> None:
    """Raise `SettingsError` naming each setting that is set, or swept, and plays no part beside a training function."""
    train = settings.training.train
    if not is_function(train):
        return
    problems = [
        refusal(key, f"{key.key} = {shown(value)}", train)
        for key in unused_keys()
        if (value := getattr(getattr(settings, key.table), key.name)) != key.default
    ]
    problems += swept_problems(settings.sweep, train)
    if problems:
        raise SettingsError("\n".join(problems))


def swept_problems(sweep: Iterable[str], train: str) -> list[str]:
    """What is wrong with a sweep of these settings beside a training function, in words."""
    found = []
    for name in sweep:
        if not is_unused(name):
            continue
        if name == MODEL_TYPE:
            found.append(refusal(keys_by_name()[name], f"--sweep {name}", train))
            continue
        short = name.rpartition(".")[2]
        found.append(
            f"--sweep {name}: only the built-in training loop uses {name}, and --train {train} replaces it; sweep a "
            f"parameter of the function instead, such as --sweep model.{short}=VALUE,VALUE"
        )
    return found
