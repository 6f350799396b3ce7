"""Names and values as trackers take them, and one number that identifies a run."""

from __future__ import annotations

import hashlib
import json
import math
import posixpath
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forge_tui.protocol.run_info import RunInfo

Plain = bool | float | str
"""A value that every tracker takes; whole numbers are among them."""

# MLflow: `mlflow.utils.validation`; Python's \w has letters of every alphabet.
_REFUSED_BY_MLFLOW = re.compile(r"[^\w.\- /:]")
# W&B: its own columns, which a metric would overwrite, and those names with more underscores, to keep them apart.
_OWN_OF_WANDB = re.compile(r"_+(step|runtime|timestamp|wandb)")


def run_key(info: RunInfo, index: int = 0) -> str:
    """A number in 32 hexadecimal digits that belongs to one run, or to its model `index`."""
    told = json.dumps([info.run, info.created, index])
    return hashlib.sha256(told.encode("utf-8", "replace")).hexdigest()[:32]


def flat_settings(config: Mapping[str, Any]) -> dict[str, Plain]:
    """The settings of a model by name; what is not set is left out, lists and tables become JSON."""
    found: dict[str, Plain] = {}
    for name, value in config.items():
        if value is None:
            continue
        if isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
            found[name] = value
        elif isinstance(value, Mapping):
            found |= {f"{name}.{inner}": kept for inner, kept in flat_settings(value).items()}
        else:
            found[name] = json.dumps(value, ensure_ascii=False)
    return found


def name_for_mlflow(name: str) -> str:
    """A name that MLflow takes: what it refuses becomes its code point (`F1@5`: `F1_x40_5`)."""
    found = _REFUSED_BY_MLFLOW.sub(_code, name)
    if posixpath.normpath(found) == found and not found.startswith(("/", "..")) and found != ".":
        return found
    return re.sub(r"/|^\.+", lambda match: "".join(map(_code_of, match[0])), found)


def name_for_wandb(name: str) -> str:
    """A name that W&B takes for a metric, not for a column of its own."""
    return f"_{name}" if _OWN_OF_WANDB.fullmatch(name) else name


def _code(match: re.Match[str]) -> str:
    return _code_of(match[0])


def _code_of(character: str) -> str:
    return f"_x{ord(character):x}_"
